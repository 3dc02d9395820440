"""Between the space's leaves and Optuna's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from optuna_study.store.records import StoredParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import optuna

    from optuna_study.config.settings import Scalar
    from optuna_study.space.dimensions import Leaf
    from optuna_study.space.space import Space


def distribution(leaf: Leaf) -> BaseDistribution:
    """The Optuna distribution of a leaf."""
    if leaf.kind == "categorical":
        return CategoricalDistribution(leaf.choices)
    if leaf.kind == "int":
        return IntDistribution(
            int(leaf.low), int(leaf.high), log=leaf.log, step=int(leaf.step or 1)
        )
    return FloatDistribution(leaf.low, leaf.high, log=leaf.log, step=leaf.step)


def drawing(trial: optuna.Trial) -> Callable[[Leaf], Scalar]:
    """The draw that asks the trial's sampler; what is stored already stays."""

    def draw(leaf: Leaf) -> Scalar:
        if leaf.kind == "categorical":
            chosen: Scalar | None = trial.suggest_categorical(leaf.name, leaf.choices)
            assert chosen is not None  # None is no choice of ours
            return chosen
        if leaf.kind == "int":
            return trial.suggest_int(
                leaf.name, int(leaf.low), int(leaf.high), log=leaf.log, step=int(leaf.step or 1)
            )
        return trial.suggest_float(leaf.name, leaf.low, leaf.high, log=leaf.log, step=leaf.step)

    return draw


def stored(space: Space, parameters: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
    """A trial's parameters when all that the space asks for are stored, else None."""
    try:
        return space.suggest(lambda leaf: parameters[leaf.name])
    except KeyError:
        return None


def to_store(space: Space, parameters: Mapping[str, Scalar]) -> tuple[StoredParameter, ...]:
    """Parameters as Optuna stores them, for a trial that is planned and not asked for."""
    rows: list[StoredParameter] = []

    def draw(leaf: Leaf) -> Scalar:
        kind = distribution(leaf)
        value = parameters[leaf.name]
        internal = float(kind.to_internal_repr(value))
        rows.append(StoredParameter(leaf.name, internal, distribution_to_json(kind)))
        return value

    space.suggest(draw)
    return tuple(rows)
