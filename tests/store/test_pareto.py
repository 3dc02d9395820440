"""Trials of two objectives in stores of both kinds, and what plain Optuna makes of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from optuna_study.store import pareto
from optuna_study.store.pareto import Weighed
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, Confirmation, End, EndKind, StoredParameter
from optuna_study.store.studies import exclusion

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

RATE = '{"name": "FloatDistribution", "attributes": {"low": 0.0, "high": 1.0}}'


def weighs(second: str) -> dict[str, Any]:
    return {"search": {"stop_after_failures": 5, "second_metric": second}}


def finish(
    store: Store,
    study: StudyRecord,
    epoch: Callable[..., Any],
    value: float,
    second: float | None,
    kind: EndKind = EndKind.COMPLETED,
) -> Claim:
    claim = queue.claim(store, study, "w1")
    assert isinstance(claim, Claim), claim
    if claim.searched:
        drawn = [StoredParameter("lr", claim.number / 100, RATE)]
        queue.write_parameters(store, claim, drawn, {})
    queue.report(store, claim, [epoch(1, value)])
    ended = value if kind is EndKind.COMPLETED else None
    queue.end(store, claim, End(kind, "because", ended, second_value=second))
    return claim


def test_optuna_knows_both_directions_values_and_the_front(
    store: Store, make_study: Any, plain: Any, epoch: Callable[..., Any]
) -> None:
    study = make_study(store, definition=weighs("parameters"))
    for value, parameters in ((0.9, 500.0), (0.7, 100.0), (0.9, 400.0), (0.6, 300.0)):
        finish(store, study, epoch, value, parameters)
    finish(store, study, epoch, 0.95, None, EndKind.PRUNED)
    finish(store, study, epoch, 0.1, None, EndKind.DIVERGED)
    theirs = plain(study.name)
    assert [each.name for each in theirs.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [each.values for each in theirs.trials] == [
        *([0.9, 500.0], [0.7, 100.0], [0.9, 400.0], [0.6, 300.0]),
        *(None, None),  # as Optuna leaves those that did not complete
    ]
    assert sorted(each.number for each in theirs.best_trials) == [1, 2]
    weighed = pareto.weighed_trials(store, study)
    assert [each.number for each in pareto.front(weighed, study)] == [2, 1]
    found = reads.trials(store, study)
    assert [each.second_value for each in found] == [500.0, 100.0, 400.0, 300.0, None, None]
    best = reads.best(store, study)
    assert best is not None
    assert best.number == 2, "of equals the smaller one"
    assert [*reads.best_few(store, study, 3)] == [2, 0, 1]
    exclusion.exclude(store, study, [2], "wrong pictures")
    weighed = pareto.weighed_trials(store, study)
    assert [each.number for each in pareto.front(weighed, study)] == [0, 1]
    copied = optuna.create_study(directions=theirs.directions)
    copied.add_trials(theirs.trials)  # refuses a trial whose values do not fit the directions


def test_with_one_objective_everything_is_as_it_was(
    store: Store, make_study: Any, plain: Any, epoch: Callable[..., Any]
) -> None:
    study = make_study(store)
    finish(store, study, epoch, 0.5, None)
    finish(store, study, epoch, 0.4, None, EndKind.PRUNED)
    assert [each.values for each in plain(study.name).trials] == [[0.5], [0.4]]
    assert len(plain(study.name).directions) == 1
    assert pareto.weighed_trials(store, study) == []
    assert [each.second_value for each in reads.trials(store, study)] == [None, None]


def test_another_metric_may_be_the_second_and_is_infinite_where_it_was(
    store: Store, make_study: Any, plain: Any, epoch: Callable[..., Any]
) -> None:
    study = make_study(store, definition=weighs("macro_f1"))
    finish(store, study, epoch, 0.5, 0.4)
    finish(store, study, epoch, 0.4, 0.6)
    assert [each.name for each in plain(study.name).directions] == ["MAXIMIZE", "MAXIMIZE"]
    lossy = make_study(store, name="lossy@cpu", definition=weighs("log_loss"))
    finish(store, lossy, epoch, 0.5, math.inf)
    assert pareto.weighed_trials(store, lossy) == [Weighed(0, 0.5, math.inf)]
    assert reads.trial(store, lossy, 0).second_value == math.inf


def test_finalists_are_the_fronts_the_best_by_the_metric_first(
    store: Store, make_study: Any, planned: Any, epoch: Callable[..., Any]
) -> None:
    study = make_study(
        store,
        planned=(planned("a"),),
        definition=weighs("parameters"),
        **{"budget": 4, "beside": 1, "confirm": Confirmation(2, 1)},
    )
    for value, parameters in (
        (0.99, 1.0),  # the baseline, which is no finalist however good
        *((0.9, 500.0), (0.89, 600.0), (0.7, 100.0), (0.6, 50.0)),
    ):
        finish(store, study, epoch, value, parameters)
    confirmed = [queue.claim(store, study, f"w{place}") for place in range(3)]
    assert [each.confirms for each in confirmed if isinstance(each, Claim)] == [1, 3, 0]


@pytest.mark.parametrize(
    ("direction", "second", "expected"),
    [
        ("maximize", "parameters", [3, 1, 0]),
        ("minimize", "parameters", [0]),
        ("maximize", "macro_f1", [3, 4]),
    ],
)
def test_the_front_is_what_nothing_dominates(
    make_study: Any, sqlite_store: Store, direction: str, second: str, expected: list[int]
) -> None:
    study = make_study(sqlite_store, direction=direction, definition=weighs(second))
    points = [(0.1, 1.0), (0.5, 2.0), (0.5, 2.0), (0.9, 5.0), (0.3, 9.0)]
    weighed = [Weighed(number, *point) for number, point in enumerate(points)]
    assert [each.number for each in pareto.front(weighed, study)] == expected
