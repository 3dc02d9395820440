from __future__ import annotations

from optuna_study.report.formats import render
from optuna_study.report.tables import heading, table


def test_a_page_holds_nothing_that_a_terminal_obeys_but_its_emphasis() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r\u202egpj\x9b1m\ud800"
    page = f"{heading('größe ✓')}\n{table(['study'], [[evil]])}"
    assert render("table", [], page) == (
        "\x1b[1mgröße ✓\x1b[0m\n\x1b[1mstudy\x1b[0m\n"
        "\\x1b]0;owned\\x07\\x1b[2J\\r\\u202egpj\\x9b1m\\ud800"
    )
