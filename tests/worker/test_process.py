from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import optuna
import pytest
from called_graphs import CalledGraphs
from launching import with_baselines_counted, work_here

from optuna_study.artifacts import retention
from optuna_study.config.reasons import OutOfMemory
from optuna_study.definition.serialise import from_json
from optuna_study.errors import DataError, NotFoundError
from optuna_study.launch.change_state import change_state
from optuna_study.launch.confirm import prepare_confirmation
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.report.export import preferred
from optuna_study.report.load import trial_log
from optuna_study.search.objective import run_trial
from optuna_study.search.propose import propose
from optuna_study.search.stop_signal import StopReason, StopSignal
from optuna_study.store import pareto
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import (
    Claim,
    Confirmation,
    EndKind,
    NoTrialReason,
    StudyState,
    TrialState,
)
from optuna_study.store.studies import exclusion
from optuna_study.store.studies.dashboard_notes import read_trial_notes, without_note
from optuna_study.store.studies.studies import find_study, load_study
from optuna_study.training import device as devices
from optuna_study.training.device import pick_device
from optuna_study.training.steps import kept, stepper
from optuna_study.worker.open_study import open_study
from optuna_study.worker.trial import TrialJob
from optuna_study.worker.upkeep import enough_without_improvement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna_study.launch.task import StudyTask
    from optuna_study.paths import Workspace
    from optuna_study.worker.open_study import OpenStudy


@pytest.fixture(autouse=True)
def _own_warnings() -> Iterator[None]:
    yield
    logging.captureWarnings(False)


@pytest.fixture
def ready_study(
    tmp_path: Path, study_text: str, warm_workspace: Workspace
) -> Callable[..., StudyTask]:
    def make(n_trials: int = 5, *changes: tuple[str, str]) -> StudyTask:
        text = study_text.replace("epochs = 10", "epochs = 2")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "tiny.toml").write_text(text)
        request = LaunchRequest(str(tmp_path / "tiny.toml"), n_trials=n_trials, profile="cpu")
        return with_baselines_counted(prepare(replace(request, workspace=warm_workspace)))

    return make


def opened(prepared: StudyTask) -> OpenStudy:
    """The study as its first worker would open it."""
    storage = optuna_storage(prepared.store)
    task, cpu = prepared.workers[0], pick_device("cpu")
    return open_study(prepared.store, storage, prepared.study, cpu, task)


@pytest.mark.slow
def test_a_worker_works_through_a_study(ready_study: Callable[..., StudyTask]) -> None:
    prepared = ready_study(7)
    assert work_here(prepared.workers[0]) == NoTrialReason.BUDGET_MET
    trials = reads.trials(prepared.store, prepared.study)
    assert [trial.number for trial in trials] == list(range(7))
    assert all(trial.end is not None and trial.reason for trial in trials)
    assert trials[1].end is EndKind.DIVERGED
    assert len({str(trial.parameters) for trial in trials[2:]}) == 5
    study = find_study(prepared.store, prepared.study.name)
    assert study is not None
    assert study.importances is None  # six completed trials tell nothing
    log = prepared.log(prepared.workers[0]).read_text()
    assert "trial 0 (plain) claimed" in log
    assert "ERROR" not in log
    second = trial_log(prepared.workspace, prepared.study, trials[1])
    assert [line[24:] for line in (second[0], second[-1])] == [
        "INFO trial 1 (wild) claimed",
        f"INFO diverged: {trials[1].reason}",
    ]


@pytest.mark.slow
def test_trials_of_one_shape_replay_one_graph(
    ready_study: Callable[..., StudyTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = CalledGraphs()
    monkeypatch.setattr(devices, "cuda_graphs", lambda _device: graphs)
    monkeypatch.setattr(stepper, "LEAST_STEPS", 5)
    prepared = ready_study(
        4,
        ('activation = ["relu", "tanh"]\n', ""),
        ("dropout = {low = 0.0, high = 0.5, step = 0.1}\n", ""),
    )
    assert work_here(prepared.workers[0]) == NoTrialReason.BUDGET_MET
    assert graphs.captured == 1  # learning rates and seeds are no part of the shape
    kept.close()
    log = prepared.log(prepared.workers[0]).read_text()
    assert log.count("steps are replayed as a CUDA graph") == 4
    artifacts = [path.read_bytes() for path in prepared.workspace.artifacts.iterdir()]
    assert sum(b'steps = "CUDA graph"' in content for content in artifacts) == 4


@pytest.mark.slow
def test_what_people_note_in_the_dashboard_stays(ready_study: Callable[..., StudyTask]) -> None:
    from optuna import Trial, load_study
    from optuna_dashboard import get_note, save_note

    prepared = ready_study(2)
    storage = optuna_storage(prepared.store)
    study = load_study(study_name=prepared.study.name, storage=storage)
    first, second = (Trial(study, each._trial_id) for each in study.trials)
    save_note(study, "do not use before Monday")
    save_note(first, "is this one too fast?")
    assert work_here(prepared.workers[0]) == NoTrialReason.BUDGET_MET
    assert get_note(study) == "do not use before Monday"
    assert get_note(first) == "is this one too fast?"
    assert get_note(second).startswith("## Trial 1")
    save_note(study, "")
    work_here(prepared.workers[0])
    assert "**2 of 2** trials have ended" in get_note(study)


@pytest.mark.slow
def test_a_study_that_is_done_gives_nothing_more_to_do(
    ready_study: Callable[..., StudyTask],
) -> None:
    prepared = ready_study(1)
    first = work_here(prepared.workers[0])
    assert first == work_here(prepared.workers[0]) == NoTrialReason.BUDGET_MET
    assert reads.counts(prepared.store, prepared.study).ended == 1


@pytest.mark.slow
def test_a_worker_told_to_leave_before_it_begins_takes_nothing(
    ready_study: Callable[..., StudyTask],
) -> None:
    prepared = ready_study()
    stop = StopSignal()
    stop.set(StopReason.LEAVING, "stopped by SIGTERM")
    assert work_here(prepared.workers[0], stop) == "stopped by SIGTERM"
    assert all(t.state is TrialState.WAITING for t in reads.trials(prepared.store, prepared.study))


@pytest.mark.slow
def test_a_returned_trial_keeps_the_parameters_it_drew(
    ready_study: Callable[..., StudyTask],
) -> None:
    prepared = ready_study()
    study = opened(prepared)
    claims = [queue.claim(study.store, study.record, "me") for _ in range(3)]
    third = claims[2]
    assert isinstance(third, Claim)
    drawn = propose(study.store, study.storage, study.record, study.definition, third)
    queue.release(study.store, third, "stopped")
    again = queue.claim(study.store, study.record, "you")
    assert isinstance(again, Claim)
    assert again.resumed
    assert propose(study.store, study.storage, study.record, study.definition, again) == drawn
    baseline = claims[0]
    assert isinstance(baseline, Claim)
    config = propose(study.store, study.storage, study.record, study.definition, baseline).config
    assert (config.train.lr, config.train.seed) == (0.001, baseline.seed)
    wild = claims[1]
    assert isinstance(wild, Claim)
    config = propose(study.store, study.storage, study.record, study.definition, wild).config
    assert config.train.lr == 80.0


@pytest.mark.slow
def test_only_what_is_searched_is_pruned(ready_study: Callable[..., StudyTask]) -> None:
    study = opened(ready_study(3, ('pruner = "none"', 'pruner = "rungs"')))
    claims = [queue.claim(study.store, study.record, "me") for _ in range(3)]
    rules = [TrialJob(study, c, StopSignal()).rules for c in claims if isinstance(c, Claim)]
    assert [judge.decide is None for judge in rules] == [True, True, False]


@pytest.mark.slow
def test_patience_counts_trials_ended_since_the_best(
    ready_study: Callable[..., StudyTask],
) -> None:
    prepared = ready_study(
        50,
        ('sampler = "random"', "stop_without_improvement = 2"),
        ("confirm = {top = 0}", "confirm = {top = 1, seeds = 1}"),
    )
    assert not enough_without_improvement(opened(prepared))
    assert work_here(prepared.workers[0]) == NoTrialReason.STOPPING
    trials = reads.trials(prepared.store, prepared.study)
    best = reads.best(prepared.store, prepared.study)
    assert best is not None
    last = [t.number for t in trials if t.confirms is None][-1]
    assert last == best.number + 2
    confirmed = {t.confirms for t in trials if t.confirms is not None}
    assert best.number in confirmed, "a search that ends by itself is confirmed"
    before = trials[-1].number
    stopped = load_study(prepared.store, prepared.study.name)
    change_state(prepared.store, stopped, StudyState.ACTIVE)
    assert work_here(prepared.workers[0]) == NoTrialReason.STOPPING
    trials = reads.trials(prepared.store, prepared.study)
    best = reads.best(prepared.store, prepared.study)
    assert best is not None
    more = [t.number for t in trials if t.number > before and t.confirms is None]
    assert len(more) == 2 + max(best.number - before, 0), "those before it went on count no more"
    assert best.number in {t.confirms for t in trials}, "what `resume` let go on is confirmed, too"


@pytest.mark.slow
def test_each_confirmed_trial_has_a_model_and_each_ended_one_a_note(
    ready_study: Callable[..., StudyTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "KEPT_MODELS", 1)
    prepared = ready_study(5)
    assert work_here(prepared.workers[0]) == NoTrialReason.BUDGET_MET
    store, study, files = prepared.store, prepared.study, prepared.workspace
    first = reads.trial(store, study, 0)
    killed = f"dashboard:{first.trial_id}:%"  # as if its worker had not come to write its note
    with sqlite3.connect(files.database) as connection:
        connection.execute("DELETE FROM study_system_attributes WHERE key LIKE ?", [killed])
        # As of a comparison, which searches nothing: a baseline that is what the study is.
        connection.execute("DELETE FROM trial_params WHERE trial_id = ?", [first.trial_id])
    assert without_note(store, study) == [0]
    task = prepare_confirmation(
        study.name, top=2, seeds=2, workspace=files, storage=store.address, workers=1
    )
    assert work_here(task.workers[0]) == NoTrialReason.BUDGET_MET
    assert without_note(store, study) == []
    noted = read_trial_notes(store, study.study_id)
    assert noted[first.trial_id]["body"].startswith("## Trial 0 · baseline **plain**")
    runs = [trial for trial in reads.trials(store, study) if trial.confirms is not None]
    models = files.kept_model(study.uuid, 0, None).parent
    kept = {int(path.stem.split("-")[1]) for path in models.iterdir()}
    best, second = reads.best_few(store, study, 2, baselines=False)
    assert best in kept
    assert second not in kept
    confirmed_second = [run.number for run in runs if run.confirms == second]
    assert kept & {run.number for run in runs} == {confirmed_second[0]}, "one stands in for it"
    # A run that is left out has been trained all the same: what is left to search is nothing.
    exclusion.exclude(store, study, [runs[-1].number], "a test")
    task = prepare_confirmation(
        study.name, top=1, seeds=1, workspace=files, storage=store.address, workers=1
    )
    assert task.study.confirm == Confirmation(1, 1, early=False, again=False), "its file says so"


def test_with_two_objectives_patience_counts_from_the_last_that_came_to_the_front(
    weighed_study: Any,
) -> None:
    definition = from_json(weighed_study.study.definition)

    def enough(trials: int) -> bool:
        search = replace(definition.search, stop_without_improvement=trials)
        study = SimpleNamespace(
            store=weighed_study.store,
            record=weighed_study.study,
            definition=replace(definition, search=search),
        )
        return enough_without_improvement(cast("OpenStudy", study))

    best = reads.best(weighed_study.store, weighed_study.study)
    assert best is not None
    assert best.number == 2
    assert (enough(2), enough(3)) == (True, False), "trial 3 is no better, yet smaller"


@pytest.mark.slow
def test_a_worker_searches_for_two_objectives(ready_study: Callable[..., StudyTask]) -> None:
    prepared = ready_study(
        7,
        ('name = "alexnet"\nvariant = "single_tower"\n', 'name = "mlp"\n'),
        ('sampler = "random"', 'sampler = "tpe"\nmetric = ["accuracy", "seconds"]'),
        ("trials = 3", "trials = 3\nstartup_trials = 2"),
    )
    assert work_here(prepared.workers[0]) == NoTrialReason.BUDGET_MET
    store, study = prepared.store, prepared.study
    trials = reads.trials(store, study)
    assert [trial.number for trial in trials] == list(range(7))
    for trial in trials:
        assert (trial.second_value is not None) is (trial.end is EndKind.COMPLETED)
        assert trial.second_value is None or trial.second_value > 0
    front = pareto.front(pareto.weighed_trials(store, study), study)
    theirs = optuna.load_study(study_name=study.name, storage=optuna_storage(store))
    assert {each.number for each in front} <= {each.number for each in theirs.best_trials}
    folder = prepared.workspace.kept_model(study.uuid, 0, None).parent
    kept = {int(path.stem.split("-")[1]) for path in folder.iterdir()}
    assert {each.number for each in front} <= kept
    assert preferred(store, study, "seconds") in {each.number for each in front}


@pytest.mark.slow
def test_a_study_paused_while_its_last_hopeful_trial_ran_stays_paused(
    ready_study: Callable[..., StudyTask],
) -> None:
    prepared = ready_study(50, ('sampler = "random"', "stop_without_improvement = 1"))
    with sqlite3.connect(prepared.workspace.database) as connection:
        connection.execute(
            "CREATE TRIGGER pause AFTER UPDATE OF end_kind ON optuna_study_trials "
            "WHEN new.number = 1 BEGIN UPDATE optuna_study_studies SET state = 'paused'; END"
        )
    assert work_here(prepared.workers[0]) == NoTrialReason.PAUSED
    assert enough_without_improvement(opened(prepared))
    study = find_study(prepared.store, prepared.study.name)
    assert study is not None
    assert study.state is StudyState.PAUSED


@pytest.mark.slow
def test_other_pictures_than_the_studys_are_refused(
    ready_study: Callable[..., StudyTask],
) -> None:
    prepared = ready_study()
    with sqlite3.connect(prepared.workspace.database) as connection:
        connection.execute("UPDATE optuna_study_studies SET fingerprint = 'other'")
    with pytest.raises(DataError, match="are not here: digits holds others"):
        work_here(prepared.workers[0])


@pytest.mark.slow
def test_a_study_that_was_deleted_is_said_to_be(ready_study: Callable[..., StudyTask]) -> None:
    prepared = ready_study()
    with pytest.raises(NotFoundError, match="was it deleted"):
        work_here(replace(prepared.workers[0], study="gone"))


@pytest.mark.slow
def test_a_failing_configuration_fails_and_the_worker_lives_on(
    ready_study: Callable[..., StudyTask], tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "moody.py").write_text(
        "import torch\n"
        "def build(settings, *, channels, image_size, classes):\n"
        "    if settings.dropout > 0.3:\n"
        "        raise MemoryError('no more')\n"
        "    if settings.activation == 'tanh':\n"
        "        raise ValueError('I do not like tanh')\n"
        "    flat = channels * image_size ** 2\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(flat, classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    prepared = ready_study(2)
    study = opened(prepared)
    model = replace(study.definition.config.model, name="moody:build", dropout=0.4)
    config = replace(study.definition.config, model=model)
    definition = replace(study.definition, config=config)
    study = replace(study, definition=definition, allowed=("moody",))
    stop = StopSignal()
    for _ in range(2):
        claim = queue.claim(study.store, study.record, "me")
        assert isinstance(claim, Claim)
        run_trial(partial(TrialJob, study, claim, stop), stop)
    plain, wild = reads.trials(prepared.store, prepared.study)
    assert plain.end is EndKind.COMPLETED
    assert wild.end is EndKind.OUT_OF_MEMORY
    assert wild.reason == OutOfMemory("MemoryError: no more", 1)
