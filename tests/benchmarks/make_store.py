"""Fill a store with one large study in seconds, for measuring and for tests that need one.

`python tests/benchmarks/make_store.py sqlite:////tmp/large.db --trials 3000 --epochs 20`. Rows are
those that claiming, reporting and ending would have left, written in bulk: one in eight trials
pruned half way, one in sixteen diverged, one in a hundred failed, the others completed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, text

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import to_json
from optuna_study.seeds import trial_seed
from optuna_study.store.engine.open import open_store
from optuna_study.store.importances import Importance
from optuna_study.store.records import EndKind, NewStudy, StoredParameter
from optuna_study.store.rows import utc
from optuna_study.store.schema import (
    CLASS_COUNTS,
    INFEASIBLE_KEY,
    own_epochs,
    own_trials,
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.studies import create_study, save_importances

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Table

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

STUDY_FILE = Path(__file__).parents[2] / "studies/alexnet_pokemon.toml"
START = 1_780_000_000.0
ACTIVATIONS = ["relu", "tanh", "elu", "sigmoid"]


def distribution(name: str, **attributes: Any) -> str:
    return json.dumps({"name": f"{name}Distribution", "attributes": attributes})


PARAMETERS = {
    "lr": distribution("Float", step=None, low=1e-4, high=1.0, log=True),
    "dropout": distribution("Float", step=None, low=0.0, high=0.8, log=False),
    "batch_size": distribution("Int", step=1, low=16, high=256, log=True),
    "activation": distribution("Categorical", choices=ACTIVATIONS),
}


def four_parameters(draw: random.Random) -> list[StoredParameter]:
    """One value for each of PARAMETERS."""
    draws = (10 ** draw.uniform(-4, 0), draw.uniform(0, 0.8), draw.randint(16, 256))
    values = (*draws, draw.randrange(len(ACTIVATIONS)))
    return [
        StoredParameter(name, float(value), stored)
        for (name, stored), value in zip(PARAMETERS.items(), values, strict=True)
    ]


def fill(
    store: Store,
    study: StudyRecord,
    count: int,
    epochs: int,
    first_id: int = 1,
    parameters: Callable[[random.Random], Sequence[StoredParameter]] = four_parameters,
) -> None:
    """Write `count` ended trials of `epochs` epochs into an empty study, in one transaction.

    `first_id` is the first trial id that is free: 1 in a new store.
    """
    draw = random.Random(study.seed)
    rows: dict[Table, list[dict[str, Any]]] = {}

    def add(table: Table, **values: Any) -> None:
        rows.setdefault(table, []).append(values)

    for number in range(count):
        _add_trial(add, study, number, first_id + number, epochs, draw)
        for each in parameters(draw):
            add(
                trial_params,
                trial_id=first_id + number,
                param_name=each.name,
                param_value=each.internal_value,
                distribution_json=each.distribution_json,
            )
    with store.write() as connection:
        for table, values in rows.items():
            connection.execute(insert(table), values)
        if not store.is_sqlite:  # the ids were given: the server's own counter must follow
            counter = "pg_get_serial_sequence('trials', 'trial_id')"
            connection.execute(text(f"SELECT setval({counter}, {first_id + count})"))


def _add_trial(
    add: Any, study: StudyRecord, number: int, trial_id: int, epochs: int, draw: random.Random
) -> None:
    kind = _end(number)
    started = START + 60.0 * number
    ran = epochs // 2 if kind is EndKind.PRUNED else epochs
    target = draw.uniform(0.2, 0.95)
    add(
        trials,
        trial_id=trial_id,
        number=number,
        study_id=study.study_id,
        state=kind.state.value,
        datetime_start=utc(started),
        datetime_complete=utc(started + 2.0 * ran),
    )
    add(
        own_trials,
        uuid=study.uuid,
        number=number,
        trial_id=trial_id,
        baseline=f"baseline-{number}" if number < 10 else None,
        baseline_group="baselines" if number < 10 else None,
        seed=trial_seed(study.seed, number),
        claims=1,
        epochs=ran,
        worked=2.0 * ran,
        started=started,
        completed=started + 2.0 * ran,
        touched=started + 2.0 * ran,
        end_kind=kind.value,
        reason=f"{kind.value} after {ran} epochs",
    )
    for epoch in range(1, ran + 1):
        _add_epoch(add, study, number, trial_id, epoch, target * (1 - 0.9**epoch))
    for key, said in (("end", kind.value), ("reason", f"{kind.value} after {ran} epochs")):
        add(trial_user_attributes, trial_id=trial_id, key=key, value_json=json.dumps(said))
    if kind.infeasible:
        add(trial_system_attributes, trial_id=trial_id, key=INFEASIBLE_KEY, value_json="1.0")
    if kind is not EndKind.FAILED:
        value = target * (1 - 0.9**ran)
        add(trial_values, trial_id=trial_id, objective=0, value=value, value_type="FINITE")


def _add_epoch(
    add: Any, study: StudyRecord, number: int, trial_id: int, epoch: int, value: float
) -> None:
    add(
        own_epochs,
        uuid=study.uuid,
        number=number,
        epoch=epoch,
        value=value,
        train_loss=2.0 - value,
        train_accuracy=value,
        validation_loss=2.1 - value,
        validation_accuracy=value,
        lr=0.01,
        gradient_norm=1.0,
        seconds=2.0,
    )
    add(
        trial_intermediate_values,
        trial_id=trial_id,
        step=epoch,
        intermediate_value=value,
        intermediate_value_type="FINITE",
    )


def _end(number: int) -> EndKind:
    if number % 100 == 99:
        return EndKind.FAILED
    if number % 16 == 15:
        return EndKind.DIVERGED
    return EndKind.PRUNED if number % 8 == 3 else EndKind.COMPLETED


def make(url: str, count: int, epochs: int, name: str = "large") -> None:
    """Make a store with one study of `count` ended trials, importances included."""
    store = open_store(url, create=True)
    new = NewStudy(
        name=name,
        direction="maximize",
        metric="validation_accuracy",
        definition=to_json(resolve(read_study_file(STUDY_FILE), "full", threads=1)),
        definition_hash="large",
        fingerprint="none",
        data_source="none",
        environment={CLASS_COUNTS: [26] * 5},
        seed=1,
        budget=count,
        planned=(),
    )
    study = create_study(store, new)
    fill(store, study, count, epochs)
    set_budget(store, study, count)
    shares = {"lr": 0.7, "activation": 0.2, "dropout": 0.1}
    measured = {name: Importance(count, share, share, share) for name, share in shares.items()}
    save_importances(store, study, measured, count)
    store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--name", default="large")
    arguments = parser.parse_args()
    make(arguments.url, arguments.trials, arguments.epochs, arguments.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
