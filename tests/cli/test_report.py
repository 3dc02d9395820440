"""`report` and `plot` through the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from optuna_study.cli.main import group
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from pathlib import Path


def call(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, list(arguments))
    return (-1 if done.exception and done.exit_code == 1 else done.exit_code), (
        str(done.exception) if done.exception else done.output
    )


@pytest.fixture
def storage(stored_study: Any) -> list[str]:
    stored_study.run([0.5, 0.6])
    stored_study.run([], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    return ["small", "--storage", stored_study.url]


def test_a_report_is_written_in_the_form_of_its_name(storage: list[str], tmp_path: Path) -> None:
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    assert call("report", *storage, "-o", str(page)) == (0, f"{page}\n")
    assert call("report", *storage, "-o", str(text)) == (0, f"{text}\n")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert text.read_text().startswith("# A small study\n")
    code, printed = call("report", *storage, "-f", "md", "-o", "-")
    assert (code, printed) == (0, text.read_text())


def test_a_figure_is_written_or_the_kinds_are_listed(storage: list[str], tmp_path: Path) -> None:
    code, listed = call("plot", *storage)
    assert code == 0
    assert "history" in listed
    output = tmp_path / "trial.json"
    assert call("plot", storage[0], "trial", *storage[1:], "-o", str(output)) == (0, f"{output}\n")
    assert json.loads(output.read_text())["data"][2]["y"] == [0.5, 0.6]
    page = tmp_path / "history.html"
    assert call("plot", storage[0], "history", *storage[1:], "-o", str(page))[0] == 0
    assert "Values by trial" in page.read_text()


def test_a_figure_that_cannot_be_is_refused_before_the_store_is_read(tmp_path: Path) -> None:
    missing = ["--storage", f"sqlite:///{tmp_path}/none.db"]
    code, said = call("plot", "small", "histry", *missing)
    assert "no figure 'histry'" in said
    code, said = call("plot", "small", "history", "-o", "a.gif", *missing)
    assert code != 0
    assert "ends in one of" in said
