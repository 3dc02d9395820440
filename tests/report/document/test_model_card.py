"""The card of a handed-out model: what was searched, and what its trial had beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

from optuna_study.report.document.model_card import model_card
from optuna_study.report.load import load_summary
from optuna_study.store.reads import reads


def test_settings_are_the_searched_ones_and_those_unlike_the_study_s(stored_study: Any) -> None:
    number = stored_study.run([0.5])
    summary = load_summary(stored_study.store, stored_study.study)
    trial = reads.trial(stored_study.store, stored_study.study, number)
    tuned = dataclasses.replace(trial, fixed={"label_smoothing": 0.25})
    plain, changed = (model_card(summary, each, ["a", "b"], onnx=False) for each in (trial, tuned))
    assert "| lr | " in plain
    assert "| label_smoothing |" not in plain
    assert "| label_smoothing | 0.25 |" in changed
