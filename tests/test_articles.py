"""docs/articles.py and the page it has written."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import articles
import pytest

from optuna_study.definition.read import read_study_file
from optuna_study.report.comparison.compare import Comparison
from optuna_study.report.comparison.welch import Spread
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
OURS = {"finetune"}  # no article has it
STUDIES = [path for path in sorted(ROOT.glob("studies/*.toml")) if path.stem not in OURS]
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


def test_a_page_is_what_the_stores_hold(
    store_file: Callable[..., Any], study_file: str, tmp_path: Path
) -> None:
    stored = store_file(study_file, only="baselines", runs=2)
    (path,) = tmp_path.glob("files/*.toml")
    later = study_file.replace(
        'reported = "Works."', 'reported = "Works."\nfigure = {test_accuracy = 0.9}'
    )
    claim = '[[claims]]\ntext = "It learns"\nbetter = "plain"\nworse = "wild"\n'
    path.write_text(later + claim, encoding="utf-8")
    with stored.store.write() as connection:
        connection.exec_driver_sql(
            "UPDATE optuna_study_studies SET environment = "
            '\'{"class_counts": [6, 4], "device": "cpu", "torch": "2.14.1"}\''
        )
    for accuracy in (0.8, 0.7):
        stored.run([accuracy], attributes={"test_accuracy": accuracy + 0.1})
        stored.run([], EndKind.DIVERGED, reason="dead: at chance level")
    (found,) = articles.comparisons(stored.url, path.parent)
    assert str(found) == f"small@baselines in {stored.url}"
    lines = articles.page({"spiral": found}, NOTES).splitlines()
    figures = "85.0 ± 7.1 % | 75.0 ± 7.1 % | 75.0 ± 7.1 %"
    assert f"| plain | 90 % | -5.0 | {figures} | 2 | 2 too short | Works. |" in lines
    assert "| wild | 60.0 %* | 60.0 %* | 60.0 %* | 2 | 2 dead | 2 dead |" in lines
    told = "plain: 85.0 ± 7.1 % | wild: 60.0 %*"
    assert f"| It learns | {told} | left open (p = 0.13) |" in lines
    assert "\\* A run that was given up without this figure counts as chance, 60.0 %." in lines
    assert lines.count("Not measured yet.") == len(STUDIES) - 1
    assert "| c2 | 307,456 |  | 307,456 | yes |" in lines
    assert not any("| NO |" in line for line in lines)


def test_what_no_store_holds_stays_on_the_page_and_later_rows_are_named() -> None:
    before = "# The page\n### vgg_cifar10\n\nSaid.\n\n| row |\n| --- |\n| vgg |\n\n## D. More\n"
    once = articles.page({}, NOTES, before)
    assert "\n### vgg_cifar10\n\nSaid.\n\n| row |\n| --- |\n| vgg |\n" in once
    rows = [each.name for each in read_study_file(ROOT / "studies/vgg_cifar10.toml").baselines]
    later = articles.section(once, "vgg_cifar10").partition(articles.UNMEASURED)[2]
    assert [name for name in rows if f"\n| {name} |" in later] == [*rows[1:]]
    assert articles.page({}, NOTES, once) == once
    said = before.replace("\n\n## D", f"\n\n{articles.WORDS}\n\nAs it was said once.\n\n## D")
    anew = articles.page({}, NOTES, said)
    assert "As it was said once." not in anew, "words are those of today"
    assert f"| vgg |\n\n{articles.WORDS}\n\n{NOTES['vgg_cifar10']}\n" in anew
    assert articles.page({}, NOTES, anew) == anew
    assert once.count("Not measured yet.") == len(STUDIES) - 1


def test_real_pictures_and_the_full_profile_are_never_replaced_by_less(
    store_file: Callable[..., Any], study_file: str
) -> None:
    text = study_file.replace('name = "rendered"', 'name = "mnist"\nstand_in = "digits"')
    stored = store_file(text, only="baselines")

    def found(name: str, profile: str, data: str) -> articles.Found:
        definition = stored.study.definition
        config = {**definition["config"], "data": {"name": data}}
        definition = {**definition, "profile": profile, "config": config}
        study = replace(stored.study, name=name, definition=definition)
        return articles.Found(study, Comparison((), ()))

    full, later = found("first", "full", "mnist"), found("second", "full", "mnist")
    digits, small = found("digits", "full", "digits"), found("small", "cpu", "mnist")
    for order in itertools.permutations((full, digits, small)):
        best, left_out = articles.chosen(order)
        assert (best["small"], left_out) == (full, [digits, small])
    assert articles.chosen([small, digits])[0]["small"] is small
    assert articles.chosen([full, later]) == ({"small": later}, [full])


def test_claims_across_studies_take_the_runs_of_all_four_rows_into_account() -> None:
    dense = {"plain": Spread((0.905, 0.906, 0.904)), "permuted": Spread((0.90, 0.90, 0.90))}
    plain = Spread((0.974, 0.975, 0.973))
    odd = {"plain": plain, "permuted": Spread((0.99, 0.80, 0.97))}
    table = articles.permutation_claims(dense, odd)[1].splitlines()
    assert table[2].endswith("| 97.4 ± 0.1 % against 90.5 ± 0.1 % | holds (p = 1.2e-07) |")
    assert table[3].endswith("| 5.4 against 0.5 points | left open (p = 0.5) |")
    steady = {"plain": plain, "permuted": Spread((0.88, 0.89, 0.87))}
    assert "| holds (p = " in articles.permutation_claims(dense, steady)[1].splitlines()[3]
    assert articles.permutation_claims(dense, {"plain": plain}) == []
