"""Single rows, spelled as Optuna spells them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, delete, insert, select

from optuna_study.store.records import EndKind, EpochRecord
from optuna_study.store.schema import (
    ARTIFACT_KEY,
    own_epochs,
    trial_intermediate_values,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Insert, RowMapping

    from optuna_study.config.reasons import Reason
    from optuna_study.store.records import Artifact, StoredParameter, TrialState

_UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")

FIGURES = tuple(entry.name for entry in fields(EpochRecord) if entry.name != "epoch")
"""What is recorded of an epoch: our table has a column of each name."""


def utc(seconds: float) -> datetime:
    """UTC seconds as Optuna's naive UTC."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def utc_seconds(moment: datetime | None) -> float | None:
    """Optuna's naive UTC as UTC seconds."""
    return None if moment is None else moment.replace(tzinfo=UTC).timestamp()


def storable(text: str) -> str:
    r"""The text with what no store takes spelled out: zero bytes and halves of characters.

    An exception that names a file whose name is no UTF-8 has such halves.

    >>> storable("caf\udce9\n")
    'caf\\udce9\n'
    """
    return _UNSTORABLE.sub(lambda found: repr(found[0])[1:-1], text)


def strict_json(value: Any) -> str:
    """JSON without NaN and Infinity, which become words: JavaScript reads no others."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def reason_columns(reason: Reason | str) -> dict[str, str | None]:
    """Why a trial ended, as our table holds it: fields as JSON, or a sentence as it is."""
    if isinstance(reason, str):
        return {"reason": storable(reason), "end_details": None}
    from optuna_study.config.reasons import to_plain

    plain = to_plain(reason).items()
    texts = {name: storable(value) for name, value in plain if isinstance(value, str)}
    return {"reason": None, "end_details": strict_json(dict(plain) | texts)}


def stored_reason(row: Mapping[str, Any] | RowMapping) -> Reason | str | None:
    """Why a trial of our table ended, or waits again.

    Versions of our tables before 5 hold sentences: of a divergence with its kind before it, of a
    failure with the epoch behind it, the one after the last that was recorded.
    """
    details, sentence = row["end_details"], row["reason"]
    if details is None and sentence is None:
        return None
    from optuna_study.config import reasons  # 15 ms that a list of studies does not need

    if details is not None:
        return reasons.from_plain(json.loads(details))
    kind, colon, message = sentence.partition(": ")
    if colon and row["end_kind"] == EndKind.DIVERGED and kind in tuple(reasons.DivergenceKind):
        return reasons.EarlierDivergence(reasons.DivergenceKind(kind), message)
    epoch = (row["epochs"] or 0) + 1
    error = sentence.removesuffix(f" (in epoch {epoch})")
    failed = row["end_kind"] == EndKind.FAILED and error != sentence
    return reasons.Failed(error, epoch) if failed else sentence


def stored_value(value: float) -> tuple[float | None, str]:
    """A value and its type as Optuna stores them: what is not finite is in the type alone."""
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return value, "FINITE"


def external_value(value: float | None, kind: str) -> float:
    """The inverse of `stored_value`."""
    if kind == "FINITE":
        return math.nan if value is None else value
    return {"INF_POS": math.inf, "INF_NEG": -math.inf}.get(kind, math.nan)


def upsert(
    connection: Connection, table: Table, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows, or overwrite those with the same `keys`; one statement for all of them."""
    if not rows:
        return
    statement = _upserting(connection.dialect.name, table, tuple(keys), tuple(rows[0]))
    connection.execute(statement, [dict(row) for row in rows])


@lru_cache(maxsize=64)
def _upserting(
    dialect_name: str, table: Table, keys: tuple[str, ...], names: tuple[str, ...]
) -> Insert:
    """The statement of `upsert`; to build one takes twenty times as long as SQLite to run it."""
    # Imported here: PostgreSQL's dialect costs readers a tenth of their time.
    dialect = import_module(f"sqlalchemy.dialects.{dialect_name}")
    statement = dialect.insert(table)
    changed = {name: statement.excluded[name] for name in names if name not in keys}
    found: Insert = statement.on_conflict_do_update(index_elements=list(keys), set_=changed)
    return found


def insert_trial(
    connection: Connection, study_id: int, number: int, state: TrialState, started: float | None
) -> int:
    """Insert a trial of Optuna's and return its id; the caller has locked and counted."""
    row = {
        "study_id": study_id,
        "number": number,
        "state": state.value,
        "datetime_start": None if started is None else utc(started),
    }
    return int(connection.execute(_INSERT_TRIAL, row).scalar_one())


_INSERT_TRIAL = insert(trials).returning(trials.c.trial_id)


def parameter_rows(
    trial_id: int, parameters: Sequence[StoredParameter]
) -> list[dict[str, object]]:
    """Parameters as rows of Optuna's table."""
    return [
        {
            "trial_id": trial_id,
            "param_name": parameter.name,
            "param_value": parameter.internal_value,
            "distribution_json": parameter.distribution_json,
        }
        for parameter in parameters
    ]


def write_epochs(
    connection: Connection, uuid: str, number: int, trial_id: int, epochs: Sequence[EpochRecord]
) -> None:
    """Write epochs to our table and to Optuna's; an epoch written before is overwritten."""
    own = [
        {"uuid": uuid, "number": number, "epoch": epoch.epoch}
        | {name: _none_if_nan(getattr(epoch, name)) for name in FIGURES}
        for epoch in epochs
    ]
    upsert(connection, own_epochs, ("uuid", "number", "epoch"), own)
    reports = []
    for epoch in epochs:
        value, kind = stored_value(epoch.value)
        reports.append(
            {
                "trial_id": trial_id,
                "step": epoch.epoch,
                "intermediate_value": value,
                "intermediate_value_type": kind,
            }
        )
    upsert(connection, trial_intermediate_values, ("trial_id", "step"), reports)


def drop_epochs(connection: Connection, uuid: str, number: int, trial_id: int, after: int) -> None:
    """Remove a trial's epochs after one from our table and from Optuna's."""
    own, reports = own_epochs.c, trial_intermediate_values.c
    is_its = (own.uuid == uuid) & (own.number == number)
    connection.execute(delete(own_epochs).where(is_its, own.epoch > after))
    connection.execute(
        delete(trial_intermediate_values).where(reports.trial_id == trial_id, reports.step > after)
    )


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def last_report(connection: Connection, trial_id: int) -> float | None:
    """The value of the last epoch reported, None without one."""
    row = connection.execute(_LAST_REPORT, {"of_trial": trial_id}).first()
    return None if row is None else external_value(row[0], row[1])


_REPORTS = trial_intermediate_values.c
_LAST_REPORT = (
    select(_REPORTS.intermediate_value, _REPORTS.intermediate_value_type)
    .where(_REPORTS.trial_id == bindparam("of_trial"))
    .order_by(_REPORTS.step.desc())
    .limit(1)
)


def write_value(connection: Connection, trial_id: int, value: float, objective: int = 0) -> None:
    """Write a trial's value; the caller has refused NaN, which Optuna does not store."""
    number, kind = stored_value(value)
    row = {"trial_id": trial_id, "objective": objective, "value": number, "value_type": kind}
    upsert(connection, trial_values, ("trial_id", "objective"), [row])


def artifact_attributes(artifacts: Sequence[Artifact]) -> dict[str, str]:
    """A trial's system attributes that name files in Optuna's artifact store, as it does."""
    return {
        f"{ARTIFACT_KEY}{artifact.artifact_id}": json.dumps(asdict(artifact))
        for artifact in artifacts
    }


def write_attributes(
    connection: Connection, trial_id: int, attributes: Mapping[str, Any], *, system: bool = False
) -> None:
    """Set attributes of a trial, as Optuna's `set_user_attr` or `set_system_attr` does."""
    upsert(
        connection,
        trial_system_attributes if system else trial_user_attributes,
        ("trial_id", "key"),
        [
            {"trial_id": trial_id, "key": key, "value_json": strict_json(value)}
            for key, value in attributes.items()
        ],
    )


_WHOLE = frozenset(("IntDistribution", "IntUniformDistribution", "IntLogUniformDistribution"))


@lru_cache(maxsize=1024)
def _choices(distribution_json: str) -> tuple[str, tuple[Any, ...]]:
    stored = json.loads(distribution_json)
    kind = stored.get("name") or stored["type"]  # Optuna also reads a short form, with `type`
    attributes = stored.get("attributes", stored)
    return kind, tuple(attributes.get("choices", ()))


def external_parameter(internal_value: float, distribution_json: str) -> Any:
    """The value that was suggested, of which the store keeps a float.

    >>> external_parameter(
    ...     1.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "elu"]}}'
    ... )
    'elu'
    >>> external_parameter(
    ...     64.0, '{"name": "IntDistribution", "attributes": {"low": 1, "high": 99}}'
    ... )
    64
    """
    kind, choices = _choices(distribution_json)
    if choices:
        return choices[int(internal_value)]
    return int(internal_value) if kind in _WHOLE or kind == "int" else internal_value
