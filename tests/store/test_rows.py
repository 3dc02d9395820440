from __future__ import annotations

import pytest

from optuna_study.config.reasons import (
    DivergenceKind,
    EarlierDivergence,
    Failed,
    NonFinite,
    Reason,
)
from optuna_study.store.records import EndKind
from optuna_study.store.rows import reason_columns, stored_reason


@pytest.mark.parametrize(
    ("end", "epochs", "sentence", "expected"),
    [
        (
            EndKind.DIVERGED,
            2,
            "dead: At chance level for 3 epochs: training loss 1.6",
            EarlierDivergence(
                DivergenceKind.DEAD, "At chance level for 3 epochs: training loss 1.6"
            ),
        ),
        (EndKind.DIVERGED, 2, "a kind of old: who knows", "a kind of old: who knows"),
        (EndKind.DIVERGED, 2, "dead", "dead"),
        (EndKind.FAILED, 2, "ValueError: no (in epoch 3)", Failed("ValueError: no", 3)),
        (EndKind.FAILED, None, "ValueError: no (in epoch 1)", Failed("ValueError: no", 1)),
        (EndKind.FAILED, 2, "no (in epoch 9)", "no (in epoch 9)"),
        (EndKind.PRUNED, 2, "rungs: too low", "rungs: too low"),
        (None, 2, "its worker w1 was lost", "its worker w1 was lost"),
        (None, 2, None, None),
    ],
)
def test_what_version_4_stored(
    end: EndKind | None, epochs: int | None, sentence: str | None, expected: Reason | str | None
) -> None:
    row = {
        "end_kind": end and end.value,
        "epochs": epochs,
        "reason": sentence,
        "end_details": None,
    }
    found = stored_reason(row)
    assert found == expected
    assert sentence is None or str(found) == sentence


def test_a_reason_of_a_later_version_is_not_told() -> None:
    row = {"end_kind": "pruned", "epochs": 2, "reason": None, "end_details": '{"kind": "rain"}'}
    assert stored_reason(row) is None


def test_fields_are_stored_instead_of_a_sentence() -> None:
    reason = NonFinite("loss", float("inf"), epoch=2, step=35, rate=0.8, before=None)
    assert reason_columns(reason) == {
        "reason": None,
        "end_details": '{"kind": "non_finite", "quantity": "loss", "value": "inf", "epoch": 2, '
        '"step": 35, "rate": 0.8, "before": null}',
    }
