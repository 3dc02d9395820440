from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import record_curves as record
import torch

from optuna_study.config.settings import (
    get_setting,
)
from optuna_study.paths import Workspace
from optuna_study.report.curves.diagnosis import diagnose
from optuna_study.report.curves.patterns import Diagnosis, Expected, Pattern
from optuna_study.report.curves.read import expected
from optuna_study.store.records import EpochRecord
from optuna_study.training.divergence import Guessing, bias_gradient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@pytest.fixture(autouse=True)
def _threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


LEVEL = math.log(5)
BIASES = partial(bias_gradient, "cross_entropy", [9] * 5, 8)
EXPECTED = Expected(Guessing(LEVEL, 0.2), 45, BIASES, 10)
RECORDED: dict[str, Any] = json.loads(record.RECORDED.read_text())
HEALTHY = [1.5, 1.1, 0.8, 0.6, 0.5, 0.42, 0.36, 0.32, 0.3, 0.29]


def make(
    losses: Sequence[float],
    validation: Sequence[float] | None = None,
    *,
    lr: float = 0.01,
    norm: float = 5.0,
    gap: float = 0.0,
    accuracies: Sequence[float] | None = None,
) -> list[EpochRecord]:
    """A curve whose accuracies follow from its losses; `gap` is taken off validation accuracy.

    Training accuracies may be told instead.
    """

    def accuracy(loss: float) -> float:
        return max(0.2, 1 - loss / LEVEL) if math.isfinite(loss) else 0.2

    trained = accuracies or [accuracy(loss) for loss in losses]
    return [
        EpochRecord(e, accuracy(v), t, right, v, accuracy(v) - gap, lr, norm, 1.0)
        for e, (t, right, v) in enumerate(
            zip(losses, trained, validation or losses, strict=True), 1
        )
    ]


def read(curve: Sequence[EpochRecord], epochs: int | None = None) -> Diagnosis:
    return diagnose(curve, replace(EXPECTED, epochs=epochs or len(curve)))


AT_CHANCE = [1.66, 1.63, 1.65, 1.62, 1.64, 1.63, 1.65, 1.64]
HAND_MADE = {
    "settles": (make(HEALTHY), Pattern.HEALTHY),
    "settles from afar": (make([6.0, 2.0, *HEALTHY]), Pattern.HEALTHY),
    "learns in one epoch": (make([0.5, 0.2, 0.1, 0.08, 0.07]), Pattern.HEALTHY),
    "one bump": (make([*HEALTHY[:6], 0.7, 0.35, 0.31, 0.3]), Pattern.HEALTHY),
    "small noise": (make([0.6 + 0.02 * (e % 2) - 0.005 * e for e in range(60)]), Pattern.HEALTHY),
    "up and down": (
        make([1.5, 1.1, 0.9, 1.2, 0.8, 1.1, 0.7, 1.0, 0.8, 1.1]),
        Pattern.LR_TOO_LARGE,
    ),
    "gap": (make([*HEALTHY[:8], 0.1, 0.05], [1.4] + [0.9] * 9, gap=0.1), Pattern.OVERFIT_GAP),
    "apart": (
        make([*HEALTHY[:8], 0.1, 0.05], [1.4, 1.2, 1.0, 0.9, 0.95, 1.0, 1.1, 1.2, 1.3, 1.4]),
        Pattern.OVERFIT_RISING,
    ),
    "slow": (make([1.6 - 0.06 * e for e in range(10)]), Pattern.TOO_SLOW),
    "large weights": (
        make([20.3, 12.1, 9.0, 6.8, 5.3, 4.2, 3.6, 3.0], accuracies=[0.16, *[0.5] * 7]),
        Pattern.TOO_SLOW,
    ),
    "large weights, at chance": (make([20.3, 12.1, 9.0, 6.8]), Pattern.TOO_SLOW),
    "thrown later": (make([1.4, 9.0, 1.7], accuracies=[0.5, 0.3, 0.5]), Pattern.DIVERGING),
    "creeping, luckier than guessing": (
        make([2.2, 1.79, 1.7, 1.67, 1.66], accuracies=[0.4] * 5),
        Pattern.TOO_SLOW,
    ),
    "creeping, and rising at last": (
        make([1.6, 1.58, 1.57, 1.56, 1.55, 1.54, 1.53, 1.52, 1.521, 1.522, 1.523]),
        Pattern.HEALTHY,
    ),
    "noisy training, good validation": (
        make([2.4, 2.1, 1.9], [1.3, 1.0, 0.8], accuracies=[0.2, 0.2, 0.2]),
        Pattern.HEALTHY,
    ),
    "accurate with a large loss": (make([3.0, 2.9, 2.95], accuracies=[0.8] * 3), Pattern.HEALTHY),
    "slow near chance": (make([1.609 - 0.001 * e for e in range(10)]), Pattern.TOO_SLOW),
    "slow from above": (make([1.9 - 0.01 * e for e in range(10)]), Pattern.TOO_SLOW),
    "down to chance": (
        make(
            [1.98, 1.82, 1.73, 1.69, 1.66, 1.645, 1.64, 1.631, 1.626, 1.622, 1.619, 1.617],
            [1.85, 1.75, 1.70, 1.66, 1.64, 1.631, 1.622, 1.617, 1.614, 1.612, 1.611, 1.610],
        ),
        Pattern.DEAD,
    ),
    "falls by luck": (make([1.66, 1.65, 1.64, 1.63]), Pattern.DEAD),
    "validation sticks out once": (make(HEALTHY, [*HEALTHY[:9], 0.9]), Pattern.HEALTHY),
    "from above over a plateau": (make([6.7, 1.65, 1.62, 1.2, 0.6, 0.4]), Pattern.HEALTHY),
    "two large bumps": (
        make([1.5, 1.1, 0.8, 0.7, 0.6, 1.0, 0.8, 0.6, 0.9, 0.5]),
        Pattern.LR_TOO_LARGE,
    ),
    "flat, then a drop": (make([1.61] * 4 + [1.5, 0.9, 0.6, 0.4]), Pattern.POOR_INITIALISATION),
    "down, flat, then a drop": (
        make([3.4, 2.2, 1.62, 1.61, 1.61, 1.61, 0.9, 0.6]),  # from outputs of zero, of bce
        Pattern.POOR_INITIALISATION,
    ),
    "flat without a gradient": (make([1.61] * 6, norm=0.3), Pattern.POOR_INITIALISATION),
    "rises from the start": (make([1.7, 2.0, 2.4, 2.9, 3.6, 4.4]), Pattern.DIVERGING),
    "thrown up, then flat": (make([40.0, 1.7, 1.66, 1.64, 1.65]), Pattern.DIVERGING),
    "learned, then back": (make([1.4, 0.9, 0.5, 1.8, 1.65, 1.63]), Pattern.DIVERGING),
    "learned, then away": (make([1.4, 0.9, 0.5, 7.0]), Pattern.DIVERGING),
    "not finite": (make([1.4, 0.9, math.nan]), Pattern.DIVERGING),
    "infinite": (make([math.inf]), Pattern.DIVERGING),
    "infinite gradient": (make([1.4, 0.9], norm=math.inf), Pattern.DIVERGING),
    "settles, no norm told": (make(HEALTHY, norm=math.nan), Pattern.HEALTHY),
    "flat, no norm told": (make([1.61] * 6, norm=math.nan), Pattern.DEAD),
    "one lucky epoch": (
        make([1.6, *[1.612] * 11], accuracies=[0.29, *[0.2] * 11]),
        Pattern.DEAD,
    ),
    "several lucky epochs": (
        make([1.61] * 8, accuracies=[0.2, 0.4, 0.2, 0.2, 0.4, 0.2, 0.4, 0.2]),
        Pattern.DEAD,
    ),
    "two epochs at chance": (make([1.61, 1.61], norm=0.3), Pattern.TOO_SHORT),
    "one epoch at chance": (make([1.61]), Pattern.TOO_SHORT),
    "two epochs above chance": (make([1.9, 1.8], accuracies=[0.3, 0.5]), Pattern.HEALTHY),
    "two epochs that learn": (make([1.2, 0.6]), Pattern.HEALTHY),
    "never moves": (make(AT_CHANCE), Pattern.DEAD),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_curves(name: str) -> None:
    curve, pattern = HAND_MADE[name]
    found = read(curve)
    assert found.pattern is pattern, found
    for sentence in (found.cause, found.advice):
        assert sentence.endswith(".")
        assert "\n" not in sentence


@pytest.mark.parametrize("name", HAND_MADE)
@pytest.mark.parametrize("scale", [0.16 / LEVEL, 10.0])
def test_the_scale_of_the_loss_does_not_matter(name: str, scale: float) -> None:
    curve, pattern = HAND_MADE[name]
    scaled = [
        replace(
            epoch,
            train_loss=epoch.train_loss * scale,
            validation_loss=epoch.validation_loss * scale,
        )
        for epoch in curve
    ]
    level = Guessing(LEVEL * scale, 0.2)
    held_against = Expected(level, 45, lambda loss: BIASES(loss=loss / scale), len(curve))
    assert diagnose(scaled, held_against).pattern is pattern


def own(
    losses: Sequence[float],
    accuracies: Sequence[float],
    validation: Sequence[float] | None = None,
) -> Diagnosis:
    """What a curve of an own objective says, whose loss has nothing to do with accuracies."""
    curve = [
        replace(epoch, train_accuracy=train, validation_accuracy=other)
        for epoch, train, other in zip(
            make(losses, norm=math.nan), accuracies, validation or accuracies, strict=True
        )
    ]
    return diagnose(curve, replace(EXPECTED, own_objective=True, epochs=len(curve)))


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.001, 0), (100, 0), (1, -10)])
def test_an_own_objective_is_read_by_accuracies_and_relative_falls(
    scale: float, shift: float
) -> None:
    """A loss that is summed, or weighted, or a likelihood, is as good as ours."""
    losses = [shift + scale * loss for loss in (0.5, 0.3, 0.25, 0.22, 0.21)]
    learning, chance = [0.6, 0.8, 0.9, 0.95, 0.97], [0.2, 0.22, 0.19, 0.2, 0.21]
    assert own(losses, learning).pattern is Pattern.HEALTHY
    assert own(losses, learning, [0.5, 0.6, 0.7, 0.7, 0.7]).pattern is Pattern.OVERFIT_GAP
    assert own(losses, [0.6, 0.8, 0.9, 0.2, 0.2]).pattern is Pattern.DIVERGING
    assert own(losses, [0.6, 0.8, 0.9, 0.3, 0.33]).pattern is Pattern.DIVERGING
    mixed, right = [0.0] * 5, [0.5, 0.7, 0.8, 0.9, 0.94]  # no picture's class is to be told
    assert own(losses, mixed, right).pattern is Pattern.HEALTHY
    assert own(losses, [math.nan] * 5, right).pattern is Pattern.HEALTHY
    assert own([losses[0]] * 5, chance).pattern is Pattern.DEAD
    slow = [shift + scale * (2 - 0.2 * epoch) for epoch in range(8)]
    for accuracies in ([0.2] * 8, [0.3 + 0.01 * epoch for epoch in range(8)]):
        assert own(slow, accuracies).pattern is Pattern.TOO_SLOW
    assert own([*losses[:2], math.nan], learning[:3]).pattern is Pattern.DIVERGING


def test_the_sentences_about_an_own_objective_say_nothing_of_guessings_loss() -> None:
    found = own([21.2, 15.0, 18.0, 30.0], [0.5, 0.9, 0.2, 0.21])
    assert found.cause == (
        "The training accuracy was 90 % in epoch 2 and fell back to 21 % by epoch 4, where "
        "guessing gives 20 %."
    )
    found = own([21.2, 21.0, 21.1, 21.2], [0.2] * 4)
    assert found.cause == (
        "At chance level for all 4 epochs: training loss 21.2 and accuracy 20 %, where guessing "
        "gives 20 %."
    )


def test_the_objective_of_a_study_decides_how_its_curves_are_read() -> None:
    settings = {
        **{"loss": "cross_entropy", "optimizer": "sgd", "batch_size": 8, "mse_of": "sigmoid"},
        **{"activation": "relu", "epochs": 3, "objective": "default"},
        **{"initialisation": "he", "normalisation": "none"},
    }
    assert not expected(settings.__getitem__, [9] * 5).own_objective
    assert expected({**settings, "objective": "mine:own"}.__getitem__, [9] * 5).own_objective


def test_advice_sees_what_the_trial_does_already() -> None:
    """Nobody is told to draw smaller weights who has he, or to normalise what is normalised."""
    flat = make([LEVEL] * 6, norm=0.01)
    assert "he (ReLU)" in read(flat).advice
    assert "normalise the layers" in read(flat).advice
    scaled = diagnose(flat, replace(EXPECTED, epochs=6, scaled_weights=True))
    assert scaled.advice.startswith("Normalise the layers, or take another activation")
    both = diagnose(flat, replace(EXPECTED, epochs=6, scaled_weights=True, normalised=True))
    assert both.advice.startswith("Let the learning rate rise over a warm-up")


def test_overfitting_is_asked_before_a_swing() -> None:
    """Who has learned the pictures by heart swings, too, when validation loss is on its way up."""
    losses = [1.2, 0.8, 0.4, 0.15, 0.3, 0.1, 0.25, 0.08, 0.22, 0.05]
    rising = [1.3, 1.1, 1.0, 1.1, 1.2, 1.35, 1.45, 1.5, 1.6, 1.7]
    assert read(make(losses, rising)).pattern is Pattern.OVERFIT_RISING
    assert read(make(losses)).pattern is Pattern.LR_TOO_LARGE


def test_the_sentences_carry_the_figures() -> None:
    curve = make([1.4, 0.9, 0.5, 1.8, 1.65], lr=0.01)
    curve[3:] = [replace(epoch, lr=0.8) for epoch in curve[3:]]
    found = read(curve)
    assert found.cause == (
        "The training loss was 0.5 in epoch 3 and rose to 1.65 by epoch 5, when the learning rate "
        "went from 0.01 to 0.8; guessing costs 1.609."
    )
    assert found.advice.startswith("Lower the learning rate from 0.8 to 0.08 or less; ")
    found = read(make([1.609] * 4, norm=0.3))
    assert found.cause == (
        "At chance level for all 4 epochs: training loss 1.609 and accuracy 20 %, where guessing "
        "gives 1.609; the gradient norm of 0.3 is what the output biases alone have (0.32), so "
        "none reaches the weights."
    )


def test_luck_is_measured_by_the_number_of_pictures() -> None:
    """One in four right is luck among 40 pictures, and something learned among a thousand."""
    curve = make([1.6, *[1.612] * 11], accuracies=[0.25] * 12)
    few, many = (replace(EXPECTED, pictures=number, epochs=12) for number in (40, 1000))
    assert diagnose(curve, few).cause.startswith("At chance level for all 12 epochs")
    assert diagnose(curve, many).cause.startswith("Hardly better than guessing after 12 epochs")


def test_the_sentence_counts_the_epochs_at_chance() -> None:
    found = read(make([1.61] * 4, accuracies=[0.2, 0.4, 0.2, 0.2]))
    assert found.cause.startswith("At chance level for 3 of 4 epochs: training loss 1.61 ")
    found = read(make([1.61]))
    assert found.cause == (
        "No better than guessing after 1 epoch: training loss 1.61 and accuracy 20 %."
    )


def test_large_initial_weights_are_not_put_down_to_the_learning_rate() -> None:
    curve, _ = HAND_MADE["large weights"]
    found = read(curve)
    assert found.cause == (
        "The training loss began at 20.3, where guessing costs 1.609, and was still falling at "
        "the end of 8 epochs: 3."
    )
    assert found.advice.startswith("Draw smaller initial weights ")


def test_units_that_the_first_steps_silenced_are_dead() -> None:
    curve = make([1.9, 1.61, 1.61, 1.61], norm=0.25)
    curve[0] = replace(curve[0], gradient_norm=7.1)
    found = read(curve)
    assert found.pattern is Pattern.DEAD
    assert "the gradient norm fell from 7.1 in epoch 1 to 0.25" in found.cause
    assert "say at 0.001" in found.advice


def test_a_run_cut_short_is_not_blamed_for_what_it_had_no_time_for() -> None:
    falling = make([1.6 - 0.06 * e for e in range(10)])
    assert read(falling, epochs=10).pattern is Pattern.TOO_SLOW
    assert read(falling, epochs=30).pattern is Pattern.HEALTHY
    assert read(falling[:2], epochs=30).pattern is Pattern.TOO_SHORT
    assert read([], epochs=30).pattern is Pattern.TOO_SHORT
    assert read(make([9.0, 5.0]), epochs=30).pattern is Pattern.TOO_SHORT
    assert read(make([1.62, 1.61]), epochs=30).pattern is Pattern.TOO_SHORT
    assert read(make([1.5, math.nan]), epochs=30).pattern is Pattern.DIVERGING


PATTERNS = {
    "zeros, cross_entropy": Pattern.POOR_INITIALISATION,
    "zeros, bce": Pattern.POOR_INITIALISATION,
    "zeros, mse": Pattern.POOR_INITIALISATION,
    "zeros, mse of the activation": Pattern.POOR_INITIALISATION,
    "saturated, cross_entropy": Pattern.DEAD,
    "saturated, cross_entropy, fast": Pattern.DEAD,
    "saturated, bce": Pattern.DEAD,
    "saturated, mse": Pattern.DEAD,
    "saturated, biases that settle": Pattern.DEAD,
    "small weights": Pattern.POOR_INITIALISATION,
    "flat, then a drop": Pattern.POOR_INITIALISATION,
    "thrown away": Pattern.DIVERGING,
    "thrown away later": Pattern.DIVERGING,
    "slow": Pattern.TOO_SLOW,
    "large weights": Pattern.TOO_SLOW,
    "healthy": Pattern.HEALTHY,
    "swinging": Pattern.LR_TOO_LARGE,
    "a gap": Pattern.OVERFIT_GAP,
    "rising": Pattern.OVERFIT_RISING,
}


def diagnose_trained(name: str, trained: dict[str, Any]) -> Diagnosis:
    """What a net's curve says, recorded or just trained, under the settings of its case."""
    curve = [EpochRecord(**epoch) for epoch in trained["curve"]]
    return diagnose(
        curve, expected(partial(get_setting, record.configure(name)), trained["counts"])
    )


def test_every_recorded_curve_is_read() -> None:
    """`python tests/support/record_curves.py` trains the nets anew."""
    assert list(record.CASES) == list(PATTERNS) == list(RECORDED)


@pytest.mark.parametrize("name", PATTERNS)
def test_curves_of_trained_nets(name: str) -> None:
    found = diagnose_trained(name, RECORDED[name])
    assert found.pattern is PATTERNS[name], found


def test_a_saturated_net_whose_biases_settle_stays_at_chance() -> None:
    curve = RECORDED["saturated, biases that settle"]["curve"]
    assert {epoch["validation_accuracy"] for epoch in curve} == {0.2}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a gap"])
def test_a_curve_trained_now_is_read_alike(name: str, tmp_path: Path) -> None:
    found = diagnose_trained(name, record.train(name, Workspace(tmp_path)))
    assert found.pattern is PATTERNS[name], found


def test_reading_curves_needs_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, optuna_study.report.curves.diagnosis as d; "
        "assert not {'torch', 'optuna'} & set(sys.modules), 'heavy'; print(d.Pattern.DEAD.label)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "dead\n"


def test_the_page_about_curves_names_every_pattern() -> None:
    page = (Path(__file__).parents[3] / "docs/loss-curves.md").read_text(encoding="utf-8")
    for pattern in Pattern:
        assert f"\n| `{pattern.value}` |" in page
