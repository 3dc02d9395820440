"""The kinds of searched dimension; each maps its setting to parameters and back.

Vocabulary: a *dimension* searches one setting and is made of *leaves*, each one parameter as a
sampler sees it. All but breakpoints have a single leaf, named as the setting. Bounds are
inclusive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.config.settings import Scalar, Setting, TrainConfig

Condition: TypeAlias = "Mapping[str, tuple[Scalar, ...]]"
"""The settings a dimension depends on, each with the values under which it is searched."""

TOLERANCE = 1e-9  # relative: what a value may miss a bound or a step by and still count as on it


@dataclass(frozen=True)
class Leaf:
    """One parameter: its name, and the values it can take.

    `choices` belong to a categorical, `low`, `high`, `log` and `step` to the numeric kinds; a
    float without a step is continuous. `change` is the breakpoint that it belongs to: a trial
    with fewer has no such parameter.
    """

    name: str
    kind: Literal["float", "int", "categorical"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Scalar, ...] = ()
    change: int = 0


class OutsideError(ValueError):
    """A value that a dimension cannot take; the message says what it is and what would do.

    Never leaves `space`: callers get an `OutsideSpaceError` that names all such values.
    """


@dataclass(frozen=True)
class Choice:
    """One of several values, without an order between them."""

    setting: str
    choices: tuple[Scalar, ...]
    when: Condition = field(default_factory=dict)

    def leaves(self) -> tuple[Leaf, ...]:
        """The one parameter."""
        return (Leaf(self.setting, "categorical", choices=self.choices),)

    def value(self, parameters: Mapping[str, Scalar], config: TrainConfig) -> Setting:
        """The setting that the parameter stands for."""
        return parameters[self.setting]

    def parameters(self, value: Setting, config: TrainConfig) -> dict[str, Scalar]:
        """The parameter that stands for a value.

        Raises:
            OutsideError: it is none of the choices.
        """
        for choice in self.choices:
            if choice == value:
                return {self.setting: choice}
        raise OutsideError(f"{value} is none of {', '.join(map(str, self.choices))}")


@dataclass(frozen=True)
class IntRange:
    """A whole number between two bounds."""

    setting: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    when: Condition = field(default_factory=dict)

    def leaves(self) -> tuple[Leaf, ...]:
        """The one parameter."""
        return (Leaf(self.setting, "int", self.low, self.high, self.log, self.step),)

    def value(self, parameters: Mapping[str, Scalar], config: TrainConfig) -> Setting:
        """The setting that the parameter stands for."""
        return int(parameters[self.setting])

    def parameters(self, value: Setting, config: TrainConfig) -> dict[str, Scalar]:
        """The parameter that stands for a value.

        Raises:
            OutsideError: it is out of bounds or off the steps.
        """
        if not isinstance(value, int) or not self.low <= value <= self.high:
            raise OutsideError(f"{value} is not between {self.low} and {self.high}")
        if (value - self.low) % self.step:
            raise OutsideError(f"{value} is not a multiple of {self.step} above {self.low}")
        return {self.setting: value}


@dataclass(frozen=True)
class FloatRange:
    """A number between two bounds."""

    setting: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: Condition = field(default_factory=dict)

    def leaves(self) -> tuple[Leaf, ...]:
        """The one parameter."""
        return (Leaf(self.setting, "float", self.low, self.high, self.log, self.step),)

    def value(self, parameters: Mapping[str, Scalar], config: TrainConfig) -> Setting:
        """The setting that the parameter stands for."""
        return float(parameters[self.setting])

    def parameters(self, value: Setting, config: TrainConfig) -> dict[str, Scalar]:
        """The parameter that stands for a value.

        Raises:
            OutsideError: it is out of bounds or off the steps.
        """
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise OutsideError(f"{value} is not between {self.low:g} and {self.high:g}")
        if self.step is not None and not on_step(value - self.low, self.step):
            raise OutsideError(f"{value:g} is not a multiple of {self.step:g} above {self.low:g}")
        return {self.setting: float(value)}


@dataclass(frozen=True)
class Breakpoints:
    """A learning rate that changes up to `most` times, ordered by construction.

    Parameters: `breakpoints` (how many), then for each of them `breakpoint_1_after` (epochs at the
    rate before, from `after_low` to `after_high`; None: one less than the run has) and
    `breakpoint_1_factor` (new rate over the rate before). A change that would fall on the last
    epoch's end or later has no effect and is left out, so every ordered list within the run can be
    said, and each list of settings maps to one list of parameters. New rates have twelve
    significant digits: 0.01 times 0.3 is 0.003, to the last bit.
    """

    setting: str
    most: int
    factor_low: float
    factor_high: float
    factor_log: bool = True
    after_low: int = 1
    after_high: int | None = None
    when: Condition = field(default_factory=dict)

    def leaves(self) -> tuple[Leaf, ...]:
        """The count, then a pair for each breakpoint."""
        count = Leaf(self.setting, "int", 0, self.most, step=1)
        return (count, *(leaf for index in range(self.most) for leaf in self._pair(index + 1)))

    def value(self, parameters: Mapping[str, Scalar], config: TrainConfig) -> Setting:
        """The [epoch, lr] pairs, from the starting rate and the number of epochs of `config`."""
        epoch, lr = 0, config.train.lr
        pairs: list[tuple[int, float]] = []
        for index in range(1, int(parameters[self.setting]) + 1):
            epoch += int(parameters[_after(index)])
            lr = next_rate(lr, float(parameters[_factor(index)]))
            if epoch < config.train.epochs:
                pairs.append((epoch, lr))
        return tuple(pairs)

    def parameters(self, value: Setting, config: TrainConfig) -> dict[str, Scalar]:
        """The parameters that stand for [epoch, lr] pairs.

        Raises:
            OutsideError: too many pairs, or one whose epoch or factor is out of bounds.
        """
        assert isinstance(value, tuple)
        if len(value) > self.most:
            raise OutsideError(f"has {len(value)} breakpoints, at most {self.most} are searched")
        parameters: dict[str, Scalar] = {self.setting: len(value)}
        epoch, lr = 0, config.train.lr
        for index, (next_epoch, next_lr) in enumerate(value, start=1):
            parameters[_after(index)] = self._epochs_before(next_epoch - epoch, index)
            parameters[_factor(index)] = self._factor_between(lr, next_lr, index)
            epoch, lr = next_epoch, next_lr
        return parameters

    def _pair(self, index: int) -> tuple[Leaf, Leaf]:
        if self.after_high is None:
            raise ValueError("breakpoints have no number of epochs yet; Space.of sets it")
        low, high, log = self.factor_low, self.factor_high, self.factor_log
        return (
            Leaf(_after(index), "int", self.after_low, self.after_high, step=1, change=index),
            Leaf(_factor(index), "float", low, high, log, change=index),
        )

    def _epochs_before(self, epochs: int, index: int) -> int:
        high = math.inf if self.after_high is None else self.after_high
        if not self.after_low <= epochs <= high:
            raise OutsideError(
                f"breakpoint {index} comes {epochs} epochs after the rate before it began, "
                f"not {self.after_low} to {high}"
            )
        return epochs

    def _factor_between(self, lr: float, next_lr: float, index: int) -> float:
        ratio = next_lr / lr
        if not self.factor_low * (1 - TOLERANCE) <= ratio <= self.factor_high * (1 + TOLERANCE):
            raise OutsideError(
                f"breakpoint {index} changes the rate by a factor of {ratio:.6g}, which is not "
                f"between {self.factor_low:g} and {self.factor_high:g}"
            )
        for candidate in (float(f"{ratio:.12g}"), ratio, float(f"{ratio:.15g}")):
            inside = min(max(candidate, self.factor_low), self.factor_high)
            if next_rate(lr, inside) == next_lr:
                return inside
        raise OutsideError(
            f"breakpoint {index} has rate {next_lr!r}, which no factor reaches exactly; "
            "write rates with at most 12 significant digits"
        )


Dimension: TypeAlias = Choice | IntRange | FloatRange | Breakpoints


def next_rate(lr: float, factor: float) -> float:
    """The learning rate after a breakpoint, to twelve significant digits.

    >>> 0.01 * 0.3, next_rate(0.01, 0.3)
    (0.003, 0.003)
    >>> 0.07 * 0.1, next_rate(0.07, 0.1)
    (0.007000000000000001, 0.007)
    """
    return float(f"{lr * factor:.12g}")


def on_step(distance: float, step: float) -> bool:
    """Whether a distance is a whole number of steps, but for rounding.

    >>> on_step(0.3, 0.1), on_step(0.35, 0.1)
    (True, False)
    """
    steps = distance / step
    return abs(steps - round(steps)) <= TOLERANCE * max(1.0, abs(steps))


def _after(index: int) -> str:
    return f"breakpoint_{index}_after"


def _factor(index: int) -> str:
    return f"breakpoint_{index}_factor"
