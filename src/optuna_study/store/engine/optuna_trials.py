"""Optuna's view of a study's trials, read as rows.

What `RDBStorage` reads passes its object mapper, and each distribution its parser twice; the same
rows without either take a third of the time, which every proposal waits for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import bindparam, select

from optuna_study.store.rows import external_value
from optuna_study.store.schema import (
    studies,
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from sqlalchemy import ColumnElement, Connection, Row, Select, Table

MOST_NAMED = 500  # trials that a statement names one by one; databases limit their number

distribution = lru_cache(maxsize=4096)(json_to_distribution)
"""A distribution by its JSON. Trials share it: nobody changes one."""


class RowStorage(RDBStorage):
    """Optuna's storage in a database, but for how it reads many trials."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """What Optuna's cache asks for: the unfinished trials that it knows, and all later ones.

        Raises:
            KeyError: there is no such study.
        """
        after = trial_id_greater_than
        known = [each for each in included_trial_ids if each <= after]
        if len(known) > MOST_NAMED:
            known, after = [], -1
        with self.engine.connect() as connection:
            found = frozen_trials(connection, study_id, after, known)
            if not found and not _exists(connection, study_id):
                raise KeyError(f"no study with the id {study_id}")
        return [each for each in found if states is None or each.state in states]


def frozen_trials(
    connection: Connection, study_id: int, after: int = -1, known: Sequence[int] = ()
) -> list[FrozenTrial]:
    """The trials of a study with ids above `after`, and those `known`, in the order of ids."""
    read = _Parts(connection, study_id, after, known)
    rows = read.trials()
    if not rows:
        return []
    params = read.grouped(trial_params, "param_name", "distribution_json", "param_value")
    values = read.grouped(trial_values, "objective", "value", "value_type")
    reports = read.grouped(
        trial_intermediate_values, "step", "intermediate_value", "intermediate_value_type"
    )
    attributes = [
        read.grouped(table, "key", "value_json")
        for table in (trial_user_attributes, trial_system_attributes)
    ]
    return [
        FrozenTrial(
            number=row.number,
            state=TrialState[row.state],
            value=None,
            values=_values(values[row.trial_id]),
            datetime_start=row.datetime_start,
            datetime_complete=row.datetime_complete,
            **_parameters(params[row.trial_id]),
            user_attrs=_attributes(attributes[0][row.trial_id]),
            system_attrs=_attributes(attributes[1][row.trial_id]),
            intermediate_values={
                step: external_value(*stored) for step, *stored in reports[row.trial_id]
            },
            trial_id=row.trial_id,
        )
        for row in rows
    ]


class _Parts:
    """Some trials of a study: their rows, and what they consist of beside these."""

    def __init__(
        self, connection: Connection, study_id: int, after: int, known: Sequence[int]
    ) -> None:
        self._connection = connection
        self._which: dict[str, Any] = {"of_id": study_id}
        if after >= 0:
            self._which["after"] = after
        if after >= 0 and known:
            self._which["known"] = list(known)

    def trials(self) -> Sequence[Row[Any]]:
        """Their rows, in the order of ids."""
        return self._connection.execute(_rows(frozenset(self._which)), self._which).all()

    def grouped(self, table: Table, *names: str) -> Mapping[int, list[Any]]:
        """Columns of a table by the trial's id, in the order in which they were written."""
        found: dict[int, list[Any]] = defaultdict(list)
        for *columns, trial_id in self._connection.execute(
            _part(frozenset(self._which), table, names), self._which
        ):
            found[trial_id].append(columns)
        return found


# Built once: every proposal reads trials, and to build a statement takes longer than to run it.
@lru_cache(maxsize=3)
def _rows(given: frozenset[str]) -> Select[Any]:
    return select(trials).where(_those(given)).order_by(trials.c.trial_id)


@lru_cache(maxsize=32)
def _part(given: frozenset[str], table: Table, names: tuple[str, ...]) -> Select[Any]:
    return (
        select(*(table.c[name] for name in names), table.c.trial_id)
        .join(trials, trials.c.trial_id == table.c.trial_id)
        .where(_those(given))
        .order_by(next(iter(table.primary_key)))
    )


def _those(given: frozenset[str]) -> ColumnElement[bool]:
    """All trials of a study, or those after one, maybe with some that are known.

    Where none is known nothing is said of them: SQLite walks the whole study for an empty list.
    """
    found = trials.c.study_id == bindparam("of_id")
    if "after" not in given:
        return found
    which = trials.c.trial_id > bindparam("after")
    if "known" in given:
        which |= trials.c.trial_id.in_(bindparam("known", expanding=True))
    return found & which


def _parameters(stored: list[Any]) -> dict[str, Any]:
    distributions: dict[str, BaseDistribution] = {}
    params = {}
    for name, text, value in stored:
        kind = distributions[name] = distribution(text)
        params[name] = kind.to_external_repr(value)
    return {"params": params, "distributions": distributions}


def _values(stored: list[Any]) -> list[float] | None:
    by_objective = sorted(stored, key=lambda row: int(row[0]))
    return [external_value(*rest) for _, *rest in by_objective] or None


def _attributes(stored: list[Any]) -> dict[str, Any]:
    return {key: json.loads(text) for key, text in stored}


def _exists(connection: Connection, study_id: int) -> bool:
    query = select(studies.c.study_id).where(studies.c.study_id == study_id)
    return connection.execute(query).first() is not None
