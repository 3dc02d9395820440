"""Trials of two objectives: the figures of both, and the Pareto front.

The second objective's value stands where Optuna keeps it, beside the metric's in its table of
values; of completed trials alone, as Optuna has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, cast, literal_column, null, select

from optuna_study.config.epoch import direction_of
from optuna_study.store.records import EndKind
from optuna_study.store.schema import (
    REUSED,
    VALUE,
    is_excluded,
    own_trials,
    trial_values,
    trials,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, Join

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


@dataclass(frozen=True)
class Weighed:
    """A completed trial by both objectives: `value` is of the study's metric."""

    number: int
    value: float
    second: float
    baseline: str | None = None


def second_metric(study: StudyRecord) -> str | None:
    """What a study's metric is weighed against; None with one objective."""
    found: str | None = study.definition.get("search", {}).get("second_metric")
    return found


def front(weighed: Iterable[Weighed], study: StudyRecord) -> list[Weighed]:
    """The trials than which none is better in one objective and no worse in the other.

    The best by the metric first; of equals in both the earlier one.
    """
    first = -1.0 if study.direction == "maximize" else 1.0
    second = -1.0 if direction_of(second_metric(study) or "") == "maximize" else 1.0
    found: list[Weighed] = []
    for each in sorted(weighed, key=lambda e: (first * e.value, second * e.second, e.number)):
        if not found or second * each.second < second * found[-1].second:
            found.append(each)
    return found


def weighed_trials(store: Store, study: StudyRecord) -> list[Weighed]:
    """The completed trials of a study with two objectives, by number; none with one.

    Confirmation runs, excluded trials and those that repeat another's values are left out.
    """
    if second_metric(study) is None:
        return []
    with store.read() as connection:
        return read_weighed(connection, study)


def read_weighed(connection: Connection, study: StudyRecord) -> list[Weighed]:
    """As `weighed_trials`, of a study that has two objectives."""
    own, other = own_trials.c, trial_values.alias()
    of_value = (trial_values.c.trial_id == own.trial_id) & (trial_values.c.objective == 0)
    of_second = (other.c.trial_id == own.trial_id) & (other.c.objective == 1)
    query = (
        select(own.number, VALUE, value_of(other), own.baseline)
        .select_from(own_trials.join(trial_values, of_value).join(other, of_second))
        .where(own.uuid == study.uuid, own.end_kind == EndKind.COMPLETED.value)
        .where(own.confirms.is_(None), ~REUSED, ~is_excluded(own.trial_id))
        .order_by(own.number)
    )
    return [Weighed(*row) for row in connection.execute(query)]


def best_first(study: StudyRecord) -> list[ColumnElement[Any]]:
    """The order of a query whose columns are those of `reads`: by value, then by number.

    Of equals with two objectives the better one in the second.
    """
    order: list[ColumnElement[Any]] = [
        VALUE.desc() if study.direction == "maximize" else VALUE.asc()
    ]
    if second := second_metric(study):
        column = literal_column("second_value", Double)
        order.append(column.desc() if direction_of(second) == "maximize" else column.asc())
    return [*order, trials.c.number]


def with_second(study: StudyRecord, tables: Join) -> tuple[Join, ColumnElement[float]]:
    """Tables that hold Optuna's of trials, and in them the second objective's value.

    With one objective the tables are left as they are.
    """
    if second_metric(study) is None:
        return tables, cast(null(), Double)
    other = trial_values.alias()
    of_second = (other.c.trial_id == trials.c.trial_id) & (other.c.objective == 1)
    return tables.outerjoin(other, of_second), value_of(other)
