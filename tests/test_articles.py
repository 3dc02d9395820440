"""docs/articles.py and the page it has written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import articles
import pytest

from optuna_study.definition.read import read_study_file
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
STUDIES = sorted(ROOT.glob("studies/*.toml"))
PAGE = (ROOT / "docs/articles.md").read_text(encoding="utf-8")
NOTES = articles.read_notes(articles.NOTES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_row_of_a_study_file_is_on_the_page(path: Path) -> None:
    section = PAGE.partition(f"### {path.stem}\n")[2].partition("\n### ")[0]
    for baseline in read_study_file(path).baselines:
        assert f"\n| {baseline.name} |" in section


def test_the_page_has_a_place_for_every_study_and_every_note() -> None:
    placed = [name for studies in articles.ARTICLES.values() for name in studies]
    assert sorted(placed) == [path.stem for path in STUDIES]
    letters = {title[:1] for title in articles.ARTICLES}
    assert NOTES.keys() <= {"introduction", *placed, *letters}


def test_a_page_is_what_the_stores_hold(store_file: Callable[..., Any], study_file: str) -> None:
    text = study_file.replace(
        'reported = "Works."', 'reported = "Works."\nfigure = {test_accuracy = 0.9}'
    )
    stored = store_file(text, only="baselines", runs=2)
    with stored.store.write() as connection:
        connection.exec_driver_sql(
            "UPDATE optuna_study_studies SET environment = "
            '\'{"class_counts": [6, 4], "device": "cpu", "torch": "2.14.1"}\''
        )
    for accuracy in (0.8, 0.7):
        stored.run([accuracy], attributes={"test_accuracy": accuracy + 0.1})
        stored.run([], EndKind.DIVERGED, reason="dead: at chance level")
    (found,) = articles.comparisons(stored.url)
    lines = articles.page({"spiral": found}, NOTES).splitlines()
    assert (
        "| plain | 90 % | -5.0 | 85.0 ± 7.1 % | 75.0 ± 7.1 % | 75.0 ± 7.1 % | 2 | 0 | Works. |"
        in lines
    )
    assert "A run that diverged counts as chance level, 60.0 %." in lines
    assert lines.count("Not measured yet.") == len(STUDIES) - 1
    assert "| c2 | 307,456 |  | 307,456 | yes |" in lines
    assert not any("| NO |" in line for line in lines)


def test_claims_across_studies_are_judged_by_the_runs() -> None:
    assert articles.judged(0.1, 0.01) == "yes"
    assert articles.judged(-0.1, 0.01) == "no"
    assert articles.judged(0.1, 0.3) == "left open (p = 0.3)"
