from __future__ import annotations

from pathlib import Path

import pytest

from optuna_study.config.settings import SECTION_OF, SECTIONS
from optuna_study.definition.model import PINNED, section_fields
from optuna_study.definition.read import parse_study_file
from optuna_study.definition.reference import TABLES, main, with_tables
from optuna_study.definition.resolve import resolve
from optuna_study.definition.space_table import NOT_SEARCHED
from optuna_study.errors import StudyFileError

PAGE = Path(__file__).parents[2] / "docs" / "study-file.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says() -> None:
    stale = "run `python -m optuna_study.definition.reference` and commit docs/study-file.md"
    assert with_tables(TEXT) == TEXT, stale


def test_the_page_names_every_setting() -> None:
    for section in (*SECTIONS, "search"):
        for name, entry in section_fields(section).items():
            assert f"| `{name}` | " in TEXT
            assert entry.metadata["doc"] in TEXT


def test_the_example_is_complete_and_has_twelve_lines() -> None:
    example = TEXT.split("```toml\n")[1].split("```")[0]
    assert len(example.splitlines()) == 12
    file = parse_study_file(example, "example")
    assert {type(each).__name__ for each in file.space} == {"Choice", "FloatRange", "Breakpoints"}
    assert resolve(file, "full").baselines[0].name == "plain"


def test_every_table_is_written_anew(tmp_path: Path) -> None:
    stale = tmp_path / "page.md"
    marks = [f"<!-- made from the code: {name} -->" for name in TABLES]
    stale.write_text("".join(f"{mark}\n\nstale\n\n<!-- end -->\n" for mark in marks))
    main([str(stale)])
    written = stale.read_text(encoding="utf-8")
    assert "stale" not in written
    assert all(TEXT.count(mark) == 1 for mark in marks)
    assert all(table() in written and table() in TEXT for table in TABLES.values())


def test_pinned_settings_exist() -> None:
    assert SECTION_OF.keys() >= NOT_SEARCHED
    assert PINNED < NOT_SEARCHED


def test_the_problems_shown_are_those_the_reader_tells() -> None:
    text = (
        "[train]\nepohcs = 3\n[space]\nlr = {low = 0.1, high = 0.001}\n"
        "[[baselines]]\nname = 'plain'\nsettings = {activation = 'rleu'}\n"
    )
    with pytest.raises(StudyFileError) as caught:
        parse_study_file(text, "cats")
    shown = TEXT.split("has 3 problems:\n")[1].split("```")[0]
    assert [line.strip() for line in shown.splitlines()] == list(caught.value.problems)
