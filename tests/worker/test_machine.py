from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from optuna_study.errors import StoreError
from optuna_study.text import Advice
from optuna_study.worker import machine
from optuna_study.worker.messages import Message, MessageKind, error_message, rebuilt

if TYPE_CHECKING:
    from pathlib import Path


def test_a_containers_share_of_the_cores_counts(tmp_path: Path) -> None:
    free = machine.cores(tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cores(tmp_path) == free >= 1


def test_there_is_always_one_worker() -> None:
    assert machine.cpu_workers(16, 2, None) == 1
    assert machine.cpu_workers(1, 8, 100_000_000) == 1
    assert machine.cpu_workers(2, 8, 64_000_000_000) == 4


def test_a_driver_s_file_tells_of_a_gpu(tmp_path: Path) -> None:
    assert not machine.may_have_gpu(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert machine.may_have_gpu(tmp_path)


def test_an_error_keeps_its_class_over_the_pipe() -> None:
    error = rebuilt(Message(MessageKind.ERROR, "data/: has one class", "DataError"))
    assert (type(error).__name__, str(error), error.exit_code) == (
        "DataError",
        "data/: has one class",
        2,
    )
    advised = StoreError("a.db: no such file", Advice("make it with ", ["launch"]))
    error = rebuilt(pickle.loads(pickle.dumps(error_message(advised))))
    assert str(error) == str(advised)
    assert error.at(" --storage URL") == (
        "a.db: no such file; make it with `optuna-study launch --storage URL`"
    )
    for name in ("StudyFileError", "InterruptedBySignalError", "Nonsense", "os"):
        error = rebuilt(Message(MessageKind.ERROR, "said; do", name))
        assert (str(error), error.at(" --storage URL")) == ("said; do", "said; do")
