"""A search space, and the way from stored parameters to the configuration of a trial and back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import DEFAULT, own_value
from optuna_study.config.settings import Scalar, Setting, TrainConfig, get_setting, with_settings
from optuna_study.errors import OutsideSpaceError
from optuna_study.space.dimensions import Breakpoints, Choice, Dimension, Leaf, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True)
class Space:
    """What is searched.

    `dimensions` are ordered: one that depends on another comes after it. `defaults` holds, for
    each searched setting, the value it takes while its condition does not hold: the base
    configuration's.
    """

    dimensions: tuple[Dimension, ...]
    defaults: Mapping[str, Setting]

    @classmethod
    def of(cls, dimensions: Iterable[Dimension], base: TrainConfig) -> Space:
        """The space of some dimensions around a base configuration, put in order.

        Raises:
            OutsideSpaceError: conditions that depend on each other in a circle.
        """
        known = [_within(dimension, base.train.epochs) for dimension in dimensions]
        circle = find_circle(known)
        if circle:
            raise OutsideSpaceError({name: "its `when` depends on itself" for name in circle})
        defaults = {one.setting: get_setting(base, one.setting) for one in known}
        return cls(order(known), defaults)

    def leaves(self) -> tuple[Leaf, ...]:
        """Every parameter that a trial may have, in order."""
        return tuple(leaf for dimension in self.dimensions for leaf in dimension.leaves())

    def suggest(self, draw: Callable[[Leaf], Scalar]) -> dict[str, Scalar]:
        """The parameters of a trial, in order; `draw` is asked only for those that apply."""
        parameters: dict[str, Scalar] = {}
        for dimension in self.dimensions:
            if self.applies(dimension, parameters):
                for leaf in dimension.leaves():
                    if not leaf.change or leaf.change <= int(parameters[dimension.setting]):
                        parameters[leaf.name] = draw(leaf)
        return parameters

    def applies(self, dimension: Dimension, parameters: Mapping[str, Scalar]) -> bool:
        """Whether a dimension's condition holds under the parameters of those before it."""
        return all(
            parameters.get(name, self.defaults[name]) in values
            for name, values in dimension.when.items()
        )

    def settings(self, parameters: Mapping[str, Scalar], base: TrainConfig) -> dict[str, Setting]:
        """The searched settings that parameters stand for.

        `base` gives what breakpoints need and the parameters may not hold: the learning rate and
        the number of epochs.

        Raises:
            OutsideSpaceError: a parameter that applies is missing.
        """
        settings: dict[str, Setting] = {}
        config = base
        for dimension in self.dimensions:
            name = dimension.setting
            settings[name] = self.defaults[name]
            if self.applies(dimension, parameters):
                try:
                    settings[name] = dimension.value(parameters, config)
                except KeyError as error:
                    problem = f"parameter '{error.args[0]}' is missing"
                    raise OutsideSpaceError({name: problem}) from None
            config = with_settings(config, {name: settings[name]})
        return settings

    def parameters(self, config: TrainConfig) -> dict[str, Scalar]:
        """The parameters that stand for a configuration: the inverse of `settings`.

        Raises:
            OutsideSpaceError: some settings lie outside the space; every one of them is named.
        """
        parameters: dict[str, Scalar] = {}
        problems: dict[str, str] = {}
        for dimension in self.dimensions:
            name = dimension.setting
            value = get_setting(config, name)
            if self.applies(dimension, parameters):
                try:
                    parameters.update(dimension.parameters(_meant(dimension, config), config))
                except OutsideError as error:
                    problems[name] = str(error)
            elif value != self.defaults[name]:
                problems[name] = (
                    f"{value} is set, but it is searched only when {condition(dimension)} "
                    f"and is {self.defaults[name]} otherwise"
                )
        if problems:
            raise OutsideSpaceError(problems)
        return parameters


def build(
    base: TrainConfig,
    space: Space,
    parameters: Mapping[str, Scalar],
    fixed: Mapping[str, Any],
) -> TrainConfig:
    """The configuration of a trial.

    `fixed` are settings that are no parameters; their lists, as JSON gives back, become tuples.
    A trial without any parameter lies outside the space on purpose: it is `fixed` over `base`.

    Raises:
        OutsideSpaceError: a parameter that applies is missing.
    """
    own = with_settings(base, {name: freeze(value) for name, value in fixed.items()})
    if not parameters:
        return own
    return with_settings(own, space.settings(parameters, own))


def freeze(value: Any) -> Setting:
    """A setting as the configuration holds it, from its JSON form.

    >>> freeze([[18, 0.003]]), freeze("relu")
    (((18, 0.003),), 'relu')
    """
    if isinstance(value, list | tuple):
        return tuple((int(epoch), float(lr)) for epoch, lr in value)
    scalar: Setting = value
    return scalar


def order(dimensions: Iterable[Dimension]) -> tuple[Dimension, ...]:
    """Dimensions, each after those it depends on, else as given; circles are left out."""
    waiting = list(dimensions)
    searched = {dimension.setting for dimension in waiting}
    placed: list[Dimension] = []
    while True:
        names = {dimension.setting for dimension in placed}
        ready = [dimension for dimension in waiting if needs(dimension) & searched <= names]
        if not ready:
            return tuple(placed)
        placed.append(ready[0])
        waiting.remove(ready[0])


def find_circle(dimensions: Iterable[Dimension]) -> list[str]:
    """The settings whose conditions depend on each other in a circle, or on such a one."""
    known = list(dimensions)
    placed = {dimension.setting for dimension in order(known)}
    return [dimension.setting for dimension in known if dimension.setting not in placed]


def needs(dimension: Dimension) -> set[str]:
    """The settings that must be decided before a dimension is."""
    rate = {"lr"} if isinstance(dimension, Breakpoints) else set()
    return {*dimension.when, *rate}


def condition(dimension: Dimension) -> str:
    """A dimension's condition in words."""
    return " and ".join(
        f"{name} is {' or '.join(map(str, values))}" for name, values in dimension.when.items()
    )


def _meant(dimension: Dimension, config: TrainConfig) -> Setting:
    """A configuration's value of a setting; the model's own where `default` is no choice."""
    value = get_setting(config, dimension.setting)
    if value != DEFAULT or not isinstance(dimension, Choice) or DEFAULT in dimension.choices:
        return value
    return own_value(dimension.setting, config.model.name, config.model.variant) or value


def _within(dimension: Dimension, epochs: int) -> Dimension:
    if isinstance(dimension, Breakpoints) and dimension.after_high is None:
        return dataclasses.replace(dimension, after_high=epochs - 1)
    return dimension
