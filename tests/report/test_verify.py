from __future__ import annotations

import math

import pytest

from optuna_study.config.reproducibility import differing
from optuna_study.report.verify import Outcome, compare, differences, tolerance

CURVE = {"validation_accuracy": (0.25, 0.75), "train_loss": (1.5, 0.1 + 0.2)}
RECORDED = Outcome(0.75, CURVE)
HERE = {"torch": "2.14.1", "device": "cpu", "threads": 1, "instruction_set": "AVX512"}


def test_equal_to_the_last_bit() -> None:
    verdict = compare(RECORDED, Outcome(0.75, dict(CURVE)), (), 160)
    assert (verdict.matches, verdict.exact) == (True, True)
    assert verdict.sentences == ("value and all 2 epochs agree to the last bit",)


def test_a_trial_that_was_stopped_early_is_compared_as_far_as_it_got() -> None:
    longer = {name: (*values, 0.9) for name, values in CURVE.items()}
    verdict = compare(RECORDED, Outcome(0.9, longer), (), 160)
    assert (verdict.matches, verdict.exact) == (True, True)
    assert verdict.sentences == (
        "the search stopped this trial after epoch 2; up to there all 2 epochs agree to the last "
        "bit",
    )
    longer["train_loss"] = (1.5, 0.3, 0.9)
    assert not compare(RECORDED, Outcome(0.9, longer), (), 160).matches
    assert not compare(Outcome(None, {}), Outcome(0.9, longer), (), 160).matches


def test_one_bit_in_one_figure_is_a_difference() -> None:
    found = Outcome(0.75, {**CURVE, "train_loss": (1.5, 0.3)})
    verdict = compare(RECORDED, found, (), 160)
    assert (verdict.matches, verdict.exact) == (False, True)
    assert verdict.sentences == ("epoch 2: train_loss is 0.3, recorded was 0.30000000000000004",)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Outcome(0.75, {name: values[:1] for name, values in CURVE.items()}), "1 epochs"),
        (Outcome(0.5, CURVE), "the curve agrees, yet the value is 0.5, not 0.75"),
        (Outcome(0.75, {"validation_accuracy": (0.25, 0.75)}), "train_loss is missing"),
    ],
)
def test_what_differs_is_named(found: Outcome, said: str) -> None:
    verdict = compare(RECORDED, found, (), 160)
    assert not verdict.matches
    assert said in verdict.sentences[0]


def test_another_machine_is_named_and_compared_within_three_standard_errors() -> None:
    theirs = {**HERE, "threads": 2, "torch": "2.13.0"}
    sentences = differences(theirs, HERE, resumed_elsewhere=False)
    assert sentences == ("torch was 2.13.0, is 2.14.1", "threads was 2, is 1")
    allowed = 3 * math.sqrt(0.75 * 0.25 / 160)
    for gap, matches in ((0.99 * allowed, True), (1.01 * allowed, False)):
        found = Outcome(0.75, {"validation_accuracy": (0.2, 0.75 + gap)})
        verdict = compare(RECORDED, found, sentences, 160)
        assert (verdict.matches, verdict.exact) == (matches, False)
        assert "threads was 2, is 1" in verdict.sentences[0]


def test_records_of_before_frozen_norms_were_folded_are_not_compared_to_the_last_bit() -> None:
    folded = {**HERE, "frozen_norms": "folded"}
    assert differences(HERE, folded, resumed_elsewhere=False) == (
        "frozen_norms was not recorded, is folded",
    )
    assert differences(folded, folded, resumed_elsewhere=False) == ()
    # A head of a study whose other trials fold some has none itself.
    assert differences(folded, HERE, resumed_elsewhere=False) == ()


def test_steps_that_were_replayed_are_not_compared_with_called_ones_to_the_last_bit() -> None:
    gpu = {**HERE, "device": "cuda (H200)", "cuda_graphs": True}
    of_before = {**HERE, "device": "cuda (H200)"}
    assert differing(of_before, gpu) == ("cuda_graphs was not recorded, is True",)
    assert differing(of_before, {**gpu, "cuda_graphs": False}) == ()
    replayed, called = {**gpu, "steps": "CUDA graph"}, {**gpu, "steps": "eager: a reason"}
    assert differing(replayed, called) == ("steps was CUDA graph, is eager: a reason",)
    assert differing(called, {**gpu, "steps": "eager: another"}) == ()
    assert differing(replayed, gpu) == ()  # not known yet


def test_a_run_that_is_not_finite_never_matches() -> None:
    found = Outcome(None, {"validation_accuracy": (0.2, math.nan)})
    assert not compare(RECORDED, found, ("threads was 2, is 1",), 160).matches
    assert not compare(RECORDED, Outcome(None, {}), ("threads was 2, is 1",), 160).matches


def test_the_same_machine_has_no_differences_but_a_gpu_has() -> None:
    assert differences(HERE, HERE, resumed_elsewhere=False) == ()
    gpu = {**HERE, "device": "cuda (H200)"}
    assert differences(gpu, gpu, resumed_elsewhere=False) == (
        "cuda (H200) does not add in a fixed order",
    )


def test_a_trial_continued_elsewhere_is_exempt() -> None:
    assert differences(HERE, HERE, resumed_elsewhere=True) == (
        "the recorded trial was continued on other hardware",
    )


def test_a_perfect_accuracy_still_has_a_tolerance() -> None:
    assert 0 < tolerance(1.0, 100) < 0.03
    assert tolerance(0.0, 100) == pytest.approx(tolerance(1.0, 100))
