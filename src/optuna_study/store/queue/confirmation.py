"""Confirmation runs: the best trials and the best baseline, trained again on fresh seeds.

Planned by whoever finds the budget met, in the transaction of that claim, a round at a time: in
each round every trial that is confirmed gets the next seed. A round is planned when the one before
has ended, so what it holds depends on results alone, not on how many workers there are. The seeds
are the same for all, so that runs are compared in pairs.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from optuna_study.seeds import confirmation_seed
from optuna_study.store.pareto import front, read_weighed, second_metric
from optuna_study.store.records import Confirmation, EndKind, StudyState, TrialState
from optuna_study.store.rows import insert_trial, write_attributes
from optuna_study.store.schema import (
    CONFIRMS,
    REUSED,
    SIDE_COUNTS,
    VALUE,
    is_excluded,
    own_studies,
    own_trials,
    trial_params,
    trial_values,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

    from optuna_study.store.records import StudyRecord

BEHIND = 3.0  # standard errors behind the leader from which on a finalist gets no further seed
SHARES = ("accuracy", "macro_f1")  # ends of the names of metrics that are fractions of pictures
UNCONFIRMED = "none"  # in place of a confirmation: nobody asks for one, unlike NULL also in future


@dataclass(frozen=True)
class _Entrant:
    """A trial that is confirmed."""

    number: int
    trial_id: int
    baseline: str | None
    fixed: str | None
    parameters: tuple[tuple[str, float, str], ...]


def read_confirmation(text: str | None) -> Confirmation | None:
    """The confirmation that a study's column asks for, if any."""
    return None if text in (None, UNCONFIRMED) else Confirmation(**json.loads(text))


def plan_round(
    connection: Connection, study: StudyRecord, settings: Row[Any], next_number: int, now: float
) -> None:
    """Let the next round of a study's confirmation wait, numbered from `next_number` on.

    Nothing is left to be confirmed when each has all of its seeds, or can no longer win. A study
    whose budget is not met then, since its search was ended early, stops.
    """
    wanted = read_confirmation(settings.confirm)
    assert wanted is not None
    entrants = _entrants(connection, study, settings, wanted.top)
    runs = _runs(connection, study)
    open_ones = _still_open(study, settings, entrants, runs)
    chosen = [each for each in open_ones if len(runs[each.number]) < wanted.seeds]
    values: dict[str, Any] = {"beside": settings.beside + len(chosen)}
    if not chosen:
        values["confirm"] = None if wanted.again else UNCONFIRMED
        if next_number < settings.budget + settings.beside:
            values["state"] = StudyState.STOPPING.value
    for offset, entrant in enumerate(chosen):
        seed = confirmation_seed(study.seed, len(runs[entrant.number]))
        _insert_run(connection, study, entrant, next_number + offset, seed, now)
    connection.execute(
        update(own_studies).where(own_studies.c.uuid == study.uuid).values(**values)
    )


def can_win(
    values: Mapping[int, Sequence[float]], direction: str, pictures: int | None
) -> set[int]:
    """Which finalists, by number, the values of their runs so far leave a chance; pure.

    A value that is not finite stands for a run that diverged: such a configuration does not win.
    The others may lie BEHIND standard errors of a difference of two means behind the leader; the
    variance of a run is the finalists' common one, or the binomial one of an accuracy on so many
    `pictures` where that is more.

    >>> sorted(can_win({3: [0.91], 5: [0.90], 8: [0.60]}, "maximize", 200))
    [3, 5]
    """
    sign = 1.0 if direction == "maximize" else -1.0
    sound = {
        number: [sign * value for value in found]
        for number, found in values.items()
        if found and all(map(math.isfinite, found))
    }
    if not sound:
        return set()
    means = {number: statistics.fmean(found) for number, found in sound.items()}
    leader = max(means, key=lambda number: (len(sound[number]), means[number]))
    freedom = sum(len(found) - 1 for found in sound.values())
    squares = sum(
        (value - means[number]) ** 2 for number, found in sound.items() for value in found
    )
    variance = squares / freedom if freedom else 0.0
    if pictures:
        share = (abs(means[leader]) * pictures + 1) / (pictures + 2)
        variance = max(variance, share * (1 - share) / pictures)
    elif not freedom:
        return set(sound)
    return {
        number
        for number, found in sound.items()
        if means[leader] - means[number]
        <= BEHIND * math.sqrt(variance * (1 / len(found) + 1 / len(sound[leader])))
    }


def _entrants(
    connection: Connection, study: StudyRecord, settings: Row[Any], top: int
) -> list[_Entrant]:
    """The best few searched trials, best first, then the best baseline; no configuration twice.

    With two objectives the searched ones are of their Pareto front alone.
    """
    order = VALUE.desc() if settings.direction == "maximize" else VALUE.asc()
    completed = (
        select(own_trials)
        .join(
            trial_values,
            (trial_values.c.trial_id == own_trials.c.trial_id) & (trial_values.c.objective == 0),
        )
        .where(
            own_trials.c.uuid == study.uuid,
            own_trials.c.end_kind == EndKind.COMPLETED.value,
            own_trials.c.confirms.is_(None),
            ~is_excluded(own_trials.c.trial_id),
            ~REUSED,
        )
        .order_by(order, own_trials.c.number)
    )
    beaten = completed.where(own_trials.c.baseline.is_not(None)).limit(1)
    found: list[_Entrant] = []
    alike = set()
    baselines = [_entrant(connection, row) for row in connection.execute(beaten)]
    for baseline in baselines:
        alike.add((baseline.parameters, baseline.fixed))
    searched = completed.where(own_trials.c.baseline.is_(None))
    if second_metric(study) is not None:
        weighed = [each for each in read_weighed(connection, study) if each.baseline is None]
        best = [each.number for each in front(weighed, study)]
        searched = searched.where(own_trials.c.number.in_(best))
    for row in connection.execute(searched):
        if len(found) >= top:
            break
        entrant = _entrant(connection, row)
        if (entrant.parameters, entrant.fixed) not in alike:
            alike.add((entrant.parameters, entrant.fixed))
            found.append(entrant)
    return [*found, *baselines] if found else []


def _entrant(connection: Connection, row: Row[Any]) -> _Entrant:
    table = trial_params.c
    parameters = connection.execute(
        select(table.param_name, table.param_value, table.distribution_json)
        .where(table.trial_id == row.trial_id)
        .order_by(table.param_id)
    )
    found = tuple((name, value, distribution) for name, value, distribution in parameters)
    return _Entrant(row.number, row.trial_id, row.baseline, row.fixed, found)


def _runs(connection: Connection, study: StudyRecord) -> dict[int, list[float | None]]:
    """The runs of each confirmed trial in order: values, inf where one diverged, None unknown.

    Of an excluded run nothing is known, yet its seed is used up.
    """
    value = (trial_values.c.trial_id == own_trials.c.trial_id) & (trial_values.c.objective == 0)
    rows = connection.execute(
        select(
            own_trials.c.confirms,
            own_trials.c.end_kind,
            VALUE,
            is_excluded(own_trials.c.trial_id).label("out"),
        )
        .select_from(own_trials.outerjoin(trial_values, value))
        .where(own_trials.c.uuid == study.uuid, own_trials.c.confirms.is_not(None))
        .order_by(own_trials.c.number)
    )
    found: dict[int, list[float | None]] = defaultdict(list)
    for number, end, reached, out in rows:
        known = reached if end == EndKind.COMPLETED and not out else None
        found[number].append(math.inf if end == EndKind.DIVERGED and not out else known)
    return found


def _still_open(
    study: StudyRecord,
    settings: Row[Any],
    entrants: Sequence[_Entrant],
    runs: Mapping[int, Sequence[float | None]],
) -> list[_Entrant]:
    """The baseline, and the finalists that may yet win.

    With two objectives all that did not diverge: each is the best at its cost, and is to have a
    figure that one can believe.
    """
    pictures = None
    if settings.metric.endswith(SHARES):
        pictures = (study.environment.get(SIDE_COUNTS) or {}).get("validation")
    values = {
        each.number: [value for value in runs[each.number] if value is not None]
        for each in entrants
        if each.baseline is None and each.number in runs
    }
    known = {number: found for number, found in values.items() if found}
    if second_metric(study) is None:
        winning = can_win(known, settings.direction, pictures)
    else:
        winning = {number for number, found in known.items() if all(map(math.isfinite, found))}
    return [each for each in entrants if each.number not in known or each.number in winning]


def _insert_run(
    connection: Connection,
    study: StudyRecord,
    entrant: _Entrant,
    number: int,
    seed: int,
    now: float,
) -> None:
    trial_id = insert_trial(connection, study.study_id, number, TrialState.WAITING, None)
    if entrant.parameters:
        names = ("param_name", "param_value", "distribution_json")
        connection.execute(
            insert(trial_params),
            [
                {"trial_id": trial_id, **dict(zip(names, each, strict=True))}
                for each in entrant.parameters
            ],
        )
    fixed = json.loads(entrant.fixed) if entrant.fixed else {}
    shown = {CONFIRMS: entrant.number, **({"fixed": fixed} if fixed else {})}
    write_attributes(connection, trial_id, shown)
    connection.execute(
        insert(own_trials).values(
            uuid=study.uuid,
            number=number,
            trial_id=trial_id,
            fixed=entrant.fixed,
            seed=seed,
            confirms=entrant.number,
            touched=now,
        )
    )
