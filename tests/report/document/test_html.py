"""The report's page: valid, whole by itself, and the same content as Markdown."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import html5lib
import pytest

from optuna_study.errors import UsageError
from optuna_study.paths import Workspace
from optuna_study.report.document.blocks import Document, Section, Text
from optuna_study.report.document.html import to_html
from optuna_study.report.document.write import report_text, require_form
from optuna_study.report.figures.study_data import StudyData, load_study_data
from optuna_study.store.studies.studies import load_study

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "A </script><b>small</b> & study"


@pytest.fixture(scope="module")
def data(finished_study: Any, finished_workspace: Workspace) -> StudyData:
    study = load_study(finished_study.store, finished_study.study.name)
    study.definition["title"] = TITLE  # type: ignore[index]
    return load_study_data(finished_study.store, study, finished_workspace)


def test_the_page_is_valid_and_holds_all_it_needs(data: StudyData) -> None:
    from plotly.offline import get_plotlyjs

    page = report_text(data, "html")
    script = get_plotlyjs()
    assert page.count(script) == 1
    assert len(page) < 1.1 * len(script)
    ours = page.replace(script, "")
    html5lib.HTMLParser(strict=True).parse(ours)
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", ours)
    assert "default-src 'none'" in ours.replace("&#x27;", "'")
    content = json.loads(ours.partition('type="application/json">')[2].partition("</script>")[0])
    assert ours.count('<div class="plot') == len(content["figures"]) > 10
    assert "<b>small</b>" not in ours


def test_a_command_in_a_sentence_looks_like_one(data: StudyData) -> None:
    text = Text("What it reaches on < 3 others, `train` & `confirm` say.")
    page = to_html(Document("", "", [Section("Result", (text,))]), data)
    assert "on &lt; 3 others, <code>train</code> &amp; <code>confirm</code> say.</p>" in page


def test_the_page_and_markdown_say_the_same(data: StudyData) -> None:
    page, text = report_text(data, "html"), report_text(data, "md")
    result = "Best: trial 5, validation accuracy 80.0 %"
    for told in (
        result,
        "the best is 20.0 points better",
        "6 of 6 trials ended",
        "optuna-study export small -o best.toml",
        "activation",
    ):
        assert told in page, told
        assert told in text, told
    assert "| lr | 70.0 % |" in text
    assert text.startswith(f"# {TITLE}\n")


def test_a_study_of_which_nothing_has_run_has_a_report(stored_study: Any, tmp_path: Path) -> None:
    data = load_study_data(stored_study.store, stored_study.study, Workspace(tmp_path))
    assert "No trial has completed." in report_text(data, "html")
    assert "No trial has completed." in report_text(data, "md")


def test_a_figure_is_not_written_as_just_anything(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in one of \.html"):
        require_form(tmp_path / "figure.gif")
