"""The second stage of a search: its last trials take the settings of the best ones before them.

What such a trial trains is found in the transaction of the claim that makes it and stored with it,
complete, as an own setting of a baseline is: whoever resumes, repeats or exports it needs no more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from optuna_study.config.settings import get_setting, with_settings
from optuna_study.definition.scale import scale_settings
from optuna_study.definition.serialise import from_json
from optuna_study.seeds import finetune_seed
from optuna_study.space.space import Space, build
from optuna_study.space.spread import lattice, value_at
from optuna_study.store.queue.ownership import lock
from optuna_study.store.records import EndKind, StudyState
from optuna_study.store.rows import external_parameter, strict_json, upsert, write_attributes
from optuna_study.store.schema import (
    ASKED_BUDGET_KEY,
    FINETUNES,
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

    from sqlalchemy import Connection

    from optuna_study.config.settings import Scalar, Setting
    from optuna_study.definition.model import Definition
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def fix_settings(
    connection: Connection,
    study: StudyRecord,
    number: int,
    trial_id: int,
    *,
    left: int,
    now: float,
) -> None:
    """Store a new trial's settings where it is of the second stage, one of the last `left`.

    They are those of one of the best trials of the first stage, which the second goes through by
    turns, or the study's own where none of them has completed.
    """
    wanted = study.definition["search"].get("finetune")
    if wanted is None or left > wanted["trials"]:
        return
    definition = from_json(study.definition)
    of_study = (
        own_trials.c.uuid == study.uuid,
        own_trials.c.baseline.is_(None),
        own_trials.c.confirms.is_(None),
    )
    before = connection.execute(
        select(func.count()).where(*of_study, own_trials.c.fixed.is_not(None))
    ).scalar_one()
    order = VALUE.desc() if study.direction == "maximize" else VALUE.asc()
    best = connection.execute(
        select(own_trials.c.number, own_trials.c.trial_id)
        .join(
            trial_values,
            (trial_values.c.trial_id == own_trials.c.trial_id) & (trial_values.c.objective == 0),
        )
        .where(
            *of_study,
            own_trials.c.fixed.is_(None),
            own_trials.c.end_kind == EndKind.COMPLETED.value,
            ~is_excluded(own_trials.c.trial_id),
            ~REUSED,
        )
        .order_by(order, own_trials.c.number)
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


def begin_second_stage(store: Store, study: StudyRecord) -> bool:
    """Search no more heads: the budget becomes what was begun and the second stage's trials.

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
        stage = study.definition["search"]["finetune"]["trials"]
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
