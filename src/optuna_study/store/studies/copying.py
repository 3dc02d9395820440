"""Copy the rows of one study, Optuna's and ours, to another store or under another name.

What is read is one moment of the source, what is written is one transaction. Ids are the target's
own, in the same order; the UUID is new, since files are keyed by it, and so are the ids of
artifacts, so that deleting either study takes nothing from the other. Leases, tokens and Optuna's
heartbeats stay behind: a trial that was running waits in the copy, with all it has.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from optuna_study.definition.names import rename_variant
from optuna_study.definition.serialise import definition_hash
from optuna_study.errors import NotFoundError, StoreError, UsageError
from optuna_study.store.engine.failures import is_clash, translate_failures
from optuna_study.store.records import TrialState
from optuna_study.store.schema import (
    ARTIFACT_KEY,
    ENDED_BY_KEY,
    OF_A_TRIAL,
    TRIAL_TABLES,
    UUID_KEY,
    own_epochs,
    own_studies,
    own_trials,
    studies,
    study_directions,
    study_system_attributes,
    study_user_attributes,
    trial_heartbeats,
    trial_system_attributes,
    trials,
)
from optuna_study.store.studies.deletion import collect_orphans
from optuna_study.store.studies.studies import find_study, is_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Select, Table

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

    Row = dict[str, Any]

_BATCH = 2000  # rows in memory at once


@dataclass(frozen=True)
class Identity:
    """What a copy is called."""

    name: str
    uuid: str
    definition: str  # JSON; the name is part of it
    definition_hash: str

    def artifact(self, theirs: str) -> str:
        """The copy's id for an artifact of the original, the same each time."""
        return str(uuid.uuid5(uuid.UUID(self.uuid), theirs))


@dataclass(frozen=True)
class Copied:
    """What was copied; `waiting` of the trials had been running."""

    trials: int
    waiting: int


def new_identity(study: StudyRecord, name: str | None) -> Identity:
    """The identity of a copy; another name keeps the variant, and `launch --name` finds it.

    Raises:
        UsageError: no study may be called so.
    """
    if name is None:
        definition, known_as = study.definition, study.definition_hash
        return Identity(study.name, str(uuid.uuid4()), json.dumps(definition), known_as)
    called = rename_variant(study.name, name)
    definition = {**study.definition, "name": called}
    text = json.dumps(definition)
    return Identity(called, str(uuid.uuid4()), text, definition_hash(definition))


def require_free(target: Store, study: StudyRecord, new: Identity) -> None:
    """Refuse a name that the target has already.

    Raises:
        UsageError: it has.
    """
    with target.read() as connection:
        taken = connection.execute(select(studies).where(studies.c.study_name == new.name)).first()
    if taken is not None:
        raise _refusal(target, study, new)


def _refusal(target: Store, study: StudyRecord, new: Identity) -> UsageError:
    found = find_study(target, new.name)
    itself = found is not None and found.uuid == study.uuid
    what = "that is the study itself" if itself else "a study of that name is there already"
    return UsageError(
        f"{new.name} in {target.address}: {what}; choose another name for the copy with --name"
    )


def artifact_ids(source: Store, study: StudyRecord) -> list[str]:
    """The ids of all artifacts of a study and its trials, as far as they are there by now."""
    its_trials = select(trials.c.trial_id).where(trials.c.study_id == study.study_id)
    of_trials, of_study = trial_system_attributes.c, study_system_attributes.c
    queries = (
        select(of_trials.key).where(of_trials.trial_id.in_(its_trials)),
        select(of_study.key).where(of_study.study_id == study.study_id),
    )
    with source.read() as connection:
        keys = [key for query in queries for key in connection.execute(query).scalars()]
    return [key.removeprefix(ARTIFACT_KEY) for key in keys if key.startswith(ARTIFACT_KEY)]


def copy_rows(source: Store, study: StudyRecord, target: Store, new: Identity) -> Copied:
    """Copy a study's rows; `target` is another `Store`, of the same URL or not.

    Raises:
        UsageError: the target has the name already.
        NotFoundError: the study was deleted meanwhile.
        DiskFullError: no space left at the target.
        StoreError: either store fails.
    """
    try:
        with source.snapshot() as old, target.write(durable=True) as connection:
            if not is_taken(connection, new.name):
                collect_orphans(connection)
                return Copying(source, old, connection, study, new).run()
    except StoreError as error:
        if not is_clash(error):
            raise  # else plain Optuna took the name between our look and our insert
    raise _refusal(target, study, new)


class Copying:
    """One study on its way from one connection to another."""

    def __init__(
        self,
        source: Store,
        old: Connection,
        new: Connection,
        study: StudyRecord,
        identity: Identity,
    ) -> None:
        self._source = source
        self._old = old
        self._new = new
        self._study = study
        self._identity = identity
        self.study_id = 0
        self.trial_ids: dict[int, int] = {}  # the original's -> the copy's

    def run(self) -> Copied:
        """Copy everything."""
        self._copy_own_study()
        row = insert(studies).values(study_name=self._identity.name)
        self.study_id = self._new.execute(row.returning(studies.c.study_id)).scalar_one()
        waiting = self._copy_trials()
        of_study = {"study_id": self.study_id}
        for table in (study_directions, study_user_attributes):
            self._copy(self._of_study(table), table, lambda row: row | of_study)
        self._copy(
            self._of_study(study_system_attributes),
            study_system_attributes,
            self._study_attribute,
        )
        its_trials = select(trials.c.trial_id).where(trials.c.study_id == self._study.study_id)
        for table in TRIAL_TABLES:
            if table is not trial_heartbeats:
                query = _all_but_id(table).where(table.c.trial_id.in_(its_trials))
                self._copy(query, table, self._of_trial)
        ours = select(own_trials).where(
            own_trials.c.uuid == self._study.uuid, own_trials.c.trial_id.in_(its_trials)
        )
        self._copy(ours.order_by(own_trials.c.number), own_trials, self._own_trial)
        epochs = select(own_epochs).where(own_epochs.c.uuid == self._study.uuid)
        named = {"uuid": self._identity.uuid}
        self._copy(epochs, own_epochs, lambda row: row | named)
        return Copied(len(self.trial_ids), waiting)

    def _copy_own_study(self) -> None:
        query = select(own_studies).where(own_studies.c.uuid == self._study.uuid)
        found = [row for rows in self._batches(query) for row in rows]
        if not found:
            raise NotFoundError(f"study '{self._study.name}' was deleted")
        changed = {
            "uuid": self._identity.uuid,
            "definition": self._identity.definition,
            "definition_hash": self._identity.definition_hash,
            "settled": 0,  # the next claim counts the copy's own ids
            "settled_id": 0,
        }
        self._new.execute(insert(own_studies), [row | changed for row in found])

    def _copy_trials(self) -> int:
        """Copy Optuna's rows of the trials, by number; how many had been running."""
        waiting = 0
        where = trials.c.study_id == self._study.study_id
        query = select(trials).where(where).order_by(trials.c.number, trials.c.trial_id)
        # Sorted: a claim takes it that later trials have greater ids.
        statement = insert(trials).returning(trials.c.trial_id, sort_by_parameter_order=True)
        for rows in self._batches(query):
            old_ids = [row.pop("trial_id") for row in rows]
            for row in rows:
                row["study_id"] = self.study_id
                if row["state"] == TrialState.RUNNING:
                    row["state"] = TrialState.WAITING.value
                    waiting += 1
            new_ids = self._new.execute(statement, rows).scalars()
            self.trial_ids.update(zip(old_ids, new_ids, strict=True))
        return waiting

    def _of_trial(self, row: Row) -> Row | None:
        if row.get("key") == ENDED_BY_KEY:
            return None  # a token of the original's
        row["trial_id"] = self.trial_ids[row["trial_id"]]
        return self._attribute(row) if "key" in row else row

    def _own_trial(self, row: Row) -> Row:
        held = row["token"] is not None
        left = {"token": None, "owner": None, "lease_until": None, "reason": "copied while it ran"}
        row |= {
            "uuid": self._identity.uuid,
            "trial_id": self.trial_ids[row["trial_id"]],
            **(left if held else {}),
        }
        return row

    def _study_attribute(self, row: Row) -> Row | None:
        row["study_id"] = self.study_id
        if row["key"] == UUID_KEY:
            row["value_json"] = json.dumps(self._identity.uuid)
        of_a_trial = OF_A_TRIAL.fullmatch(row["key"])
        if of_a_trial:
            trial_id = self.trial_ids.get(int(of_a_trial[1]))
            if trial_id is None:
                return None  # a note of no trial here: it would become that of a stranger's
            start, end = of_a_trial.span(1)
            row["key"] = f"{row['key'][:start]}{trial_id}{row['key'][end:]}"
        return self._attribute(row)

    def _attribute(self, row: Row) -> Row:
        if row["key"].startswith(ARTIFACT_KEY):
            theirs = row["key"].removeprefix(ARTIFACT_KEY)
            ours = self._identity.artifact(theirs)
            row["key"] = f"{ARTIFACT_KEY}{ours}"
            row["value_json"] = row["value_json"].replace(theirs, ours)
        return row

    def _of_study(self, table: Table) -> Select[Any]:
        return _all_but_id(table).where(table.c.study_id == self._study.study_id)

    def _copy(self, query: Select[Any], table: Table, change: Callable[[Row], Row | None]) -> None:
        """Copy what a query finds, row by row changed, or left out where there is None."""
        for rows in self._batches(query):
            changed = [row for row in map(change, rows) if row is not None]
            if changed:
                self._new.execute(insert(table), changed)

    def _batches(self, query: Select[Any]) -> Iterator[list[Row]]:
        with translate_failures(
            self._source.address
        ):  # else it would pass for a failure of the target
            found = self._old.execute(query, execution_options={"yield_per": _BATCH})
            for rows in found.mappings().partitions():
                yield [dict(row) for row in rows]


def _all_but_id(table: Table) -> Select[Any]:
    """All columns but the row's own id, in the order in which rows were written."""
    own_id = table.primary_key.columns.values()
    columns = [column for column in table.c if column not in set(own_id)]
    return select(*columns).order_by(*own_id)
