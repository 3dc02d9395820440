from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optuna_study.errors import (
    DataError,
    DefinitionChangedError,
    DeviceError,
    FolderError,
    NotFoundError,
    OtherVersionError,
    StudyFileError,
    UsageError,
)
from optuna_study.launch.local import ThisMachine
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.paths import Workspace
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import (
    Claim,
    End,
    EndKind,
    NoTrialReason,
    StudyState,
    TrialState,
)
from optuna_study.store.studies.studies import set_state


@pytest.fixture
def request_of(tmp_path: Path, study_text: str, warm_workspace: Workspace) -> LaunchRequest:
    (tmp_path / "tiny.toml").write_text(study_text)
    return LaunchRequest(str(tmp_path / "tiny.toml"), profile="cpu", workspace=warm_workspace)


@pytest.mark.slow
def test_a_new_study_has_its_baselines_waiting_and_all_that_repeats_it(
    request_of: LaunchRequest,
) -> None:
    prepared = prepare(replace(request_of, workers=3, seed=11))
    study = prepared.study
    assert (study.name, study.budget, study.seed) == ("tiny@cpu", 3, 11)
    assert (study.total, study.confirm) == (5, None)
    assert (study.metric, study.direction) == ("validation_accuracy", "maximize")
    assert study.data_source == "digits"
    assert {"torch", "device", "threads", "python", "optuna"} <= set(study.environment)
    assert type(study.environment["torch"]) is str
    assert not prepared.resumed
    plain, wild = reads.trials(prepared.store, study)
    assert (plain.state, plain.baseline, plain.group) == (TrialState.WAITING, "plain", "lr")
    assert plain.parameters == {"activation": "relu", "lr": 0.001, "dropout": 0.1}
    assert (wild.parameters, wild.fixed) == ({}, {"lr": 80.0})
    assert [order.device for order in prepared.workers] == ["cpu"] * 3
    assert len({order.name for order in prepared.workers}) == 3
    assert not prepared.store.address.url.endswith("None")


@pytest.mark.slow
def test_launching_again_resumes_and_only_the_budget_moves(request_of: LaunchRequest) -> None:
    first = prepare(replace(request_of, n_trials=3))
    again = prepare(request_of)
    assert again.resumed
    assert (again.study.uuid, again.study.budget) == (first.study.uuid, 3)
    more = prepare(replace(request_of, n_trials=9))
    assert more.study.budget == 9
    path = first.workspace.root.parent / "tiny.toml"
    path.write_text(path.read_text().replace("trials = 3", "trials = 7"))
    assert prepare(request_of).study.budget == 7
    set_state(first.store, first.study, StudyState.STOPPING)
    assert prepare(request_of).study.state is StudyState.ACTIVE
    unconfirmed = prepare(replace(request_of, confirm=False)).study
    assert (unconfirmed.confirm, unconfirmed.unconfirmed) == (None, True)


@pytest.mark.slow
def test_launching_again_forgives_failures_in_a_row(request_of: LaunchRequest) -> None:
    first = prepare(replace(request_of, n_trials=9))
    for _ in range(5):
        claim = queue.claim(first.store, first.study, "me")
        assert isinstance(claim, Claim)
        queue.end(first.store, claim, End(EndKind.FAILED, "ValueError: no"))
    assert queue.claim(first.store, first.study, "me") is NoTrialReason.TOO_MANY_FAILURES
    again = prepare(request_of)
    assert not again.study.halted
    assert isinstance(queue.claim(again.store, again.study, "me"), Claim)


@pytest.mark.slow
def test_a_priority_is_given_and_changed_and_otherwise_kept(request_of: LaunchRequest) -> None:
    assert prepare(replace(request_of, priority=3)).study.priority == 3
    assert prepare(request_of).study.priority == 3
    assert prepare(replace(request_of, priority=-2)).study.priority == -2


@pytest.mark.slow
def test_the_name_of_a_stored_study_leads_to_its_launch(request_of: LaunchRequest) -> None:
    first = prepare(replace(request_of, name="second"))
    for name in ("second", "second@cpu"):
        with pytest.raises(NotFoundError) as caught:
            prepare(replace(request_of, study=name))
        assert str(caught.value) == (
            f"'{name}' is no study file, but a study in {first.store.address.url}; `optuna-study "
            "launch tiny --name second --profile cpu` goes on with it"
        )
    prepare(replace(request_of, only="baselines", seeds=1))
    with pytest.raises(NotFoundError, match="launch tiny --profile cpu --only baselines` goes"):
        prepare(replace(request_of, study="tiny@cpu-baselines"))
    with pytest.raises(NotFoundError, match=r"study 'third': no file third\.toml"):
        prepare(replace(request_of, study="third"))


@pytest.mark.slow
def test_another_minor_version_is_refused_on_relaunch(request_of: LaunchRequest) -> None:
    first = prepare(request_of)
    with first.store.write() as connection:
        connection.exec_driver_sql(
            'UPDATE optuna_study_studies SET environment = \'{"optuna-study": "0.9.4"}\''
        )
    with pytest.raises(OtherVersionError, match=r"tiny@cpu: made by optuna-study 0\.9\.4"):
        prepare(request_of)


@pytest.mark.slow
def test_a_comparison_has_every_baseline_once_for_each_seed(request_of: LaunchRequest) -> None:
    compared = replace(request_of, only="baselines", seeds=2)
    first = prepare(compared)
    assert (first.study.name, first.study.budget) == ("tiny@cpu-baselines", 4)
    names = [each.baseline for each in reads.trials(first.store, first.study)]
    assert names == ["plain", "wild"] * 2, "seed by seed, so that more can follow"
    fewer = prepare(replace(compared, seeds=1))
    assert fewer.study.budget == 2
    assert prepare(replace(compared, seeds=None)).study.budget == 2, "as it was"
    more = prepare(replace(compared, seeds=3))
    assert more.study.budget == 6
    trials = reads.trials(more.store, more.study)
    assert [each.number for each in trials] == list(range(6))
    assert [each.baseline for each in trials] == ["plain", "wild"] * 3
    assert trials[4].parameters == trials[0].parameters


@pytest.mark.slow
def test_a_baseline_of_comparisons_alone_waits_in_no_search(request_of: LaunchRequest) -> None:
    path = Path(request_of.study)
    text = path.read_text().replace('name = "wild"', 'name = "wild"\nin_search = false')
    path.write_text(text)
    search = prepare(request_of)
    assert [each.baseline for each in reads.trials(search.store, search.study)] == ["plain"]
    compared = prepare(replace(request_of, only="baselines", seeds=1))
    names = [each.baseline for each in reads.trials(compared.store, compared.study)]
    assert names == ["plain", "wild"]


@pytest.mark.slow
def test_a_comparison_stands_beside_the_search(request_of: LaunchRequest) -> None:
    search = prepare(request_of)
    compared = prepare(replace(request_of, only="baselines"))
    assert compared.study.budget == 6, "three seeds unless said otherwise"
    assert compared.study.uuid != search.study.uuid


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": "baselines", "n_trials": 4}, "--seeds says how many"),
        ({"seeds": 3}, "goes with --only baselines"),
        ({"only": "baselines", "seeds": 0}, "a number from 1 to 100"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    request_of: LaunchRequest, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        prepare(replace(request_of, **options))


def test_a_study_without_baselines_has_nothing_to_compare(
    request_of: LaunchRequest, study_text: str, tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(study_text[: study_text.index("[[baselines]]")])
    with pytest.raises(StudyFileError, match="there are none to compare"):
        prepare(replace(request_of, only="baselines"))


def test_a_changed_definition_is_refused_before_torch_is_loaded(
    stored_study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: Any) -> None:
        raise AssertionError("the workers' server was started")

    monkeypatch.setattr(ThisMachine, "get_ready", started)
    file = tmp_path / "files/small.toml"
    request = LaunchRequest(
        str(file),
        device="cpu",
        profile="full",
        storage=stored_study.store.address,
        workspace=Workspace(tmp_path / "storage"),
    )
    with pytest.raises(AssertionError, match="server was started"):
        prepare(request)  # the same definition
    file.write_text(file.read_text().replace("high = 0.1,", "high = 0.2,"))
    with pytest.raises(DefinitionChangedError, match=r"space.lr.high: 0.1 -> 0.2; put that back"):
        prepare(request)


@pytest.mark.slow
def test_a_changed_definition_is_refused_with_what_changed(request_of: LaunchRequest) -> None:
    first = prepare(request_of)
    path = first.workspace.root.parent / "tiny.toml"
    path.write_text(path.read_text().replace("high = 0.01", "high = 0.02"))
    with pytest.raises(DefinitionChangedError, match=r"space.lr.high: 0.01 -> 0.02"):
        prepare(request_of)
    other = prepare(replace(request_of, name="second"))
    assert other.study.name == "second@cpu"
    with pytest.raises(UsageError, match="was made with seed 0"):
        prepare(replace(request_of, name="second", seed=5))


@pytest.mark.slow
def test_a_resumed_study_keeps_the_threads_it_was_made_with(
    request_of: LaunchRequest, study_text: str, tmp_path: Path
) -> None:
    open_threads = study_text.replace("threads = 1\n", "")
    (tmp_path / "tiny.toml").write_text(open_threads)
    first = prepare(request_of)
    threads = first.study.definition["config"]["train"]["threads"]
    assert threads >= 1
    assert first.study.environment["threads"] == threads
    assert prepare(request_of).resumed


@pytest.mark.slow
def test_a_size_that_is_left_to_the_model_is_pinned(
    request_of: LaunchRequest, study_text: str, tmp_path: Path
) -> None:
    model = 'name = "timm:test_efficientnet"\npretrained = "none"'
    text = study_text.replace('name = "alexnet"\nvariant = "single_tower"', model)
    (tmp_path / "tiny.toml").write_text(text.replace("image_size = 16\n", ""))
    first = prepare(request_of)
    assert first.study.definition["config"]["data"]["image_size"] == 160
    assert prepare(request_of).resumed


@pytest.mark.slow
def test_workers_auto_is_at_least_one(request_of: LaunchRequest) -> None:
    assert len(prepare(replace(request_of, workers="auto")).workers) >= 1


@pytest.mark.slow
def test_absent_pictures_are_stood_in_for_in_one_sentence(
    request_of: LaunchRequest, study_text: str, tmp_path: Path
) -> None:
    text = study_text.replace('name = "digits"', 'name = "pokemon"\nstand_in = "digits"')
    text = text.replace('sampler = "random"\n', "")  # one that learns says how little it gets to
    (tmp_path / "tiny.toml").write_text(text)
    prepared = prepare(request_of)
    assert prepared.study.name == "tiny@cpu-digits"
    assert prepared.study.data_source == "digits"
    note, few = prepared.notes
    assert "'pokemon'" in note
    assert "`optuna-study data fetch pokemon`" in note
    assert few == (
        "tiny@cpu-digits: of 3 searched trials the sampler's model proposes 3, fewer than 10: "
        "hardly a search; --n-trials gives it more."
    )
    assert prepare(replace(request_of, n_trials=14)).notes == (note,)


WRONG: dict[str, tuple[dict[str, Any], tuple[str, str], type[Exception], str]] = {
    "trials": ({"n_trials": 0}, ("", ""), UsageError, "--n-trials 0"),
    "too many trials": ({"n_trials": 10**11}, ("", ""), UsageError, "1 to 1000000"),
    "priority": ({"priority": 10**11}, ("", ""), UsageError, "-1000000 to 1000000"),
    "low priority": ({"priority": -(10**11)}, ("", ""), UsageError, "--priority -100000000000"),
    "workers": ({"workers": 0}, ("", ""), UsageError, "--workers 0"),
    "too many workers": ({"workers": 10**11}, ("", ""), UsageError, "auto or a number .* to 1000"),
    "timeout": ({"timeout": 0.0}, ("", ""), UsageError, "--timeout 0"),
    "seed": ({"seed": -1}, ("", ""), UsageError, "--seed -1"),
    "detached": (
        {"detach": True, "timeout": 5.0},
        ("", ""),
        UsageError,
        "--detach only registers",
    ),
    "device": ({"device": "cuda:7"}, ("", ""), DeviceError, "cuda:7"),
    "study": ({"study": "alexnet_pokemn"}, ("", ""), NotFoundError, "alexnet_pokemon"),
    "key": ({}, ("dropout = 0.1", "dropuot = 0.1"), StudyFileError, "model.dropuot"),
    "data": ({}, ('"digits"', '"digit"'), UsageError, "digits"),
    "model": ({}, ('name = "alexnet"', 'name = "builtins:dict"'), UsageError, "builtins:dict"),
    "weights": (
        {},
        ('name = "alexnet"', f'name = "alexnet"\npretrained = "{Path(__file__).as_posix()}"'),
        DataError,
        r"test_prepare\.py: damaged, or more than weights",
    ),
    "searched weights": (
        {},
        ("[space]", '[space]\npretrained = ["none", "/nope.pth"]'),
        UsageError,
        "pretrained '/nope.pth': no such file",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_work_is_said_before_anything_is_written(
    request_of: LaunchRequest, study_text: str, tmp_path: Path, what: str
) -> None:
    changes, (old, new), error, said = WRONG[what]
    (tmp_path / "storage" / "studies.db").unlink()
    (tmp_path / "tiny.toml").write_text(study_text.replace(old, new) if old else study_text)
    with pytest.raises(error, match=said):
        prepare(replace(request_of, **changes))
    root = tmp_path / "storage"
    written = [path.name for path in root.rglob("*") if path.suffix in (".db", ".log", ".pt")]
    assert written == []


def test_a_folder_that_is_not_there_is_no_data(request_of: LaunchRequest, tmp_path: Path) -> None:
    (tmp_path / "storage" / "studies.db").unlink()
    with pytest.raises(DataError, match="nowhere"):
        prepare(replace(request_of, data=tmp_path / "nowhere"))
    assert not (tmp_path / "storage" / "studies.db").exists()


def test_a_file_where_the_workspace_should_be_is_refused(
    request_of: LaunchRequest, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FolderError, match="taken"):
        prepare(replace(request_of, workspace=Workspace(tmp_path / "taken")))


@pytest.mark.slow
def test_a_running_trial_is_left_to_its_worker(request_of: LaunchRequest) -> None:
    first = prepare(request_of)
    claim = queue.claim(first.store, first.study, "elsewhere")
    assert isinstance(claim, Claim)
    prepare(request_of)
    trial = reads.trial(first.store, first.study, claim.number)
    assert (trial.state, trial.owner) == (TrialState.RUNNING, "elsewhere")
