from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_study.config.settings import TrainConfig, get_setting, with_settings
from optuna_study.errors import OutsideSpaceError
from optuna_study.space.dimensions import Breakpoints, Choice, FloatRange, IntRange, Leaf
from optuna_study.space.space import Space, build, find_circle

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import Scalar

    Spaces = st.SearchStrategy[tuple[Space, TrainConfig]]
    Drawing = Callable[[int], Callable[[Leaf], Scalar]]

BASE = TrainConfig()
OPTIMIZER = Choice("optimizer", ("sgd", "momentum", "adam"))
MOMENTUM = FloatRange("momentum", 0.5, 0.99, when={"optimizer": ("momentum",)})


@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_parameters_come_back_from_the_configuration_they_made(
    spaces: Spaces, drawing: Drawing, data: st.DataObject, seed: int
) -> None:
    space, base = data.draw(spaces)
    parameters = space.suggest(drawing(seed))
    config = build(base, space, parameters, {})
    again = space.parameters(config)
    assert build(base, space, again, {}) == config
    scalars = [name for name in space.defaults if name != "breakpoints" and name in parameters]
    assert {name: again[name] for name in scalars} == {name: parameters[name] for name in scalars}
    assert space.parameters(build(base, space, again, {})) == again


@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_breakpoints_are_ordered_within_the_run_and_exact(
    spaces: Spaces, drawing: Drawing, data: st.DataObject, seed: int
) -> None:
    space, base = data.draw(spaces)
    pairs = build(base, space, space.suggest(drawing(seed)), {}).train.breakpoints
    epochs = [epoch for epoch, _ in pairs]
    assert epochs == sorted(set(epochs))
    assert all(1 <= epoch < base.train.epochs for epoch in epochs)
    assert all(lr == float(f"{lr:.12g}") for _, lr in pairs)


@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_only_parameters_that_apply_are_drawn_and_all_of_them_are_leaves(
    spaces: Spaces, drawing: Drawing, data: st.DataObject, seed: int
) -> None:
    space, base = data.draw(spaces)
    parameters = space.suggest(drawing(seed))
    assert parameters.keys() <= {leaf.name for leaf in space.leaves()}
    config = build(base, space, parameters, {})
    for dimension in space.dimensions:
        holds = all(get_setting(config, name) in each for name, each in dimension.when.items())
        assert (dimension.setting in parameters) == holds
        if not holds:
            assert get_setting(config, dimension.setting) == get_setting(base, dimension.setting)


def test_a_condition_is_decided_before_what_depends_on_it() -> None:
    space = Space.of([MOMENTUM, OPTIMIZER], BASE)
    assert [leaf.name for leaf in space.leaves()] == ["optimizer", "momentum"]
    answers: dict[str, Scalar] = {"optimizer": "momentum", "momentum": 0.7}
    assert space.suggest(lambda leaf: answers[leaf.name]) == answers
    assert space.suggest(lambda _: "adam") == {"optimizer": "adam"}


def test_conditions_in_a_circle_are_refused() -> None:
    first = Choice("optimizer", ("sgd", "adam"), {"activation": ("relu",)})
    second = Choice("activation", ("relu", "gelu"), {"optimizer": ("sgd",)})
    third = FloatRange("dropout", 0.0, 0.5)
    assert find_circle([first, second, third]) == ["optimizer", "activation"]
    with pytest.raises(OutsideSpaceError, match="depends on itself"):
        Space.of([first, second, third], BASE)


def test_every_setting_outside_the_space_is_named() -> None:
    space = Space.of([OPTIMIZER, MOMENTUM, IntRange("batch_size", 8, 64, step=8)], BASE)
    config = with_settings(BASE, {"optimizer": "rmsprop", "batch_size": 20, "momentum": 0.5})
    with pytest.raises(OutsideSpaceError) as caught:
        space.parameters(config)
    assert caught.value.problems == {
        "optimizer": "rmsprop is none of sgd, momentum, adam",
        "momentum": "0.5 is set, but it is searched only when optimizer is momentum "
        "and is 0.9 otherwise",
        "batch_size": "20 is not a multiple of 8 above 8",
    }


def test_a_missing_parameter_is_named() -> None:
    space = Space.of([OPTIMIZER, Breakpoints("breakpoints", 2, 0.1, 1.0)], BASE)
    with pytest.raises(OutsideSpaceError, match="parameter 'breakpoint_1_after' is missing"):
        space.settings({"optimizer": "sgd", "breakpoints": 1}, BASE)


def test_breakpoints_start_from_a_searched_rate_whatever_the_order() -> None:
    breakpoints = Breakpoints("breakpoints", 1, 0.1, 1.0)
    space = Space.of([breakpoints, FloatRange("lr", 1e-3, 0.1, log=True)], BASE)
    parameters: dict[str, Scalar] = {
        "lr": 0.02,
        "breakpoints": 1,
        "breakpoint_1_after": 3,
        "breakpoint_1_factor": 0.5,
    }
    settings = space.settings(parameters, BASE)
    assert settings == {"lr": 0.02, "breakpoints": ((3, 0.01),)}
    assert space.parameters(with_settings(BASE, settings)) == parameters


def test_default_is_the_model_s_own_value_where_the_space_needs_one() -> None:
    space = Space.of([Choice("normalisation", ("none", "lrn", "batch"))], TrainConfig())
    for variant, own in (("default", "none"), ("original", "lrn"), ("batch_norm", "batch")):
        config = with_settings(TrainConfig(), {"model": "alexnet", "variant": variant})
        assert config.model.normalisation == "default"
        assert space.parameters(config) == {"normalisation": own}
    left = Space.of([Choice("normalisation", ("default", "batch"))], TrainConfig())
    assert left.parameters(TrainConfig()) == {"normalisation": "default"}
    small = Space.of([Choice("normalisation", ("none", "batch"))], TrainConfig())
    with pytest.raises(OutsideSpaceError, match="normalisation: lrn is none of none, batch"):
        small.parameters(with_settings(TrainConfig(), {"model": "alexnet", "variant": "original"}))
    with pytest.raises(OutsideSpaceError, match="default is none of"):
        small.parameters(with_settings(TrainConfig(), {"model": "timm:resnet18"}))
