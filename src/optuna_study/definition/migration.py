"""What becomes of a study's trials under a changed definition; pure.

A trial is carried over when some parameters of the new space stand for exactly the configuration
that it trained: a choice was added or a range widened, a setting is now fixed at its value or now
searched around it. Any other is kept with its configuration, as one outside the space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna_study.config.settings import SETTINGS, Scalar, Setting, TrainConfig, get_setting
from optuna_study.definition.model import PINNED, Definition
from optuna_study.definition.resolve import baseline_parameters
from optuna_study.errors import OutsideSpaceError
from optuna_study.space.space import build

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Carried:
    """A trial under the new definition; `why` it does not fit, None of one that does.

    Of one that does not fit, `fixed` are all settings that the new base configuration lacks.
    """

    parameters: Mapping[str, Scalar]
    fixed: Mapping[str, Setting]
    why: str | None = None


def incomparable(old: Definition, new: Definition) -> list[str]:
    """What no trial could be carried over: a sentence for each such change."""
    pairs: dict[str, tuple[object, object]] = {
        "search.metric": (old.search.metric, new.search.metric),
        "search.second_metric": (old.search.second_metric, new.search.second_metric),
        "data.name": (old.config.data.name, new.config.data.name),
    }
    for name in sorted(PINNED):
        pairs[name] = (get_setting(old.config, name), get_setting(new.config, name))
    return [f"{name} was {was}, is {now}" for name, (was, now) in pairs.items() if was != now]


def carry(
    old: Definition,
    new: Definition,
    parameters: Mapping[str, Scalar],
    fixed: Mapping[str, Any],
    baseline: str | None = None,
) -> Carried:
    """One trial of the old definition under the new one; both are stored in the store's form."""
    if not parameters and not fixed and baseline is None:
        return Carried({}, {})  # nothing was drawn yet
    try:
        config = build(old.config, old.space, parameters, fixed)
    except OutsideSpaceError:
        return Carried({}, {}, "plain Optuna drew it from another space")
    if baseline is None and not parameters:
        return _second_stage(old, new, config, fixed)
    try:
        if baseline is None:
            found: Carried | None = Carried(new.space.parameters(config), {})
        else:
            found = _as_baseline(new, baseline)
    except OutsideSpaceError as error:
        why = "; ".join(f"{name} {problem}" for name, problem in error.problems.items())
        return _outside(new, config, why)
    if found is None:
        return _outside(new, config, f"there is no baseline '{baseline}' any more")
    made = build(new.config, new.space, found.parameters, found.fixed)
    if made == config:
        return found
    changed = [
        f"{name} was {_shown(get_setting(config, name))}, is {_shown(get_setting(made, name))}"
        for name in SETTINGS
        if get_setting(config, name) != get_setting(made, name)
    ]
    return _outside(new, config, "; ".join(changed))


def _second_stage(
    old: Definition, new: Definition, config: TrainConfig, fixed: Mapping[str, Any]
) -> Carried:
    """A trial without parameters that is no baseline: all it is stands in its fixed settings."""
    whole = _outside(new, config, "the second stage is another").fixed
    its = {name: get_setting(config, name) for name in fixed if name in SETTINGS}
    same = old.search.finetune == new.search.finetune
    return Carried({}, {**its, **whole}, None if same else "the second stage is another")


def _as_baseline(new: Definition, name: str) -> Carried | None:
    known = next((each for each in new.planned if each.name == name), None)
    return None if known is None else Carried(*baseline_parameters(new, known))


def _outside(new: Definition, config: TrainConfig, why: str) -> Carried:
    names = [n for n in SETTINGS if get_setting(config, n) != get_setting(new.config, n)]
    return Carried({}, {name: get_setting(config, name) for name in names}, why)


def _shown(value: Setting) -> str:
    return str(value) if not isinstance(value, tuple) else str([list(pair) for pair in value])
