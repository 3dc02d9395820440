"""Stored parameters to a training configuration: the way objective, export and train share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.config.settings import with_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.config.settings import Scalar, Setting, TrainConfig
    from optuna_study.space.space import Space


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
    own = with_settings(base, {name: frozen(value) for name, value in fixed.items()})
    if not parameters:
        return own
    return with_settings(own, space.settings(parameters, own))


def frozen(value: Any) -> Setting:
    """A setting as the configuration holds it, from its JSON form.

    >>> frozen([[18, 0.003]]), frozen("relu")
    (((18, 0.003),), 'relu')
    """
    if isinstance(value, list | tuple):
        return tuple((int(epoch), float(lr)) for epoch, lr in value)
    scalar: Setting = value
    return scalar
