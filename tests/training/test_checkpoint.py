from __future__ import annotations

import errno
import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optuna_study.errors import DataError, DiskFullError, NotFoundError
from optuna_study.training import checkpoint

if TYPE_CHECKING:
    from pathlib import Path

STATE: dict[str, Any] = {"epoch": 3, "weights": torch.arange(4.0), "name": "x", "list": [1, 2.5]}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.pt"
    checkpoint.save(path, STATE)
    loaded = checkpoint.load(path)
    assert loaded["weights"].equal(STATE["weights"])
    assert {**loaded, "weights": None} == {**STATE, "weights": None}
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]


def test_a_failed_save_leaves_the_old_state(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.save(path, STATE)

    class Unsaveable:
        def __reduce__(self) -> str:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFullError, match="no space left"):
        checkpoint.save(path, {"epoch": 4, "broken": Unsaveable()})
    assert checkpoint.load(path)["epoch"] == 3
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_a_full_disk_within_torchs_writer_is_told(tmp_path: Path) -> None:
    """A limit on file sizes fails where a full disk does: in the write of the tensors' bytes."""
    resource = pytest.importorskip("resource", reason="no limits on file sizes here")
    signal = pytest.importorskip("signal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoint.save(tmp_path / "state.pt", {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"state\.pt: no such checkpoint"):
        checkpoint.load(tmp_path / "state.pt")
    with pytest.raises(NotFoundError, match="no such checkpoint"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match="or damaged"):
        checkpoint.load(path)


def test_truncated(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.save(path, STATE)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="or damaged"):
        checkpoint.load(path)


def test_something_else(tmp_path: Path) -> None:
    path = tmp_path / "tensor.pt"
    torch.save(torch.zeros(2), path)
    with pytest.raises(DataError, match="not a checkpoint"):
        checkpoint.load(path)


class Bomb:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def test_code_is_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "evil.pt", tmp_path / "executed"
    torch.save({**STATE, "bomb": Bomb(marker)}, path)
    with pytest.raises(DataError, match="not a checkpoint"):
        checkpoint.load(path)
    path.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(DataError, match="not a checkpoint"):
        checkpoint.load(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the bomb is live
    assert marker.exists()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files within a checkpoint."""
    path = tmp_path_factory.mktemp("parts") / "state.pt"
    checkpoint.save(path, STATE)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_bytes_it_is_read_or_refused(
    parts: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    name = next(name for name in parts if name.endswith("data.pkl"))
    content = bytearray(parts[name])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = tmp_path / "state.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for each, held in parts.items():
            archive.writestr(each, bytes(content) if each == name else held)
    try:
        assert isinstance(checkpoint.load(path), dict)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - some of these files are fine
