from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_study.config.reasons import DivergenceKind
from optuna_study.training.divergence import Figures, Guessing, Limits, Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.config.reasons import Divergence

FIVE = Guessing(loss=math.log(5), accuracy=0.2)
PICTURES = 744


def watch(epochs: int = 12, warmup: float = 0.0, steps: int = 93) -> Watch:
    return Watch(Limits(FIVE, epochs, steps, warmup))


def look(seen: Watch, epoch: int, loss: float, accuracy: float | None = None) -> Divergence | None:
    """A whole epoch, equal on both sides; the accuracy follows the loss unless given."""
    right = accuracy if accuracy is not None else max(0.2, 1 - loss / FIVE.loss)
    train, validation = Figures(loss, right, PICTURES), Figures(loss, right, 186)
    return seen.epoch(epoch, epoch * seen.limits.steps_per_epoch, train, validation)


def feed(seen: Watch, losses: Sequence[float], accuracy: float | None = None) -> list[Divergence]:
    found = [look(seen, epoch, loss, accuracy) for epoch, loss in enumerate(losses, start=1)]
    return [one for one in found if one is not None]


def chunk(seen: Watch, losses: Sequence[float], step: int = 1) -> Divergence | None:
    return seen.steps(1, step, 0.8, losses, [1.0] * len(losses))


class TestNonFinite:
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_loss_is_found_with_its_step_and_what_came_before(self, bad: float) -> None:
        found = watch().steps(2, 33, 0.8, [1.6, 1.523, bad, 1.0], [1.0] * 4)
        assert found is not None
        assert (found.kind, found.epoch, found.step) == (DivergenceKind.NON_FINITE, 2, 35)
        assert found.message == (
            f"The loss became {bad} in epoch 2, step 35, after 1.523, at learning rate 0.8."
        )

    def test_a_gradient_is_found_before_it_reaches_the_loss(self) -> None:
        found = watch().steps(1, 1, 0.1, [1.6, 1.6], [2.0, math.inf])
        assert found is not None
        assert (found.step, found.message.split(" became")[0]) == (2, "The gradient norm")

    def test_the_first_step(self) -> None:
        found = watch().steps(1, 1, 0.1, [math.nan], [1.0])
        assert found is not None
        assert "step 1, at the first step, at" in found.message


class TestExploding:
    def test_two_chunks_far_above_the_start(self) -> None:
        seen = watch()
        assert chunk(seen, [2.0] * 32) is None
        assert chunk(seen, [30.0] * 32, 33) is None
        found = chunk(seen, [40.0] * 32, 65)
        assert found is not None
        assert (found.kind, found.step) == (DivergenceKind.EXPLODING, 96)
        assert found.message == (
            "The training loss grew to 40 by step 96 of epoch 1, 20 times its level at the "
            "start (2), at learning rate 0.8."
        )

    def test_one_bad_chunk_is_forgiven(self) -> None:
        seen = watch()
        assert chunk(seen, [2.0] * 32) is None
        assert [chunk(seen, [level] * 32) for level in (90.0, 3.0, 90.0, 3.0)] == [None] * 4

    def test_single_steps_are_forgiven_until_16_are_far_above_the_start(self) -> None:
        """Adam at a rate of 1 on full batches begins with such a burst, and comes down from it."""
        seen = watch()
        assert chunk(seen, [2.0]) is None
        assert [chunk(seen, [90.0], step) for step in range(2, 17)] == [None] * 15
        found = chunk(seen, [90.0], 17)
        assert found is not None
        assert (found.kind, found.step) == (DivergenceKind.EXPLODING, 17)

    def test_a_high_start_is_no_explosion(self) -> None:
        """Badly scaled weights begin with a loss of hundreds and come down."""
        seen = watch()
        levels = [400.0, 500.0, 300.0, 100.0, 20.0, 3.0]
        assert [chunk(seen, [level] * 32) for level in levels] == [None] * 6


class TestDead:
    def test_never_better_than_guessing_for_half_of_the_run(self) -> None:
        found = feed(watch(epochs=12), [1.66, 1.64, 1.62, 1.61, 1.612, 1.611], accuracy=0.207)
        assert [(one.kind, one.epoch, one.step) for one in found] == [
            (DivergenceKind.DEAD, 6, 558)
        ]
        assert found[0].message == (
            "At chance level for 6 epochs: training loss 1.6110 and accuracy 20.7 %, validation "
            "20.7 % in epoch 6, where guessing gives 1.6094 and 20.0 %."
        )

    @pytest.mark.parametrize(
        ("epochs", "patience"), [(1, 3), (4, 3), (12, 6), (30, 15), (150, 20)]
    )
    def test_patience_follows_the_length_of_the_run(self, epochs: int, patience: int) -> None:
        found = feed(watch(epochs), [1.62] * patience, accuracy=0.2)
        assert [one.epoch for one in found] == [patience]

    def test_a_plateau_that_is_left_in_time_is_no_death(self) -> None:
        """A poor initialisation: flat for five of twelve epochs, then a sudden drop."""
        losses = [1.610, 1.609, 1.609, 1.608, 1.607, 1.55, 1.3, 0.9, 0.7, 0.6, 0.5, 0.4]
        assert feed(watch(epochs=12), losses) == []

    def test_validation_alone_keeps_a_run_alive(self) -> None:
        """Dropout can hold the training figures at chance long after the net has learned."""
        seen = watch()
        chance, better = Figures(1.65, 0.2, PICTURES), Figures(1.2, 0.5, 186)
        assert [seen.epoch(epoch, 93 * epoch, chance, better) for epoch in range(1, 13)] == (
            [None] * 12
        )

    def test_where_nine_in_ten_are_of_one_class_recall_and_log_loss_tell_who_learns(self) -> None:
        """90 : 5 : 5 and 71 validation pictures: 95.8 % could be guessing's luck by accuracy."""
        level = -0.9 * math.log(0.9) - 0.1 * math.log(0.05)
        guessing = Guessing(level, 0.901, classes=3, log_loss=level)
        train = Figures(0.41, 0.905, 285)

        def ends(balanced: float, log_loss: float) -> list[int]:
            seen = Watch(Limits(guessing, 12, 93))
            held_out = Figures(0.45, 0.958, 71, balanced, log_loss)
            found = [seen.epoch(epoch, 93 * epoch, train, held_out) for epoch in range(1, 13)]
            return [one.epoch for one in found if one is not None][:1]

        assert ends(1 / 3, 0.45) == [6]
        assert ends(0.67, 0.45) == []
        assert ends(1 / 3, 0.3) == []
        assert ends(math.nan, math.nan) == [6]  # as of an objective that does not tell them

    def test_epochs_of_few_steps_are_given_a_hundred(self) -> None:
        found = feed(watch(epochs=40, steps=4), [1.62] * 25, accuracy=0.2)
        assert [(one.epoch, one.step) for one in found] == [(25, 100)]

    def test_accuracy_alone_keeps_a_run_alive(self) -> None:
        """A large loss with right answers: badly scaled, not dead."""
        assert feed(watch(), [3.0] * 12, accuracy=0.4) == []

    def test_loss_alone_keeps_a_run_alive(self) -> None:
        assert feed(watch(), [1.55] * 12, accuracy=0.2) == []

    def test_three_epochs_at_chance_after_learning(self) -> None:
        found = feed(watch(epochs=150), [1.3, 0.9, 1.7, 1.64, 1.66])
        assert [(one.kind, one.epoch) for one in found] == [(DivergenceKind.DEAD, 5)]
        assert "for 3 epochs, after it had learned something: training loss 1.66" in (
            found[0].message
        )

    def test_two_bad_epochs_after_learning_are_forgiven(self) -> None:
        assert feed(watch(), [1.3, 0.9, 1.7, 1.64, 0.9, 1.7, 1.7, 0.8]) == []

    def test_the_warm_up_does_not_count(self) -> None:
        assert feed(watch(epochs=6, warmup=2.0), [1.61] * 4, accuracy=0.2) == []
        assert len(feed(watch(epochs=6, warmup=2.0), [1.61] * 5, accuracy=0.2)) == 1

    @pytest.mark.parametrize(
        ("epochs", "steps", "expected"),
        [(1000, 1, 500), (300, 1, 150), (50, 1, 100), (1000, 10, 50), (150, 93, 20), (12, 93, 6)],
    )
    def test_patience_follows_the_steps_where_epochs_are_short(
        self, epochs: int, steps: int, expected: int
    ) -> None:
        assert Limits(FIVE, epochs, steps).patience(learned=False) == expected


class TestOscillating:
    def test_six_swings_without_a_new_best(self) -> None:
        losses = [1.5, 0.9, 1.5, 0.9, 1.5, 0.91, 1.52, 0.92]
        found = feed(watch(), losses)
        assert [(one.kind, one.epoch) for one in found] == [(DivergenceKind.OSCILLATING, 8)]
        assert found[0].message == (
            "The training loss went up and down by 0.59 or more in each of the last 6 epochs "
            "without passing its best of 0.9; it ended epoch 8 at 0.92."
        )

    def test_swings_of_single_steps_count_once_there_are_a_hundred(self) -> None:
        seen = watch(epochs=300, steps=1)
        losses = [0.9, *([1.5, 0.91] * 60)]
        found = feed(seen, losses)
        assert (found[0].kind, found[0].epoch) == (DivergenceKind.OSCILLATING, 101)

    def test_a_new_best_starts_again(self) -> None:
        losses = [1.5, 0.9, 1.5, 0.9, 1.5, 0.89, 1.5, 0.88, 1.5, 0.87, 1.5, 0.86]
        assert feed(watch(), losses) == []

    def test_swings_near_zero_are_no_oscillation(self) -> None:
        """A run that has learned everything may double its small loss from epoch to epoch."""
        assert feed(watch(), [1.2, 0.05, 0.4, 0.06, 0.4, 0.06, 0.4, 0.06, 0.4]) == []


class TestOwnObjective:
    """Its loss may be summed, or a thousandth of ours."""

    @pytest.mark.parametrize("loss", [0.001, 100.0])
    def test_accuracies_tell_chance_level(self, loss: float) -> None:
        seen = Watch(Limits(FIVE, 12, 93, own_objective=True))
        assert feed(seen, [loss] * 12, 0.2)[0].kind is DivergenceKind.DEAD
        assert feed(Watch(Limits(FIVE, 12, 93, own_objective=True)), [loss] * 12, 0.5) == []

    def test_its_loss_is_not_compared_with_that_of_guessing(self) -> None:
        found = feed(Watch(Limits(FIVE, 12, 93, own_objective=True)), [-57.0] * 12, 0.2)
        assert found[0].message == (
            "At chance level for 6 epochs: training loss -57.0000 and accuracy 20.0 %, validation "
            "20.0 % in epoch 6, where guessing gives 20.0 %."
        )

    def test_swings_are_not_told(self) -> None:
        losses = [20.0, *[24.0, 22.0] * 8]
        assert feed(watch(), losses, 0.5)[0].kind is DivergenceKind.OSCILLATING
        assert feed(Watch(Limits(FIVE, 12, 93, own_objective=True)), losses, 0.5) == []


@given(
    st.lists(st.floats(0.001, 1.0), min_size=1, max_size=40),
    st.floats(0.3, 1.0),
)
def test_falling_curves_are_never_given_up(shares: list[float], accuracy: float) -> None:
    losses = sorted((2.0 * share for share in shares), reverse=True)
    seen = watch(epochs=len(losses))
    assert feed(seen, losses, accuracy=accuracy) == []
    assert all(chunk(seen, [loss] * 32) is None for loss in losses)


@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=20), st.integers(0, 20))
def test_a_restored_watch_sees_what_the_first_would_have_seen(
    losses: list[float], cut: int
) -> None:
    whole, first = watch(), watch()
    expected = feed(whole, losses)
    found = feed(first, losses[:cut])
    second = watch().restore(json.loads(json.dumps(first.state())))
    for epoch, loss in enumerate(losses[cut:], start=cut + 1):
        one = look(second, epoch, loss)
        found += [] if one is None else [one]
    assert found == expected
