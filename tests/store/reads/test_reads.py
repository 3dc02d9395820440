"""What reports read, and what reading never does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.errors import NotFoundError
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.reads.aggregates import newest_curves, plain_running
from optuna_study.store.records import Claim, End, EndKind, EpochRecord, TrialState
from optuna_study.store.rows import external_parameter
from optuna_study.store.schema import own_epochs

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

Epoch = "Callable[..., EpochRecord]"


def take(store: Store, study: StudyRecord, owner: str = "w1") -> Claim:
    claim = queue.claim(store, study, owner)
    assert isinstance(claim, Claim), claim
    return claim


def complete(store: Store, study: StudyRecord, value: float) -> None:
    queue.end(store, take(store, study), End(EndKind.COMPLETED, "done", value))


READING = """
import os, sys
from optuna_study.store.reads import reads
from optuna_study.store.studies import studies
from optuna_study.store.engine.open import open_store
store = open_store(os.environ["STORE"])
study = studies.load_study(store, "cats")
reads.list_studies(store), reads.counts(store, study), reads.best(store, study)
reads.trials(store, study), reads.progress(store, study), reads.epochs(store, study, 0)
heavy = {"optuna", "torch", "sqlalchemy.orm", "alembic", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.slow
def test_reading_imports_nothing_heavy(store: Store, make_study: Any, planned: Any) -> None:
    make_study(store, planned=(planned(),))
    environment = os.environ | {"STORE": store.address.url}
    done = subprocess.run(
        [sys.executable, "-c", READING],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("direction", "best"), [("maximize", 3), ("minimize", 1)])
def test_the_best_is_the_first_of_the_best(
    store: Store,
    make_study: Any,
    planned: Any,
    direction: str,
    best: int,
) -> None:
    study = make_study(store, direction=direction, planned=(planned("a"),))
    for value in (0.5, 0.25, 0.3, 0.75, 0.75, 0.25):
        complete(store, study, value)
    queue.end(store, take(store, study), End(EndKind.DIVERGED, "dead", 9.0))
    found = reads.best(store, study)
    assert found is not None
    assert found.number == best


def test_infinite_values_are_compared_as_numbers(store: Store, make_study: Any) -> None:
    study = make_study(store, direction="minimize")
    for value in (float("inf"), 0.5, float("-inf"), 0.25):
        complete(store, study, value)
    assert [*reads.best_few(store, study, 3)] == [2, 3, 1]
    assert reads.list_studies(store)[0].best == float("-inf")


def test_without_a_completed_trial_there_is_no_best(store: Store, make_study: Any) -> None:
    study = make_study(store)
    queue.end(store, take(store, study), End(EndKind.FAILED, "ValueError: no"))
    assert reads.best(store, study) is None
    assert reads.best_few(store, study, 3) == {}


def test_an_infeasible_trial_of_plain_optuna_is_not_the_best(
    store: Store, make_study: Any, plain: Any
) -> None:
    study = make_study(store)
    complete(store, study, 0.5)
    theirs = plain(study.name)
    for value, constraint in ((0.9, 1.0), (0.8, -1.0)):
        trial = theirs.ask()
        trial.set_constraint("memory", constraint)
        theirs.tell(trial, value)
    found = reads.best(store, study)
    assert found is not None
    assert found.value == theirs.best_value == 0.8


def test_counts_tell_ours_from_plain_optuna_s(
    store: Store, make_study: Any, planned: Any, plain: Any
) -> None:
    study = make_study(store, planned=(planned("a"), planned("b"), planned("c")))
    complete(store, study, 0.5)
    take(store, study)
    theirs = plain(study.name)
    theirs.tell(theirs.ask(), 0.5)  # it takes the third baseline
    theirs.tell(theirs.ask(), state=optuna_state("FAIL"))
    theirs.ask()
    counts = reads.counts(store, study)
    assert counts.waiting == 0
    assert (counts.running, counts.plain_running) == (2, 1)
    [(number, started)] = plain_running(store, study)
    assert number == 4
    assert started is not None
    assert started == pytest.approx(time.time(), abs=3600)
    assert counts.ends == {EndKind.COMPLETED: 1}
    assert counts.plain == {TrialState.COMPLETE: 1, TrialState.FAIL: 1}
    assert counts.ended == 3
    row = reads.list_studies(store)[0]
    assert (row.waiting, row.running, row.ended, row.best) == (0, 2, 3, 0.5)


def optuna_state(name: str) -> Any:
    import optuna

    return optuna.trial.TrialState[name]


def test_progress_shows_who_runs_what(
    store: Store, make_study: Any, planned: Any, clock: Any, epoch: Callable[..., EpochRecord]
) -> None:
    study = make_study(store, planned=(planned("a", epochs=40),), budget=4)
    assert reads.progress(store, study) == []
    first, second, third = (take(store, study, f"w{number}") for number in range(3))
    queue.report(store, first, [epoch(number, number / 100) for number in range(1, 31)])
    queue.report(store, second, [epoch(1, 0.5)])
    queue.release(store, third, "SIGTERM")
    rows = reads.progress(store, study)
    assert [(row.number, row.owner, row.epochs) for row in rows] == [
        (0, "w0", 40),
        (1, "w1", 30),
    ]
    assert rows[0].last is not None
    assert rows[0].last.epoch == 30
    assert rows[0].values == tuple(number / 100 for number in range(7, 31))
    assert rows[1].values == (0.5,)
    assert rows[1].lease_until == clock.now + 60


def test_values_at_an_epoch_are_those_of_the_others(
    store: Store, make_study: Any, epoch: Callable[..., EpochRecord]
) -> None:
    study, other = make_study(store), make_study(store, name="other")
    claims = [take(store, study) for _ in range(4)]
    for claim, value in zip(claims, (0.1, 0.2, float("nan"), 0.4), strict=True):
        queue.report(store, claim, [epoch(1, 0.9), epoch(2, value)])
    queue.report(store, take(store, other), [epoch(2, 0.7)])
    queue.end(store, claims[0], End(EndKind.PRUNED, "rung 2"))
    assert sorted(aggregates.values_at(store, study, 2)) == [0.1, 0.2, 0.4]
    assert sorted(aggregates.values_at(store, study, 2, but=3)) == [0.1, 0.2]
    assert aggregates.values_at(store, study, 3) == []


def test_of_many_values_at_an_epoch_the_newest_are_read(store: Store, make_study: Any) -> None:
    study = make_study(store)
    count = aggregates.MOST_VALUES + 3
    rows = [
        {"uuid": study.uuid, "number": number, "epoch": 2, "value": float(number)}
        for number in range(count)
    ]
    with store.write() as connection:
        connection.execute(own_epochs.insert(), rows)
    read = aggregates.values_at(store, study, 2, but=count - 1)
    assert read == [float(number) for number in range(count - 2, 1, -1)]


def test_a_list_of_studies_has_what_people_ask_first(
    store: Store, make_study: Any, clock: Any, planned: Any
) -> None:
    old = make_study(store, name="old", planned=(planned(),), budget=3)
    clock.now += 10
    make_study(store, name="new", direction="minimize")
    clock.now += 10
    complete(store, old, 0.5)
    first, second = reads.list_studies(store)
    assert (first.name, first.ended, first.running, first.waiting) == ("old", 1, 0, 0)
    assert (first.best, first.budget, first.last_activity) == (0.5, 3, clock.now)
    assert (second.name, second.best, second.ended) == ("new", None, 0)
    assert second.last_activity == second.created == clock.now - 10


def test_a_trial_that_is_not_there(store: Store, make_study: Any) -> None:
    study = make_study(store)
    with pytest.raises(NotFoundError, match="has no trial 0; it has none yet"):
        reads.trial(store, study, 0)
    take(store, study)
    with pytest.raises(NotFoundError, match="has no trial 7; it has the numbers 0 to 0"):
        reads.trial(store, study, 7)


def test_parameters_may_be_left_out(store: Store, make_study: Any, planned: Any) -> None:
    study = make_study(store, planned=(planned(),))
    assert [trial.parameters for trial in reads.trials(store, study)] == [{"lr": 0.01}]
    without = reads.trials(store, study, with_parameters=False)
    assert [trial.parameters for trial in without] == [{}]


def test_trials_and_curves_may_be_read_from_a_number_on(store: Store, make_study: Any) -> None:
    study = make_study(store)
    for number in range(3):
        curve = [EpochRecord(e, 0.1, 1.0, 0.2, 1.1, 0.1, 0.01, 3.0, 1.0) for e in (1, 2)]
        claim = take(store, study)
        queue.end(store, claim, End(EndKind.COMPLETED, "done", 0.1), curve[: number + 1])
    assert [trial.number for trial in reads.trials(store, study, first=1)] == [1, 2]
    found = aggregates.curves(store, study, first=1)
    assert {number: len(curve) for number, curve in found.items()} == {1: 2, 2: 2}
    assert found[2] == reads.epochs(store, study, 2)


def test_baselines_are_read_with_their_parameters(
    store: Store, make_study: Any, planned: Any
) -> None:
    study = make_study(store, planned=(planned(), planned()))
    for _ in range(3):
        complete(store, study, 0.5)
    found = reads.baselines(store, study)
    assert found == [reads.trial(store, study, number) for number in (0, 1)]


def test_the_newest_curves_are_those_of_trials_that_have_one(
    store: Store, make_study: Any, planned: Any
) -> None:
    study = make_study(store, planned=(planned(), planned()))
    assert newest_curves(store, study, 2) == ([], 0)
    curve = [EpochRecord(e, 0.1, 1.0, 0.2, 1.1, 0.1, 0.01, 3.0, 1.0) for e in (1, 2)]
    queue.end(store, take(store, study), End(EndKind.COMPLETED, "done", 0.1), curve)
    diverged = End(EndKind.DIVERGED, "non_finite: in its first epoch", None)
    queue.end(store, take(store, study), diverged)
    queue.report(store, take(store, study), curve[:1])
    take(store, study)  # has not reported yet
    assert newest_curves(store, study, 5) == ([(2, 1), (1, 0), (0, 2)], 3)
    assert newest_curves(store, study, 2) == ([(2, 1), (1, 0)], 3)


def test_parameters_are_read_as_optuna_reads_them() -> None:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
        distribution_to_json,
        json_to_distribution,
    )

    cases: list[tuple[Any, Any]] = [
        (FloatDistribution(1e-5, 1.0, log=True), 0.003),
        (FloatDistribution(0.0, 1.0, step=0.25), 0.5),
        (IntDistribution(1, 512, log=True), 64),
        (CategoricalDistribution(["relu", None, 3, True, 0.5]), None),
        (CategoricalDistribution(["relu", None, 3, True, 0.5]), True),
        (CategoricalDistribution([False, True]), False),
    ]
    for distribution, value in cases:
        stored = distribution_to_json(distribution)
        internal = distribution.to_internal_repr(value)
        found = external_parameter(internal, stored)
        assert found == json_to_distribution(stored).to_external_repr(internal)
        assert (found, type(found)) == (value, type(value))
    short = '{"type": "int", "low": 1, "high": 9}'
    assert external_parameter(3.0, short) == json_to_distribution(short).to_external_repr(3.0)
