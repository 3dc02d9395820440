"""From a claim to what is trained: parameters are written by the trial's owner alone."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from optuna_study.config.reasons import AllEpochs, Reused
from optuna_study.config.settings import get_setting
from optuna_study.definition.serialise import from_json
from optuna_study.errors import StaleClaimError
from optuna_study.search import samplers
from optuna_study.search.propose import Proposal, propose
from optuna_study.search.samplers import Spread
from optuna_study.seeds import confirmation_seed
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import (
    Claim,
    Confirmation,
    End,
    EndKind,
    EpochRecord,
    NoTrialReason,
)
from optuna_study.store.schema import REUSES
from optuna_study.store.studies.studies import set_confirmation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.config.reasons import Reason
    from optuna_study.config.settings import TrainConfig
    from optuna_study.store.engine.connection import Store

FREEZES_AT = 2  # the parameter in whose draw the first owner stands still


class Owners:
    """Two owners of one trial; the first freezes as it draws, and is back as the other draws."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        self.url = url
        self.frozen, self.thawed = threading.Event(), threading.Event()
        self.drawing: Future[TrainConfig]
        self._draws = 0
        sample = Spread.sample_independent

        def draw(sampler: Any, study: Any, trial: Any, name: str, kind: Any) -> Any:
            if threading.current_thread().name.startswith("first"):
                self._draws += 1
                if self._draws == FREEZES_AT:
                    self.frozen.set()
                    assert self.thawed.wait(60)
            else:  # with another history it draws other values
                if name != "activation":
                    self.thawed.set()
                    wait([self.drawing])
                sampler = optuna.samplers.RandomSampler(seed=99)
                return sampler.sample_independent(study, trial, name, kind)
            return sample(sampler, study, trial, name, kind)

        monkeypatch.setattr(Spread, "sample_independent", draw)

    def open(self) -> Store:
        return open_store(self.url, clock=lambda: self.now)

    def draw(self, store: Store, name: str, claim: Claim) -> TrainConfig:
        from optuna_study.store.studies.studies import load_study

        study = load_study(store, name)
        definition = from_json(study.definition)
        return propose(store, optuna_storage(store), study, definition, claim).config


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
@pytest.mark.slow
def test_an_owner_that_froze_within_its_draw_changes_nothing(
    kind: str,
    request: pytest.FixtureRequest,
    store_file: Callable[..., Any],
    study_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = None if kind == "sqlite" else request.getfixturevalue("postgres_url")
    made = store_file(study_file.split("[[baselines]]")[0], url=url)
    owners, name = Owners(made.url, monkeypatch), made.study.name
    first, second = owners.open(), owners.open()
    before = queue.claim(first, made.study, "first", lease=60)
    assert isinstance(before, Claim)
    with ThreadPoolExecutor(1, "first") as pool:
        owners.drawing = pool.submit(owners.draw, first, name, before)
        assert owners.frozen.wait(30)
        owners.now += 61
        after = queue.claim(second, made.study, "second", lease=60)
        assert isinstance(after, Claim)
        assert (after.number, after.resumed) == (before.number, True)
        config = owners.draw(second, name, after)
        with pytest.raises(StaleClaimError):
            owners.drawing.result()
    stored = reads.trial(second, made.study, after.number).parameters
    assert len(stored) == 3
    assert stored == {key: get_setting(config, key) for key in stored}
    first.close()
    second.close()


TWO = """
title = "Two configurations"
[data]
name = "digits"
[model]
name = "mlp"
[search]
trials = 6
sampler = "random"
[space]
optimizer = ["sgd", "adam"]
[[baselines]]
name = "slow"
settings = {optimizer = "sgd", lr = 1e-6}
"""


def test_a_configuration_that_ended_is_asked_for_once_more_then_known(
    store_file: Callable[..., Any],
) -> None:
    made = store_file(TWO)
    store, storage, study = made.store, optuna_storage(made.store), made.study
    definition = from_json(study.definition)

    def proposed() -> tuple[Claim, Proposal]:
        claim = queue.claim(store, study, "host-1-001")
        assert isinstance(claim, Claim)
        return claim, propose(store, storage, study, definition, claim)

    made.run([0.3])  # the baseline, whose rate is not searched, is no configuration of the space
    first, one = proposed()
    second, other = proposed()
    assert one.known is other.known is None  # what still runs is not known
    assert {one.config.train.optimizer, other.config.train.optimizer} <= {"sgd", "adam"}
    queue.release(store, second, "stopped")
    queue.end(store, first, End(EndKind.FAILED, "it broke"))
    _, again = proposed()
    assert again == other  # a failure may have been a passing one
    for number in range(3, 6):
        claim, found = proposed()
        ended = {
            trial.parameters["optimizer"]: trial.number
            for trial in reversed(reads.trials(store, study))
            if trial.end is EndKind.COMPLETED and trial.reuses is None and not trial.fixed
        }
        assert claim.number == number
        assert found.known == ended.get(found.config.train.optimizer)
        reason: Reason = AllEpochs(3, "validation_accuracy", 0.5)
        if found.known is not None:
            reason = Reused(found.known, "as before")
        noted = {} if found.known is None else {REUSES: found.known}
        queue.end(store, claim, End(EndKind.COMPLETED, reason, 0.5, attributes=noted))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_second_draw_is_another_one(
    store_study: Callable[..., Any], tmp_path: Path, sampler: str
) -> None:
    """Neither start-up points nor random ones look at history, so the first draw is the same."""
    many = '["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"]'
    text = TWO.split("[[baselines]]")[0].replace('"random"', f'"{sampler}"')
    text = text.replace('["sgd", "adam"]', many)
    drawn: list[Proposal] = []
    for place in ("without", "with"):
        made = store_study(tmp_path / place, text)
        definition = from_json(made.study.definition)
        seen = {"optimizer": drawn[0].config.train.optimizer} if drawn else None
        made.run([0.5], parameters=seen)
        claim = queue.claim(made.store, made.study, "host-1-001")
        assert isinstance(claim, Claim)
        storage = optuna_storage(made.store)
        drawn.append(propose(made.store, storage, made.study, definition, claim))
    first, second = drawn
    assert first.known is second.known is None
    assert first.config.train.optimizer != second.config.train.optimizer


@pytest.mark.parametrize("objectives", [1, 2])
def test_of_a_long_history_tpe_sees_a_part_and_what_is_known_is_still_found(
    store_file: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, objectives: int
) -> None:
    metric = '\nmetric = ["accuracy", "parameters"]' if objectives == 2 else ""
    text = TWO.split("[[baselines]]")[0].replace("trials = 6", "trials = 40\nstartup_trials = 1")
    made = store_file(text.replace('"random"', f'"tpe"{metric}'))
    for number in range(30):
        settings = {"optimizer": "adam" if number else "sgd"}
        second = 900.0 + number if objectives == 2 else None
        made.run([0.5 + number / 100], parameters=settings, second=second)
    seen: list[int] = []
    sample = optuna.samplers.TPESampler.sample_relative

    def look(sampler: Any, study: optuna.Study, *rest: Any) -> Any:
        seen.append(len(study.get_trials(deepcopy=False)))
        return sample(sampler, study, *rest)

    monkeypatch.setattr(optuna.samplers.TPESampler, "sample_relative", look)
    monkeypatch.setattr(samplers, "MOST_TRIALS", 28)
    claim = queue.claim(made.store, made.study, "host-1-001")
    assert isinstance(claim, Claim)
    definition, storage = from_json(made.study.definition), optuna_storage(made.store)
    found = propose(made.store, storage, made.study, definition, claim)
    assert set(seen) == {28 + 1 if objectives == 1 else 30 + 1}  # with the one that runs
    assert found.known == (0 if found.config.train.optimizer == "sgd" else 1)


@pytest.mark.slow
def test_with_more_workers_a_study_begins_and_ends_with_the_same_runs(
    store_study: Callable[..., Any], tmp_path: Path
) -> None:
    """Start-up points and confirmation seeds follow from the study alone."""
    runs: list[list[tuple[Any, ...]]] = []
    for workers in (1, 3):
        made = store_study(tmp_path / str(workers))
        store, study = made.store, made.study
        set_confirmation(store, study, Confirmation(top=2, seeds=2))
        definition, storage = from_json(study.definition), optuna_storage(store)
        held: list[tuple[Claim, float]] = []
        while True:
            claim = queue.claim(store, study, f"host-1-{len(held)}")
            if isinstance(claim, Claim):
                config = propose(store, storage, study, definition, claim).config
                held.append((claim, config.model.dropout - config.train.lr))
            if held and (len(held) == workers or not isinstance(claim, Claim)):
                last, value = held.pop()  # the one begun last ends first
                queue.end(store, last, End(EndKind.COMPLETED, "all 3 epochs", value))
            elif claim is NoTrialReason.BUDGET_MET:
                break
        trials = reads.trials(store, study)
        runs.append([(t.number, t.seed, t.confirms, t.parameters, t.value) for t in trials])
        assert [t.confirms is None for t in trials] == [True] * 6 + [False] * (len(trials) - 6)
    assert {seed for _, seed, of, *_ in runs[0] if of is not None} == {
        confirmation_seed(7, 0),
        confirmation_seed(7, 1),
    }
    assert runs[0] == runs[1]


def test_tpe_learns_from_baselines_and_begins_without_them(
    store_study: Callable[..., Any], study_file: str, tmp_path: Path
) -> None:
    text = study_file.replace("trials = 6", "trials = 6\nstartup_trials = 1")
    baselines: list[dict[str, Any]] = []
    proposed: list[list[dict[str, Any]]] = []
    for values in ((0.9, 0.2), (0.2, 0.9)):
        made = store_study(tmp_path / str(values[0]), text)
        definition, storage = from_json(made.study.definition), optuna_storage(made.store)
        for value in values:
            made.run([value])
        for _ in range(2):
            claim = queue.claim(made.store, made.study, "host-1-001")
            assert isinstance(claim, Claim)
            propose(made.store, storage, made.study, definition, claim)
            queue.end(made.store, claim, End(EndKind.COMPLETED, "all 3 epochs", 0.5))
        drawn = [dict(trial.parameters) for trial in reads.trials(made.store, made.study)]
        baselines += drawn[:2]
        proposed.append(drawn[2:])
    (start, modelled), (same_start, otherwise_modelled) = proposed
    assert start == same_start  # whatever the baselines reached
    assert modelled != otherwise_modelled  # they are a part of the model
    assert not [each for each in (start, modelled, otherwise_modelled) if each in baselines]


@pytest.mark.parametrize(
    "sampler", ["tpe", "random", "qmc", "nsgaii", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_samplers_propose_for_two_objectives_whatever_was_given_up(
    sampler: str, store_file: Callable[..., Any], study_file: str
) -> None:
    both = f'[search]\nmetric = ["accuracy", "parameters"]\nsampler = "{sampler}"'
    made = store_file(study_file.replace("[search]", both).replace("trials = 6", "trials = 16"))
    storage, definition = optuna_storage(made.store), from_json(made.study.definition)
    for number in range(2):
        made.run([number / 20], second=900.0)
    drawn = []
    for number in range(2, 14):
        claim = queue.claim(made.store, made.study, "me")
        assert isinstance(claim, Claim)
        proposal = propose(made.store, storage, made.study, definition, claim)
        drawn.append(proposal.config.train.lr)
        epoch = EpochRecord(1, number / 20, *(0.5,) * 7)
        queue.report(made.store, claim, [epoch])
        end = End(EndKind.COMPLETED, "all", epoch.value, second_value=100.0 * (number % 5))
        if number % 3 == 0:
            end = End(EndKind.PRUNED, "timeout")
        queue.end(made.store, claim, end)
    assert len(set(drawn)) == len(drawn)
