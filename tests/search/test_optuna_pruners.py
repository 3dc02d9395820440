"""What Optuna's pruners say of a trial of ours is what they say of the same trial of Optuna's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from sqlalchemy import update

from optuna_study.config.catalogue import import_reference
from optuna_study.config.reasons import Reused
from optuna_study.definition.model import OPTUNAS_PRUNERS
from optuna_study.search import pruner as pruner_module
from optuna_study.search.optuna_pruners import OptunasRule
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates
from optuna_study.store.records import Claim, End, EndKind, EpochRecord
from optuna_study.store.schema import own_trials

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.store.engine.connection import Store

EPOCHS = 9
FINAL = (0.6, 0.9, 0.5, 0.8, 0.7, 0.95, 0.3, 0.75, 0.4, 0.99)
CURVES = [[final * epoch / (epoch + 1) for epoch in range(1, EPOCHS + 1)] for final in FINAL]


def optunas(pruner: optuna.pruners.BasePruner, name: str) -> list[int]:
    """After how many epochs each trial ends, in plain Optuna."""
    study = optuna.create_study(study_name=name, direction="maximize", pruner=pruner)
    lengths = []
    for curve in CURVES:
        trial = study.ask()
        for epoch, value in enumerate(curve, 1):
            trial.report(value, epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, curve[-1])
        lengths.append(epoch)
    return lengths


def report_epoch(store: Store, claim: Claim, epoch: int, value: float) -> Sequence[float]:
    """What `run_trial` does before it looks at the others."""
    queue.report(
        store, claim, [EpochRecord(epoch, value, 1.5, value, 1.25, value, 0.01, 2.0, 0.5)]
    )
    return ()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "successive_halving" else pytest.mark.slow)
        for name in OPTUNAS_PRUNERS
    ],
)
def test_trials_end_where_optuna_ends_them(
    store_file: Callable[..., Any], study_file: str, name: str
) -> None:
    text = study_file.split("[[baselines]]")[0].replace("trials = 6", "trials = 10")
    made = store_file(text)
    make = import_reference(OPTUNAS_PRUNERS[name])
    lengths: list[int] = []
    storage = optuna_storage(made.store)
    for curve in CURVES:
        claim = queue.claim(made.store, made.study, "host-1-001")
        assert isinstance(claim, Claim)
        rule = OptunasRule(name, make(EPOCHS), made.store, storage, made.study, claim)
        for epoch, value in enumerate(curve, 1):
            report = partial(report_epoch, made.store, claim, epoch, value)
            cut = rule(epoch, value, report, "maximize", EPOCHS)
            if cut is not None:
                assert cut.rule == f"Optuna's {name} pruner"
                queue.end(made.store, claim, End(EndKind.PRUNED, cut.rule))
                break
        else:
            queue.end(made.store, claim, End(EndKind.COMPLETED, "all 9 epochs", curve[-1]))
        lengths.append(epoch)
    assert lengths == optunas(make(EPOCHS), made.study.name)
    assert min(lengths) < EPOCHS


@pytest.mark.slow
def test_no_trial_is_given_up_against_what_our_rungs_do_not_compare(
    store_file: Callable[..., Any], study_file: str
) -> None:
    made = store_file(study_file.split("[[baselines]]")[0].replace("trials = 6", "trials = 50"))
    store, study = made.store, made.study
    for _ in range(5):
        made.run([0.4] * EPOCHS)
    storage = optuna_storage(store)

    def prunes() -> bool:
        """Whether a trial of 0.5 is given up by Optuna's pruner, and by our rungs."""
        claim = queue.claim(store, study, "host-1-001")
        assert isinstance(claim, Claim)
        report_epoch(store, claim, 3, 0.5)
        pruner = import_reference(OPTUNAS_PRUNERS["median"])(EPOCHS)
        rule = OptunasRule("median", pruner, store, storage, study, claim)
        given_up = rule(3, 0.5, lambda: (), "maximize", EPOCHS)
        others = partial(aggregates.values_at, store, study, 3, but=claim.number)
        rung = pruner_module.decide(3, 0.5, others, "maximize", EPOCHS)
        queue.end(store, claim, End(EndKind.FAILED, "of no interest"))
        assert (given_up is None) == (rung is None)
        return given_up is not None

    assert not prunes()
    for number in range(12):  # ahead by far; known ends, runs that confirm, the second stage
        claim = made.start([0.9] * EPOCHS)
        reason = Reused(0, "all 9 epochs") if number % 3 == 0 else "all 9 epochs"
        of_another = {"fixed": "{}"} if number % 3 == 1 else {"confirms": 0}
        with store.write() as connection:
            if number % 3:
                own = (own_trials.c.uuid == study.uuid) & (own_trials.c.number == claim.number)
                connection.execute(update(own_trials).where(own).values(**of_another))
        queue.end(store, claim, End(EndKind.COMPLETED, reason, 0.9))
    assert not prunes()
    for _ in range(9):
        made.run([0.9] * EPOCHS)
    assert prunes()
