from __future__ import annotations

from optuna_study.report.figures.confusion import confusion_table
from optuna_study.report.tables import plain


def test_a_matrix_of_few_classes_has_a_row_each_and_its_recall() -> None:
    text = plain(confusion_table(["ant", "bee"], [[3, 1], [0, 4]]))
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["class", "1", "2", "right"],
        ["1", "ant", "3", "1", "75.0", "%"],
        ["2", "bee", "4", "100.0", "%"],
    ]


def test_of_many_classes_the_worst_confusions_are_named() -> None:
    classes = [f"c{number}" for number in range(11)]
    counts = [[9 if true == given else 0 for given in range(11)] for true in range(11)]
    counts[3][7], counts[8][2] = 2, 5
    text = plain(confusion_table(classes, counts))
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["5", "c8", "c2"],
        ["2", "c3", "c7"],
    ]
