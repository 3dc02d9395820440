"""A study as pandas tables with typed columns."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from optuna_study.store.reads import reads
from optuna_study.store.records import EpochRecord, StudyRecord
from optuna_study.store.schema import own_epochs, own_trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from optuna_study.store.engine.connection import Store

PARAMETER = "params_"  # before a parameter's name, as Optuna's own table has it
SHOWN = {  # of a trial's last epoch, by the column that it stands in
    "accuracy": "validation_accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "macro_f1",
    "loss": "validation_loss",
    "log_loss": "log_loss",
    "train_accuracy": "train_accuracy",
    "train_loss": "train_loss",
}


def trials_frame(store: Store, study: StudyRecord) -> pd.DataFrame:
    """One row a trial, by number; a parameter that a trial does not have is missing.

    Raises:
        StoreError: the store fails.
    """
    import pandas as pd

    trials = reads.trials(store, study)
    last = _last_epochs(store, study)
    columns: dict[str, Any] = {
        "number": _integers([trial.number for trial in trials]),
        "state": _names([trial.state.value for trial in trials]),
        "value": pd.array([trial.value for trial in trials], dtype="Float64"),
        "second_value": pd.array([trial.second_value for trial in trials], dtype="Float64"),
    }
    for index, name in enumerate(SHOWN):
        values = [last[trial.number][index] if trial.number in last else None for trial in trials]
        columns[name] = pd.array(values, dtype="Float64")
    columns |= {
        "end": _names([trial.end.value if trial.end else None for trial in trials]),
        "reason": pd.array(
            [None if t.reason is None else str(t.reason) for t in trials], dtype="string"
        ),
        "baseline": pd.array([trial.baseline for trial in trials], dtype="string"),
        "group": pd.array([trial.group for trial in trials], dtype="string"),
        "confirms": _integers([trial.confirms for trial in trials]),
        "excluded": pd.array([trial.excluded for trial in trials], dtype="string"),
        "reuses": _integers([trial.reuses for trial in trials]),
        "seed": _integers([trial.seed for trial in trials]),
        "epochs": _integers([trial.epochs for trial in trials]),
        "seconds": pd.array([trial.worked for trial in trials], dtype="Float64"),
        "started": _moments([trial.started for trial in trials]),
        "completed": _moments([trial.completed for trial in trials]),
    }
    names = dict.fromkeys(name for trial in trials for name in trial.parameters)
    for name in names:
        columns[PARAMETER + name] = _typed([trial.parameters.get(name) for trial in trials])
    return pd.DataFrame(columns)


def curves_frame(store: Store, study: StudyRecord) -> pd.DataFrame:
    """One row an epoch of a trial, by number and epoch.

    Raises:
        StoreError: the store fails.
    """
    import pandas as pd

    names = ("number", *(entry.name for entry in fields(EpochRecord)))
    table = own_epochs.c
    query = (
        select(*(table[name] for name in names))
        .where(table.uuid == study.uuid)
        .order_by(table.number, table.epoch)
    )
    with store.read() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    frame = pd.DataFrame.from_records(rows, columns=list(names))
    kinds = {name: "int64" if name in ("number", "epoch") else "float64" for name in names}
    return frame.astype(kinds)


def _last_epochs(store: Store, study: StudyRecord) -> dict[int, Sequence[float | None]]:
    """The figures of each trial's last epoch, in the order of SHOWN."""
    own, epoch = own_trials.c, own_epochs.c
    of_last = and_(epoch.uuid == own.uuid, epoch.number == own.number, epoch.epoch == own.epochs)
    query = (
        select(own.number, *(epoch[name] for name in SHOWN.values()))
        .select_from(own_trials.join(own_epochs, of_last))
        .where(own.uuid == study.uuid)
    )
    with store.read() as connection:
        return {number: figures for number, *figures in connection.execute(query)}


def _typed(values: Sequence[Any]) -> Any:
    """A column of the type that all of its values have: boolean, integer, number or name."""
    import pandas as pd

    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pd.array(values, dtype="boolean")
    if kinds == {int}:
        return _integers(values)
    if kinds and kinds <= {int, float}:
        return pd.array(values, dtype="Float64")
    return _names([None if value is None else str(value) for value in values])


def _integers(values: Sequence[int | None]) -> Any:
    import pandas as pd

    return pd.array(values, dtype="Int64")


def _names(values: Sequence[str | None]) -> Any:
    import pandas as pd

    return pd.Categorical(values)


def _moments(seconds: Sequence[float | None]) -> Any:
    import pandas as pd

    return pd.to_datetime(pd.Series(seconds, dtype="float64"), unit="s", utc=True)
