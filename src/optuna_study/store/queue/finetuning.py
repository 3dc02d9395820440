"""The second stage of a search: its last trials take the settings of the best ones before them.

What such a trial trains is found in the transaction of the claim that makes it and stored with it,
complete, as an own setting of a baseline is: whoever resumes, repeats or exports it needs no more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from optuna_study.config.settings import get_setting, with_settings
from optuna_study.definition.scale import scale_settings
from optuna_study.definition.serialise import from_json
from optuna_study.seeds import finetune_seed
from optuna_study.space.space import Space, build
from optuna_study.space.spread import lattice, value_at
from optuna_study.store.queue.budget import is_of_second_stage, stage_table
from optuna_study.store.queue.ownership import lock
from optuna_study.store.records import EndKind, StudyState, TrialState
from optuna_study.store.rows import external_parameter, strict_json, upsert, write_attributes
from optuna_study.store.schema import (
    ASKED_BUDGET_KEY,
    FINETUNES,
    IS_FIRST_STAGE,
    REUSED,
    VALUE,
    is_excluded,
    own_studies,
    own_trials,
    study_system_attributes,
    trial_params,
    trial_values,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

    from optuna_study.config.settings import Scalar, Setting
    from optuna_study.definition.model import Definition
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.queue.budget import TrialCount
    from optuna_study.store.records import StudyRecord


def fix_settings(
    connection: Connection, study: StudyRecord, number: int, trial_id: int, now: float
) -> None:
    """Store the settings of a new trial of the second stage.

    They are those of one of the best trials of the first stage, which the second goes through by
    turns, or the study's own where none of them has completed.
    """
    definition = from_json(study.definition)
    own = own_trials.c
    searched = (own.uuid == study.uuid) & own.baseline.is_(None) & own.confirms.is_(None)
    before = connection.execute(
        select(func.count()).where(searched, own.fixed.is_not(None))
    ).scalar_one()
    order = VALUE.desc() if study.direction == "maximize" else VALUE.asc()
    best = connection.execute(
        select(own.number, own.trial_id)
        .join(
            trial_values,
            (trial_values.c.trial_id == own.trial_id) & (trial_values.c.objective == 0),
        )
        .where(
            own.uuid == study.uuid,
            IS_FIRST_STAGE,
            own.end_kind == EndKind.COMPLETED.value,
            ~is_excluded(own.trial_id),
            ~REUSED,
        )
        .order_by(order, own.number)
        .limit(definition.search.finetune.top)
    ).all()
    shown: dict[str, object] = {}
    parameters: dict[str, Scalar] = {}
    if best:
        chosen = best[before % len(best)]
        shown, parameters = {FINETUNES: chosen.number}, _parameters(connection, chosen.trial_id)
    fixed = second_stage(definition, parameters, study.seed, before)
    connection.execute(
        insert(own_trials).values(
            uuid=study.uuid,
            number=number,
            trial_id=trial_id,
            fixed=strict_json(dict(fixed)),
            touched=now,
        )
    )
    write_attributes(connection, trial_id, {**shown, "fixed": dict(fixed)})


def waits_for_others(
    connection: Connection,
    study: StudyRecord,
    settings: Row[Any],
    counted: TrialCount,
    left: int,
    owner: str,
    cores: int | None,
) -> bool:
    """Whether the next trial begins only when some that our workers run have ended.

    One of the second stage, one of the last `left`, begins when none of the first is at work:
    else which of them it knows would depend on the number of workers. One that has `threads` of
    its own begins beside others of its launch only where its `cores` are enough for all, and so
    does each beside such a one; 0 threads are one for each core.
    """
    wanted = stage_table(study.definition)
    if not wanted or not counted.running:
        return False
    own = own_trials.c
    held = connection.execute(
        select(own.fixed, own.owner, IS_FIRST_STAGE.label("first_stage"))
        .join(trials, trials.c.trial_id == own.trial_id)
        .where(
            own.uuid == study.uuid,
            own.trial_id > settings.settled_id,
            own.token.is_not(None),
            trials.c.state == TrialState.RUNNING.value,
        )
    ).all()
    new = counted.lowest_waiting is None
    new = new and is_of_second_stage(study.definition, settings.budget, left)
    if new and any(row.first_stage for row in held):
        return True
    usual = study.definition["config"]["train"]["threads"]
    if cores is None or wanted["settings"].get("threads", usual) == usual:
        return False
    fixed = json.dumps(wanted["settings"]) if new else _fixed(connection, study, counted)
    launch = owner.rpartition("-")[0]
    beside = [row.fixed for row in held if row.owner.rpartition("-")[0] == launch]
    given = (json.loads(each or "{}") for each in (fixed, *beside))
    threads = [each.get("threads", usual) or cores for each in given]
    return bool(beside) and set(threads) != {usual or cores} and sum(threads) > cores


def _fixed(connection: Connection, study: StudyRecord, counted: TrialCount) -> str | None:
    """What the trial that waits first has of its own, as JSON."""
    own = own_trials.c
    which = (own.uuid == study.uuid) & (own.number == counted.lowest_waiting)
    return connection.execute(select(own.fixed).where(which)).scalar()


def begin_second_stage(store: Store, study: StudyRecord) -> bool:
    """End the first stage: the budget becomes what was begun and the second stage's trials.

    What was asked for is kept, for whoever lets the search go on when that has ended.
    Whether that was news: not of a study whose second stage has begun, or that is not active.
    """
    own = own_studies.c
    active = (own.uuid == study.uuid) & (own.state == StudyState.ACTIVE.value)
    with store.write(durable=True) as connection:
        lock(connection, study.study_id)  # a claim that is under way counts as begun
        row = connection.execute(select(own.budget, own.beside).where(active)).first()
        if row is None:
            return False
        begun = connection.execute(
            select(func.count()).select_from(trials).where(trials.c.study_id == study.study_id)
        ).scalar_one()
        stage = stage_table(study.definition)["trials"]
        budget = max(begun - row.beside + stage, 2 * stage)  # it is half of all at most
        if budget >= row.budget:
            return False
        connection.execute(update(own_studies).where(active).values(budget=budget))
        asked = {"key": ASKED_BUDGET_KEY, "value_json": json.dumps(row.budget)}
        rows = [{"study_id": study.study_id, **asked}]
        upsert(connection, study_system_attributes, ("study_id", "key"), rows)
        return True


def second_stage(
    definition: Definition, parameters: Mapping[str, Scalar], seed: int, index: int
) -> dict[str, Setting]:
    """All that trial `index` of the second stage has of its own, by setting; pure.

    `parameters` are those of the trial whose settings it takes, none for the study's own.
    """
    stage, space = definition.search.finetune, definition.space
    first = build(definition.config, space, parameters, {})
    taken = {name: get_setting(first, name) for name in space.defaults}
    epochs = stage.settings.get("epochs", first.train.epochs)
    assert isinstance(epochs, int)
    taken = {**scale_settings(taken, first.train.epochs, epochs), **stage.settings}
    base = with_settings(definition.config, taken)
    own = Space.of(stage.space, base)
    leaves = own.leaves()
    point = lattice(finetune_seed(seed), index, len(leaves))
    at = {leaf.name: value_at(leaf, where) for leaf, where in zip(leaves, point, strict=True)}
    drawn = own.suggest(lambda leaf: at[leaf.name])
    return {**taken, **own.settings(drawn, base)}


def _parameters(connection: Connection, trial_id: int) -> dict[str, Scalar]:
    """A trial's parameters by name, as the space has them."""
    table = trial_params.c
    rows = connection.execute(
        select(table.param_name, table.param_value, table.distribution_json)
        .where(table.trial_id == trial_id)
        .order_by(table.param_id)
    )
    return {name: external_parameter(value, kind) for name, value, kind in rows}
