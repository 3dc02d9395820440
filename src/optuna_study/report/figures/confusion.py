"""Which classes a trial takes for which, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.report.tables import heading, table
from optuna_study.text import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_CLASSES = 10  # of a matrix on a page


def confusion_table(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Validation pictures by class, a row each, and answer; of many classes the worst confusions.

    Columns are numbered as the rows are.
    """
    if len(classes) > MOST_CLASSES:
        wrong = [
            (amount, classes[true], classes[given])
            for true, row in enumerate(counts)
            for given, amount in enumerate(row)
            if amount and true != given
        ]
        worst = sorted(wrong, key=lambda each: -each[0])[:MOST_CLASSES]
        rows = [list(each) for each in worst]
        return f"{heading('Confused most')}\n{table(['pictures', 'of', 'taken for'], rows)}"
    headers = ["", "class", *map(str, range(1, len(classes) + 1)), "right"]
    matrix = [
        [place, name, *(each or "" for each in row), percent(row[place - 1] / max(sum(row), 1))]
        for place, (name, row) in enumerate(zip(classes, counts, strict=True), 1)
    ]
    title = heading("Confusion (validation pictures: class by answer)")
    return f"{title}\n{table(headers, matrix)}"
