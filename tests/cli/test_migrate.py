from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from sqlalchemy import select

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import definition_hash, from_json
from optuna_study.paths import Workspace
from optuna_study.report.export import trial_config
from optuna_study.search.propose import propose
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.records import Claim, EndKind, StudyState
from optuna_study.store.schema import own_trials
from optuna_study.store.studies.studies import find_study, study_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHANGES = (
    ('["relu", "tanh"]', '["elu", "relu"]'),
    ("high = 0.1, log", "high = 0.3, log"),
    ("trials = 6", "trials = 9"),
    ('activation = "tanh", lr = 0.1', 'activation = "elu", lr = 0.1'),
    ('group = "lr"', 'group = "rate"'),
)


@pytest.fixture
def worked(stored_study: Any) -> Any:
    """Two baselines and three searched trials, of which number 3 is the best."""
    stored_study.run([0.5, 0.5, 0.5])
    stored_study.run([0.9, 0.9, 0.4])
    for activation, lr, value in (("relu", 0.01, 0.6), ("relu", 0.02, 0.8), ("tanh", 0.03, 0.9)):
        parameters = {"activation": activation, "lr": lr, "dropout": 0.1}
        stored_study.run([0.5, value], parameters=parameters)
    return stored_study


def change(folder: Path, text: str, *changes: tuple[str, str]) -> str:
    """Change the study's file; its place."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "files" / "small.toml"
    path.write_text(text + '\n[[baselines]]\nname = "new"\nsettings = {activation = "relu"}\n')
    return str(path)


@pytest.mark.slow
def test_a_study_goes_on_under_its_new_definition_with_the_trials_that_fit(
    worked: Any, cli: Callable[..., Any], tmp_path: Path, study_file: str
) -> None:
    store, before, place = worked.store, worked.study, ("--storage", worked.url)
    workspace = Workspace(tmp_path / "storage")
    model = workspace.kept_model(before.uuid, 3, 1)
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    file = change(tmp_path, study_file, *CHANGES)

    asked = cli("migrate", "small", "--definition", file, *place)
    assert (asked.code, asked.out) == (2, "")
    assert '  space.activation.choices: ["relu", "tanh"] -> ["elu", "relu"]' in asked.err
    assert "give --yes" in asked.err
    assert study_names(store) == ["small"]

    done = cli("migrate", "small", "--definition", file, "--yes", *place)
    assert (done.code, done.err) == (0, "")
    assert "3 trials of 5 carried over.\n2 trials excluded, and counted in the budget:" in done.out
    assert "  1: activation tanh is none of elu, relu" in done.out
    assert "2 new baselines: wild, new." in done.out  # its settings have changed
    assert study_names(store) == ["small-before", "small"]
    again = cli("migrate", "small", "--definition", file, "--yes", *place)
    assert "is what small searches already" in again.err
    study = find_study(store, "small")
    assert study is not None
    assert workspace.kept_model(study.uuid, 3, 1).read_bytes() == b"weights"
    assert model.is_file()


@pytest.mark.slow
def test_trials_keep_number_configuration_and_curve(
    worked: Any, cli: Callable[..., Any], tmp_path: Path, study_file: str
) -> None:
    store, before, place = worked.store, worked.study, ("--storage", worked.url)
    file, old_trials = change(tmp_path, study_file, *CHANGES), reads.trials(store, before)
    assert cli("migrate", "small", "--definition", file, "--yes", *place).code == 0
    study, old = find_study(store, "small"), find_study(store, "small-before")
    assert study is not None
    assert old is not None
    assert (old.uuid, old.state, study.state) == (
        before.uuid,
        StudyState.STOPPING,
        StudyState.ACTIVE,
    )
    assert reads.trials(store, old) == old_trials
    wanted = resolve(read_study_file(tmp_path / "files" / "small.toml"), "full", threads=1)
    assert study.definition_hash == definition_hash(wanted)
    assert (study.budget, study.beside) == (9, 2)
    excluded = aggregates.excluded(store, study)
    assert list(excluded) == [1, 4]
    trials = reads.trials(store, study)
    assert [each.number for each in trials] == list(range(7))
    assert [(each.baseline, each.state.value) for each in trials[5:]] == [
        ("wild", "WAITING"),
        ("new", "WAITING"),
    ]
    for was, now in zip(old_trials, trials, strict=False):
        assert (now.value, now.seed, now.end, now.epochs) == (
            was.value,
            was.seed,
            was.end,
            was.epochs,
        )
        assert trial_config(study, now) == trial_config(old, was)
        assert reads.epochs(store, study, now.number) == reads.epochs(store, old, was.number)
    with store.read() as connection:
        query = select(own_trials.c.fixed).where(own_trials.c.uuid == study.uuid)
        fixed = connection.execute(query.order_by(own_trials.c.number)).scalars().all()
    assert fixed[2:4] == [None, None]  # so that a second stage knows whom to go on from
    best = reads.best(store, study)
    assert best is not None
    assert best.number == 3
    plain = optuna.load_study(study_name="small", storage=worked.url)
    kinds = {trial.distributions["activation"] for trial in plain.trials[:4:3]}
    assert kinds == {optuna.distributions.CategoricalDistribution(("elu", "relu"))}
    assert plain.best_trial.number == 3


@pytest.mark.slow
def test_the_sampler_goes_on_from_the_carried_trials(
    worked: Any, cli: Callable[..., Any], tmp_path: Path, study_file: str
) -> None:
    store = worked.store
    file = change(tmp_path, study_file, *CHANGES)
    cli("migrate", "small", "--definition", file, "--yes", "--storage", worked.url)
    study = find_study(store, "small")
    assert study is not None
    storage = optuna_storage(store)
    queue.claim(store, study, "host-1-001")  # the two new baselines
    queue.claim(store, study, "host-1-003")
    claim = queue.claim(store, study, "host-1-002")
    assert isinstance(claim, Claim)
    propose(store, storage, study, from_json(study.definition), claim)
    drawn = reads.trial(store, study, claim.number).parameters
    assert drawn["activation"] in ("elu", "relu")


@pytest.mark.slow
def test_a_second_migration_takes_another_name_and_keeps_what_was_excluded(
    worked: Any, cli: Callable[..., Any], tmp_path: Path, study_file: str
) -> None:
    place = ("--storage", worked.url, "--yes")
    file = change(tmp_path, study_file, *CHANGES)
    assert cli("migrate", "small", "--definition", file, *place).code == 0
    wider = (*CHANGES[:1], ("high = 0.1, log", "high = 0.5, log"), *CHANGES[2:])
    file = change(tmp_path, study_file, *wider)
    done = cli("migrate", "small", "--definition", file, *place)
    assert done.code == 0
    assert study_names(worked.store) == ["small-before", "small-before-2", "small"]
    rows = json.loads(cli("trials", "small", *place[:2], "-f", "json").out)
    assert [row["number"] for row in rows if row["excluded"]] == [1, 4]


@pytest.mark.slow
def test_a_baseline_that_waits_and_is_gone_is_not_trained(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path, study_file: str
) -> None:
    stored_study.run([0.5])
    file = change(tmp_path, study_file, ('name = "wild"', 'name = "calm"'))
    done = cli("migrate", "small", "--definition", file, "--yes", "--storage", stored_study.url)
    assert (done.code, done.err) == (0, "")
    study = find_study(stored_study.store, "small")
    assert study is not None
    gone, *coming = reads.trials(stored_study.store, study)[1:]
    assert (gone.end, gone.excluded) == (
        EndKind.FAILED,
        "there is no baseline 'wild' any more",
    )
    assert [each.baseline for each in coming] == ["calm", "new"]
    plain = optuna.load_study(study_name="small", storage=stored_study.url)
    optuna.copy_study(  # which looks at each trial
        from_study_name=plain.study_name,
        from_storage=stored_study.url,
        to_storage=f"sqlite:///{tmp_path / 'copy.db'}",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("image_size = 32", "image_size = 48")], "image_size was 32, is 48"),
        ([("trials = 6", "trials = 6\nmetric = 'log_loss'")], "search.metric was validation"),
    ],
)
def test_a_study_of_other_figures_is_another_study(
    worked: Any,
    cli: Callable[..., Any],
    tmp_path: Path,
    study_file: str,
    changes: list[tuple[str, str]],
    words: str,
) -> None:
    file = change(tmp_path, study_file, *changes)
    refused = cli("migrate", "small", "--definition", file, "--yes", "--storage", worked.url)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err
    assert study_names(worked.store) == ["small"]


def test_a_study_at_work_is_left_alone(
    worked: Any, cli: Callable[..., Any], tmp_path: Path, study_file: str
) -> None:
    worked.start([0.5])
    file = change(tmp_path, study_file, *CHANGES)
    refused = cli("migrate", "small", "--definition", file, "--yes", "--storage", worked.url)
    assert refused.code == 2
    assert "1 trial running; `optuna-study pause small" in refused.err
