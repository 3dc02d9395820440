"""`doctor`, and what `show` says of loss curves."""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from filelock import FileLock

from optuna_study.actions.doctor import Request, examine
from optuna_study.config.reasons import Exploding, Failed, NonFinite, Reason
from optuna_study.data.cache import ABOUT, FEATURES, checksum, written_entry
from optuna_study.errors import DeviceError
from optuna_study.paths import Workspace
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, End, EndKind, EpochRecord, TrialState
from optuna_study.store.schema import ADDED
from optuna_study.store.studies.studies import load_study
from optuna_study.worker.messages import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LEVEL = math.log(5)
NON_FINITE = NonFinite("loss", math.nan, epoch=2, step=3, rate=0.8, before=9e9)
MESSAGE = "The loss became nan in epoch 2, step 3, after 9e+09, at learning rate 0.8."


def epochs(losses: Sequence[float], norm: float = 5.0) -> list[EpochRecord]:
    return [
        EpochRecord(number, 1 - loss / 2, loss, 1 - loss / 2, loss, 1 - loss / 2, 0.01, norm, 0.5)
        for number, loss in enumerate(losses, 1)
    ]


@pytest.fixture
def judged(stored_study: Any, tmp_path: Path) -> Callable[..., int]:
    """End the next trial of the small study with a curve; its number."""
    with sqlite3.connect(tmp_path / "small.db") as connection:
        connection.execute(
            "UPDATE optuna_study_studies SET environment = ?",
            [json.dumps({"torch": "2.14.1", "class_counts": [26] * 5})],
        )
    connection.close()
    stored_study.study = load_study(stored_study.store, "small")

    def end(
        losses: Sequence[float],
        kind: EndKind = EndKind.COMPLETED,
        reason: Reason | str = "all epochs",
        norm: float = 5.0,
    ) -> int:
        claim = queue.claim(stored_study.store, stored_study.study, "host-1-001")
        assert isinstance(claim, Claim)
        curve = epochs(losses, norm)
        value = curve[-1].value if kind is EndKind.COMPLETED else None
        queue.end(stored_study.store, claim, End(kind, reason, value), curve)
        return claim.number

    return end


@pytest.fixture
def worked(judged: Callable[..., int], stored_study: Any) -> Any:
    """The small study after one trial of each sort."""
    judged([1.4, 0.9, 0.6])  # plain, a baseline
    judged([1.5], EndKind.DIVERGED, NON_FINITE)  # wild, the other
    judged([1.61, 1.61, 1.609], norm=0.2)
    judged([1.7, 1.68, 1.69], EndKind.DIVERGED, "dead: At chance level for 3 epochs.")
    return stored_study


def test_doctor_groups_what_the_curves_say(worked: Any, cli: Callable[..., Any]) -> None:
    result = cli("doctor", "small", "--storage", worked.url)
    assert (result.code, result.err) == (0, "")  # a search tries what may fail
    text = " ".join(result.out.split())
    assert "healthy: trial 0" in text
    assert "diverging: trial 1 (wild): The loss became nan in epoch 2, step 3," in text
    assert "Lower the learning rate from 0.8 to 0.08 or less;" in text
    assert "poor initialisation: trial 2: At chance level for all 3 epochs" in text
    assert "dead: trial 3" in text
    assert "built in" in text


def test_doctor_json_is_strict_and_names_every_trial(worked: Any, cli: Callable[..., Any]) -> None:
    result = cli("doctor", "small", "--storage", worked.url, "-f", "json")
    value = json.loads(result.out, parse_constant=lambda name: pytest.fail(name))
    assert (result.code, value["about"], value["findings"]) == (0, "small", 0)
    assert [(each["trial"], each["pattern"]) for each in value["curves"]] == [
        *((0, "healthy"), (1, "diverging"), (2, "poor_initialisation"), (3, "dead")),
    ]
    assert value["curves"][1]["cause"] == MESSAGE
    assert {line["check"] for line in value["lines"]} == {
        *("store", "workers", "data", "curves", "machine"),
    }
    assert all(line["ok"] == (line["step"] is None) for line in value["lines"])
    assert sum(line["advice"] is not None for line in value["lines"]) == 3


def test_what_more_than_half_of_the_trials_show_needs_a_hand(
    judged: Callable[..., int], stored_study: Any, cli: Callable[..., Any]
) -> None:
    for _ in range(3):
        judged([1.5], EndKind.DIVERGED, NON_FINITE)
    assert cli("doctor", "small", "--storage", stored_study.url).code == 0  # three tell nothing
    judged([1.4, 0.9, 0.6])
    judged([1.5], EndKind.DIVERGED, NON_FINITE)
    result = cli("doctor", "small", "--storage", stored_study.url)
    assert (result.code, result.err) == (1, "Error: small: 1 finding, see the lines above\n")
    assert "!   curves   more than half of the trials, diverging: trials 0, 1, 2, 4;" in result.out


@pytest.mark.slow
def test_show_counts_the_curves_and_reads_one(worked: Any, cli: Callable[..., Any]) -> None:
    page = cli("show", "small", "--storage", worked.url).out
    assert (
        "Loss curves: 1 poor initialisation, 1 diverging, 1 dead, 1 healthy; "
        f"`optuna-study doctor small --storage {worked.url}` says why.\n"
    ) in page
    value = json.loads(cli("show", "small", "--storage", worked.url, "-f", "json").out)
    assert value["curves"] == {"poor_initialisation": 1, "diverging": 1, "dead": 1, "healthy": 1}
    page = cli("show", "small", "--trial", "2", "--storage", worked.url).out
    line = next(line for line in page.splitlines() if line.startswith("loss curve"))
    assert "  poor initialisation: At chance level for all 3 epochs: training loss" in line
    value = json.loads(
        cli("show", "small", "--trial", "1", "--storage", worked.url, "-f", "json").out
    )
    assert value["diagnosis"]["pattern"] == "diverging"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "most", "line"),
    [
        (
            "QUICK_TRIALS",
            3,
            "of the newest 3 trials (4 have one): 1 poor initialisation, 1 diverg",
        ),
        ("QUICK_EPOCHS", 5, "of the newest 1 trial (4 have one): 1 dead; "),
    ],
)
def test_show_reads_the_newest_curves_of_a_large_study_and_says_so(
    worked: Any,
    cli: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    most: int,
    line: str,
) -> None:
    from optuna_study.report.curves import read

    monkeypatch.setattr(read, limit, most)
    page = cli("show", "small", "--storage", worked.url).out
    assert f"\nLoss curves {line}" in page
    assert f"; `optuna-study doctor small --storage {worked.url}` reads all.\n" in page
    value = json.loads(cli("show", "small", "--storage", worked.url, "-f", "json").out)
    assert value["curves_read"] == sum(value["curves"].values())
    assert value["curves_recorded"] == 4


def test_show_leaves_curves_too_long_for_it_to_doctor(
    worked: Any, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna_study.report.curves import read

    monkeypatch.setattr(read, "QUICK_EPOCHS", 2)
    page = cli("show", "small", "--storage", worked.url).out
    doctor = f"`optuna-study doctor small --storage {worked.url}`"
    assert f"Loss curves: {doctor} reads them.\n" in page


@pytest.mark.slow
def test_show_reads_the_curves_of_a_study_of_long_trials(
    judged: Callable[..., int], stored_study: Any, cli: Callable[..., Any]
) -> None:
    """As the spiral's are, a thousand epochs and more each."""
    for _ in range(4):
        judged([1.5 * 0.995**epoch for epoch in range(1500)])
    page = cli("show", "small", "--storage", stored_study.url).out
    assert "Loss curves: 4 healthy; `optuna-study doctor small " in page


@pytest.mark.slow
def test_curves_of_a_study_made_before_a_setting_are_read(
    worked: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    before = cli("show", "small", "--storage", worked.url).out
    with sqlite3.connect(tmp_path / "small.db") as connection:
        (text,) = connection.execute("SELECT definition FROM optuna_study_studies").fetchone()
        definition = json.loads(text)
        del definition["config"]["train"]["mse_of"]
        changed = json.dumps(definition)
        connection.execute("UPDATE optuna_study_studies SET definition = ?", [changed])
    connection.close()
    assert "Loss curves: 1 poor initialisation" in before
    assert cli("show", "small", "--storage", worked.url).out == before


def test_a_healthy_study_ends_with_0(
    judged: Callable[..., int], stored_study: Any, cli: Callable[..., Any]
) -> None:
    judged([1.4, 0.9, 0.6])
    result = cli("doctor", "small", "--storage", stored_study.url)
    assert (result.code, result.err) == (0, "")
    assert not any(line.startswith("! ") for line in result.out.splitlines())


def test_a_study_made_before_chance_was_recorded_is_said_to_be(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    stored_study.run([0.3, 0.5])
    result = cli("doctor", "small", "--storage", stored_study.url)
    assert result.code == 0
    assert "before chance level was recorded" in " ".join(result.out.split())
    assert "Loss curves" not in cli("show", "small", "--storage", stored_study.url).out


def test_a_lost_worker_is_told_and_its_trial_given_back_with_fix(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    store, study = stored_study.store, stored_study.study
    claim = queue.claim(store, study, "host-9-001", lease=-400.0)
    assert isinstance(claim, Claim)
    for arguments in (["doctor"], ["doctor", "small"]):
        result = cli(*arguments, "--storage", stored_study.url, "-f", "json")
        assert result.code == 1
        lost = next(line for line in json.loads(result.out)["lines"] if not line["ok"])
        assert lost["what"].startswith(
            "small, trial 0: its worker host-9-001 is lost, the lease ran out 6 min "
        )
        assert lost["step"].startswith("`optuna-study doctor small --fix` gives it back")
    assert reads.trial(store, study, 0).state is TrialState.RUNNING
    result = cli("doctor", "small", "--fix", "--storage", stored_study.url, "-f", "json")
    assert result.code == 0
    assert any(line["what"].endswith("; given back") for line in json.loads(result.out)["lines"])
    assert reads.trial(store, study, 0).state is TrialState.WAITING
    assert cli("doctor", "--storage", stored_study.url).code == 0


def test_a_running_trial_is_not_lost(stored_study: Any, cli: Callable[..., Any]) -> None:
    stored_study.start([0.5])
    result = cli("doctor", "--fix", "--storage", stored_study.url)
    assert result.code == 0
    assert "small: 1 trial running, none lost" in result.out
    assert reads.trial(stored_study.store, stored_study.study, 0).state is TrialState.RUNNING


@pytest.mark.slow
def test_a_trial_that_plain_optuna_left_is_told(
    held_up_study: Any, cli: Callable[..., Any]
) -> None:
    for arguments in (["doctor", "--fix"], ["doctor", "small"]):
        result = cli(*arguments, "--storage", held_up_study.url, "-f", "json")
        assert result.code == 1
        lines = [line for line in json.loads(result.out)["lines"] if line["check"] == "workers"]
        assert lines[0]["what"] == "small: 0 trials running, none lost"
        assert re.fullmatch(
            r"small: trial 0 is run by plain Optuna since [-\d]+ [:\d]+; nothing here ends it",
            lines[1]["what"],
        )
        told = "`study.tell(0, state=optuna.trial.TrialState.FAIL)` in Python ends it"
        assert told in lines[1]["step"]
    storage = optuna.storages.RDBStorage(held_up_study.url)
    study = optuna.load_study(study_name="small", storage=storage)
    study.tell(0, state=optuna.trial.TrialState.FAIL)
    storage.remove_session()
    storage.engine.dispose()
    assert cli("doctor", "small", "--storage", held_up_study.url).code == 0
    assert reads.counts(held_up_study.store, held_up_study.study).ended == 6


def test_failed_trials_are_grouped_by_reason(stored_study: Any, cli: Callable[..., Any]) -> None:
    for reason in (
        Failed("ZeroDivisionError: boom", epoch=1),
        "ZeroDivisionError: boom (in epoch 2)",  # as an earlier version stored it
    ):
        stored_study.run([0.3], EndKind.FAILED, reason=reason, traceback="Traceback")
    result = cli("doctor", "small", "--storage", stored_study.url, "-f", "json")
    wrong = [line for line in json.loads(result.out)["lines"] if not line["ok"]]
    assert [(line["what"], line["step"]) for line in wrong] == [
        (
            "failed: trials 0, 1: ZeroDivisionError: boom",
            "`optuna-study show small --trial 0` has the traceback.",
        )
    ]


def test_a_checkpoint_that_is_elsewhere_is_told(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    claim = stored_study.start([0.5])
    queue.record_checkpoint(stored_study.store, claim, 1)
    queue.release(stored_study.store, claim, "stopped")
    result = cli("doctor", "small", "--storage", stored_study.url)
    assert result.code == 1
    path = Workspace.locate(tmp_path / "storage").checkpoint(stored_study.study.uuid, 0, 1)
    path.parent.mkdir(parents=True)
    path.touch()
    assert cli("doctor", "small", "--storage", stored_study.url).code == 0


@pytest.mark.parametrize(
    ("source", "step"),
    [
        ("/nowhere/pictures", "Put them back at that place;"),
        ("pokemon", "Get them: `optuna-study data fetch pokemon`."),
        ("mnist", "Get them: `optuna-study data fetch mnist`, or mnist.npz in "),
    ],
)
def test_missing_pictures_are_told(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path, source: str, step: str
) -> None:
    with sqlite3.connect(tmp_path / "small.db") as connection:
        connection.execute("UPDATE optuna_study_studies SET data_source = ?", [source])
    connection.close()
    result = cli("doctor", "small", "--storage", stored_study.url, "-f", "json")
    assert result.code == 1
    wrong = [line for line in json.loads(result.out)["lines"] if not line["ok"]]
    assert [line["check"] for line in wrong] == ["data"]
    assert "the pictures of small are not " in wrong[0]["what"]
    assert wrong[0]["step"].startswith(step)


def test_a_pattern_of_several_trials_names_them_all_and_explains_a_baseline(
    judged: Callable[..., int], stored_study: Any, cli: Callable[..., Any]
) -> None:
    judged([1.4, 0.9, 0.6])
    judged([1.5], EndKind.DIVERGED, NON_FINITE)
    judged([1.5], EndKind.DIVERGED, Exploding(40.0, 1.5, epoch=2, step=3, rate=0.05))
    result = cli("doctor", "small", "--storage", stored_study.url)
    assert f"ok  curves   diverging: trials 1, 2; trial 1 (wild): {MESSAGE}\n" in result.out
    assert "             could: Lower the learning rate from 0.8 to 0.08 or less;" in result.out


def test_a_divergence_that_an_earlier_version_stored_has_the_rate_of_its_curve(
    judged: Callable[..., int], stored_study: Any, cli: Callable[..., Any]
) -> None:
    judged([1.5], EndKind.DIVERGED, f"non_finite: {MESSAGE}")
    result = cli("doctor", "small", "--storage", stored_study.url)
    assert f"ok  curves   diverging: trial 0 (plain): {MESSAGE}\n" in result.out
    assert "             could: Lower the learning rate from 0.01 to 0.001 or less;" in result.out


def test_left_over_files_are_a_finding_that_fix_removes(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    """Of a killed save, and of a launch from another folder whose trials ended elsewhere."""
    stored_study.run([0.3, 0.5])
    claim = queue.claim(stored_study.store, stored_study.study, "elsewhere")
    assert isinstance(claim, Claim)
    workspace = Workspace(tmp_path / "storage")
    uuid = stored_study.study.uuid
    needed = workspace.checkpoint(uuid, claim.number, claim.ordinal)
    killed = needed.with_name(f".{needed.name}-{'0' * 32}")
    at_work = needed.with_name(f".{needed.name}-{'1' * 32}")
    ended, unknown = (workspace.checkpoint(uuid, number, 1) for number in (0, 99))
    for path in (needed, killed, at_work, ended, unknown):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    os.utime(killed, (1.6e9, 1.6e9))
    for arguments in (["doctor"], ["doctor", "small"]):
        result = cli(*arguments, "--storage", stored_study.url, "-f", "json")
        assert result.code == 1
        found = [line for line in json.loads(result.out)["lines"] if line["check"] == "files"]
        assert [(line["what"], line["ok"]) for line in found] == [
            (f"small: 2 files that no trial needs, first {ended}", False),
            (f"1 file that killed processes left half written, first {killed}", False),
        ]
        assert found[0]["step"] == "`optuna-study doctor small --fix` removes what is left over."
    fixed = cli("doctor", "--fix", "--storage", stored_study.url)
    assert fixed.code == 0
    assert fixed.out.count("; removed") == 2
    assert sorted(needed.parent.iterdir()) == [at_work, needed]
    assert cli("doctor", "--storage", stored_study.url).code == 0


def test_folders_of_studies_that_the_store_does_not_hold_are_named_and_stay(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    """Of a study that was deleted with Optuna, or of another store in the same workspace."""
    workspace = Workspace(tmp_path / "storage")
    model = workspace.kept_model("0-deleted", 0, 1)
    for path in (model, workspace.log(stored_study.study.uuid, "a")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(2_600_000))
    for arguments, what in (
        (["--fix", "--storage", stored_study.url], "1 folder of studies {}, 3 MB, first {}:"),
        ([], "2 folders of studies {}, 5 MB, first {}:"),  # where no store is
    ):
        result = cli("doctor", *arguments, "-f", "json")
        assert result.code == 0
        found = [line for line in json.loads(result.out)["lines"] if line["check"] == "files"]
        assert [line["what"].partition(" of another")[0] for line in found] == [
            what.format("that this store does not hold", workspace.study("0-deleted"))
        ]
    assert model.is_file()


@pytest.mark.slow
def test_a_damaged_cache_is_a_finding_that_fix_removes(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    assert cli("data", "show", "digits", "--image-size", "8").code == 0
    assert cli("doctor").code == 0
    [entry] = (tmp_path / "storage" / "cache").iterdir()
    labels = entry / "labels.npy"
    labels.write_bytes(labels.read_bytes()[:-8] + bytes(8))
    found = cli("doctor")
    assert found.code == 1
    assert "labels.npy differs from what was written" in " ".join(found.out.split())
    assert "; removed" in cli("doctor", "--fix").out
    assert not entry.exists()


def test_features_and_what_was_left_half_built_are_looked_at(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "storage")
    whole, damaged = (workspace.cache(f"features-{name}") for name in ("whole", "damaged"))
    for folder in (whole, damaged):
        with written_entry(folder) as beside:
            (beside / FEATURES).write_bytes(b"12345")
            about = {"checksum": checksum(beside / FEATURES)}
            (beside / ABOUT).write_text(json.dumps(about))
    (damaged / FEATURES).write_bytes(b"12346")
    killed, at_work = (workspace.cache(f".building-{name}-a_b1") for name in ("x-v2", "y-v2"))
    for folder in (killed, at_work):
        folder.mkdir()
    lock = workspace.lock("cache-y-v2")
    lock.parent.mkdir()
    with FileLock(lock):
        for options, code in (([], 1), (["--fix"], 0), ([], 0)):
            result = cli("doctor", *options, "-f", "json")
            assert result.code == code
            lines = [line["what"] for line in json.loads(result.out)["lines"]]
            found = [line for line in lines if "cache" in line]
            said = [
                f"{damaged}: {FEATURES} differs from what was written",
                f"{killed}: left half built by a process that was killed",
            ]
            if options:
                said = [f"{each}; removed" for each in said]
            assert found == (said if code or options else [])
    assert sorted(whole.parent.iterdir()) == [at_work, whole]


def test_without_a_store_only_the_machine_is_looked_at(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    result = cli("doctor")
    assert result.code == 0
    assert "none yet; `optuna-study launch` makes it" in result.out
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sqlite:///absent.db", "there is no such file"),
        ("postgresql://ann:s3cret@127.0.0.1:1/x", "cannot be reached"),
        ("sqlite:///notes.txt", "is no SQLite database"),
    ],
)
def test_a_store_that_cannot_be_used_is_a_finding(
    cli: Callable[..., Any], tmp_path: Path, url: str, what: str
) -> None:
    (tmp_path / "notes.txt").write_text("no database, only words" * 50)
    result = cli("doctor", "--storage", url, "-f", "json")
    assert result.code == 1
    wrong = [line for line in json.loads(result.out)["lines"] if not line["ok"]]
    assert [line["check"] for line in wrong] == ["store"]
    assert what in wrong[0]["what"]
    assert wrong[0]["step"].endswith((".", "?"))
    assert not wrong[0]["step"].endswith("?.")
    assert "s3cret" not in result.out + result.err


def test_a_newer_store_is_a_finding(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "small.db") as connection:
        connection.execute("UPDATE optuna_study_schema SET version = 99")
    connection.close()
    result = cli("doctor", "small", "--storage", stored_study.url)
    assert result.code == 1
    assert "upgrade optuna-study" in result.out


def test_a_store_of_an_older_version_is_upgraded_with_fix(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "small.db") as connection:
        connection.execute("UPDATE optuna_study_schema SET version = 1")
        for column in (column for added in ADDED.values() for column in added):
            connection.execute(f"ALTER TABLE {column.table.name} DROP COLUMN {column.name}")
    connection.close()
    url = stored_study.url
    refused = cli("list", "--storage", url)
    assert (refused.code, refused.out) == (5, "")
    assert refused.err == (
        f"Error: {url}: made by an older optuna-study (version 1 of its tables, this one needs "
        f"7); `optuna-study doctor --fix --storage {url}` upgrades it in place, and so does the "
        "next launch\n"
    )
    found = cli("doctor", "small", "--storage", url)
    assert found.code == 1
    assert "upgrades it in place" in found.out
    assert "own tables 7" in cli("doctor", "small", "--fix", "--storage", url).out
    assert cli("list", "--storage", url).code == 0


def test_a_damaged_store_is_a_finding(stored_study: Any, cli: Callable[..., Any]) -> None:
    stored_study.run([0.5])
    path = stored_study.store.address.path
    stored_study.store.close()
    content = bytearray(path.read_bytes())
    # The second half, as a broken disk would leave it; the schema stands on the first pages, and
    # which single page holds something changes with every index.
    middle = len(content) // 2 // 4096 * 4096
    content[middle:] = b"\xff" * (len(content) - middle)
    path.write_bytes(bytes(content))
    result = cli("doctor", "--storage", stored_study.url)
    assert result.code in (1, 5)
    assert "damaged" in result.out + result.err


def test_a_study_that_is_not_there_ends_with_4(stored_study: Any, cli: Callable[..., Any]) -> None:
    result = cli("doctor", "smal", "--storage", stored_study.url)
    assert result.code == 4
    assert "did you mean 'small'" in result.err


class TestGPU:
    """The machine's driver and torch, both given."""

    @pytest.fixture
    def request_(self, tmp_path: Path) -> Request:
        workspace = Workspace(tmp_path / "storage")
        return Request(StoreAddress.of_file(workspace.database), workspace, address_given=False)

    @pytest.fixture
    def driver(self, tmp_path: Path) -> Path:
        path = tmp_path / "version"
        path.write_text("NVRM version: 600.00\n")
        return path

    def test_torch_is_not_asked_without_a_driver(self, request_: Request, tmp_path: Path) -> None:
        def look(name: str) -> Facts:
            raise AssertionError("asked")

        found = examine(request_, driver=tmp_path / "none", look=look)
        assert found.findings == 0
        assert found.lines[-1].what == "no NVIDIA driver: training runs on the CPU"

    def test_gpus_are_counted(self, request_: Request, driver: Path) -> None:
        found = examine(request_, driver=driver, look=lambda name: Facts("cuda:0", 2, True))
        assert (found.findings, found.lines[-1].what) == (0, "2 CUDA devices")

    def test_a_driver_that_torch_cannot_use_is_a_finding(
        self, request_: Request, driver: Path
    ) -> None:
        def look(name: str) -> Facts:
            raise DeviceError("device 'cuda': this machine has no CUDA device; use auto or cpu")

        found = examine(request_, driver=driver, look=look)
        assert found.findings == 1
        assert "torch finds no GPU" in found.lines[-1].what

    def test_a_full_disk_is_a_finding(
        self, request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from optuna_study.actions import doctor

        monkeypatch.setattr(doctor, "LITTLE_SPACE", 10**18)
        found = examine(replace(request_, study=None), driver=tmp_path / "none")
        assert [line.step for line in found.lines if line.step] == [
            "Free some, or choose another folder with --artifacts."
        ]


@pytest.mark.slow
def test_doctor_loads_neither_torch_nor_optuna(worked: Any, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom optuna_study.cli.main import run\n"
        f"code = run(['doctor', 'small', '--storage', {worked.url!r}])\n"
        "heavy = {'torch', 'optuna', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0
    assert "loaded" not in done.stderr
