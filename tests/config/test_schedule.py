from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optuna_study.config.schedule import lr_at
from optuna_study.config.settings import TrainSettings
from optuna_study.training.recipe.plateau import Plateau


def by_epoch(steps: int = 7, **changes: Any) -> list[float]:
    settings = TrainSettings(**changes)
    return [lr_at(settings, epoch * steps, steps) for epoch in range(settings.epochs)]


def test_the_articles_schedule_is_exact() -> None:
    rates = by_epoch(epochs=150, lr=0.01, breakpoints=((18, 0.003),))
    assert rates == [0.01] * 18 + [0.003] * 132


def test_reverse_rises() -> None:
    assert by_epoch(epochs=20, lr=0.01, breakpoints=((16, 0.8),)) == [0.01] * 16 + [0.8] * 4


def test_a_breakpoint_changes_the_first_step_after_its_epoch() -> None:
    settings = TrainSettings(epochs=3, lr=0.1, breakpoints=((1, 0.01), (2, 0.001)))
    rates = [lr_at(settings, step, 3) for step in range(9)]
    assert rates == [0.1] * 3 + [0.01] * 3 + [0.001] * 3


def test_cosine_starts_at_lr_and_falls_to_almost_zero() -> None:
    settings = TrainSettings(epochs=4, lr=0.2, schedule="cosine")
    rates = [lr_at(settings, step, 25) for step in range(100)]
    assert rates[0] == 0.2
    assert rates[50] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[99] < 0.2 * 1e-3


def test_warm_up_rises_evenly_and_ends_at_the_rate() -> None:
    settings = TrainSettings(epochs=4, lr=0.1, warmup_epochs=0.5)
    rates = [lr_at(settings, step, 10) for step in range(7)]
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1])


def test_cosine_begins_after_the_warm_up() -> None:
    settings = TrainSettings(epochs=3, lr=1.0, schedule="cosine", warmup_epochs=1)
    rates = [lr_at(settings, step, 10) for step in range(30)]
    assert rates[9] == rates[10] == 1.0
    assert rates[20] == pytest.approx(0.5)


def test_a_warm_up_longer_than_the_run_only_warms_up() -> None:
    settings = TrainSettings(epochs=2, lr=1.0, schedule="cosine", warmup_epochs=4)
    rates = [lr_at(settings, step, 5) for step in range(10)]
    assert rates == pytest.approx([(step + 1) / 20 for step in range(10)])


@st.composite
def breakpoint_lists(draw: st.DrawFn) -> tuple[tuple[int, float], ...]:
    epochs = sorted(draw(st.sets(st.integers(1, 30), max_size=4)))
    rate = st.floats(1e-8, 100.0)
    return tuple((epoch, draw(rate)) for epoch in epochs)


@given(
    lr=st.floats(1e-8, 100.0),
    breakpoints=breakpoint_lists(),
    step=st.integers(0, 1000),
    steps_per_epoch=st.integers(1, 40),
)
def test_only_named_rates_occur(
    lr: float, breakpoints: tuple[tuple[int, float], ...], step: int, steps_per_epoch: int
) -> None:
    settings = TrainSettings(epochs=30, lr=lr, breakpoints=breakpoints)
    passed = [rate for epoch, rate in breakpoints if step >= epoch * steps_per_epoch]
    assert lr_at(settings, step, steps_per_epoch) == [lr, *passed][-1]


@given(
    lr=st.floats(1e-8, 100.0),
    epochs=st.integers(1, 50),
    warmup=st.floats(0, 60),
    schedule=st.sampled_from(["breakpoints", "cosine"]),
    steps_per_epoch=st.integers(1, 40),
    place=st.floats(0, 1, exclude_max=True),
)
def test_rates_are_positive_and_never_above_lr(
    lr: float, epochs: int, warmup: float, schedule: str, steps_per_epoch: int, place: float
) -> None:
    settings = TrainSettings(epochs=epochs, lr=lr, warmup_epochs=warmup, schedule=schedule)
    rate = lr_at(settings, math.floor(place * epochs * steps_per_epoch), steps_per_epoch)
    assert 0 < rate <= lr


def steps_of(make: Any, steps: int, lr: float) -> list[float]:
    """The rates that a scheduler of torch's gives, a step each."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("epochs", "per_epoch"), [(4, 25), (7, 3), (1, 5)])
def test_one_cycle_is_torchs(epochs: int, per_epoch: int) -> None:
    settings, steps = (
        TrainSettings(epochs=epochs, lr=0.3, schedule="one_cycle"),
        epochs * per_epoch,
    )
    cycle = torch.optim.lr_scheduler.OneCycleLR
    expected = steps_of(lambda each: cycle(each, 0.3, total_steps=steps), steps, 0.3)
    assert [lr_at(settings, step, per_epoch) for step in range(steps)] == pytest.approx(expected)


def test_restarts_are_torchs() -> None:
    settings = TrainSettings(
        epochs=20, lr=0.2, schedule="restarts", restart_epochs=3, restart_factor=2
    )
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
    expected = steps_of(lambda each: restarts(each, 12, 2), 80, 0.2)
    assert [lr_at(settings, step, 4) for step in range(80)] == pytest.approx(expected, abs=1e-12)


def test_plateau_is_torchs() -> None:
    settings = TrainSettings(lr=1.0, schedule="plateau", plateau_patience=2, plateau_factor=0.5)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2, factor=0.5)
    losses = [3, 2, 2, 2, 2, 1, 1, 1, 0.99995, 0.9999, 5, 5, 5, 5, 5, 5, 0.5, 0.6, 0.6, 0.6, 0.6]
    ours = Plateau()
    for loss in losses:
        theirs.step(loss)
        ours = ours.after(settings, loss)
        assert ours.factor == optimizer.param_groups[0]["lr"]
    assert ours.factor < 0.2
    assert Plateau().after(TrainSettings(), 3.0) == Plateau()
