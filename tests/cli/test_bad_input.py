"""Bad input, each a one-line error with its exit code, and nothing written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.paths import Workspace

GOOD = """
title = "Shapes"

[data]
name = "rendered"
image_size = 32

[model]
width = 0.1

[train]
epochs = 2
batch_size = 16

[search]
trials = 3

[space]
activation = ["relu", "tanh"]
lr = {low = 1e-4, high = 0.1, log = true}

[[baselines]]
name = "plain"
settings = {activation = "relu", lr = 0.01}
"""

QUICK = GOOD.replace('"rendered"\nimage_size = 32', '"digits"\nimage_size = 16').replace(
    "trials = 3", "trials = 2\nconfirm = {top = 0}"
)


@dataclass(frozen=True)
class Case:
    """A study file made bad in one place, and what is said of it."""

    old: str
    new: str
    said: str


STUDY_FILES = {
    "unknown key": Case("title = ", "titel = ", "titel: unknown key, did you mean 'title'?"),
    "unknown setting": Case(
        "width = ", "widht = ", "model.widht: unknown key, did you mean 'width'?"
    ),
    "wrong type": Case("epochs = 2", 'epochs = "two"', "train.epochs:"),
    "out of range": Case("image_size = 32", "image_size = 0", "data.image_size:"),
    "unknown choice": Case('["relu", "tanh"]', '["rleu", "tanh"]', "did you mean 'relu'?"),
    "empty choices": Case('["relu", "tanh"]', "[]", "space.activation:"),
    "baseline outside the space": Case("lr = 0.01}", "lr = 0.5}", "baselines.plain"),
    "breakpoints out of order": Case(
        "lr = 0.01}", "lr = 0.01, breakpoints = [[2, 0.1], [1, 0.2]]}", "breakpoints"
    ),
    "no TOML": Case('title = "Shapes"', "title = ", "small.toml"),
}


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], list[str]]:
    """The names of all files below the working folder, the study files left out."""

    def names() -> list[str]:
        found = (path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
        return sorted(name for name in found if not name.startswith(("studies", "pictures")))

    return names


def _study_file(folder: Path, text: str) -> None:
    (folder / "studies").mkdir(exist_ok=True)
    (folder / "studies/small.toml").write_text(text, encoding="utf-8")


def _one_line(err: str) -> str:
    assert err.startswith("Error: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err.removeprefix("Error: ").rstrip("\n")


@pytest.mark.parametrize("name", STUDY_FILES)
def test_a_bad_study_file(
    name: str, cli: Callable[..., Any], tmp_path: Path, files: Callable[[], list[str]]
) -> None:
    case = STUDY_FILES[name]
    assert case.old in GOOD
    _study_file(tmp_path, GOOD.replace(case.old, case.new))
    for command in ("launch", "validate"):
        result = cli(command, "small")
        assert (result.code, result.out) == (2, "")
        assert case.said in _one_line(result.err)
    assert files() == []


def test_an_empty_space(
    cli: Callable[..., Any], tmp_path: Path, files: Callable[[], list[str]]
) -> None:
    before, _, rest = GOOD.partition("[space]")
    _study_file(tmp_path, before + "[space]\n\n" + rest[rest.index("[[baselines]]") :])
    result = cli("launch", "small")
    assert result.code == 2
    assert "space" in _one_line(result.err)
    assert files() == []


def test_several_problems_are_told_at_once(cli: Callable[..., Any], tmp_path: Path) -> None:
    _study_file(tmp_path, GOOD.replace("width", "widht").replace("epochs = 2", "epochs = 0"))
    result = cli("validate", "small")
    assert result.code == 2
    head, *problems = result.err.splitlines()
    assert head.endswith("small.toml has 2 problems:")
    assert [problem.split(":")[0].strip() for problem in sorted(problems)] == [
        "model.widht",
        "train.epochs",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["launch", "alexnet_pokeman"], 4, "did you mean 'alexnet_pokemon'?"),
        (["launch", "studies/none.toml"], 4, "studies/none.toml"),
        (["launch", "small", "--n-trials", "0"], 2, "--n-trials 0"),
        (["launch", "small", "--n-trials", "many"], 2, "'many' is not a valid integer"),
        (["launch", "small", "--timeout", "0"], 2, "--timeout 0"),
        (["launch", "small", "--n-trials", "99999999999"], 2, "1 to 1000000"),
        (["launch", "small", "--priority", "99999999999"], 2, "--priority 99999999999"),
        (["launch", "small", "--workers", "0"], 2, "--workers 0"),
        (["launch", "small", "--workers", "99999999999"], 2, "auto or a number from 1 to 1000"),
        (["worker", "--workers", "99999999999"], 2, "auto or a number from 1 to 1000"),
        (["launch", "small", "--workers", "some"], 2, "'some' is not a valid integer"),
        (["launch", "small", "--seed", "-1"], 2, "--seed -1"),
        (["launch", "small", "--profile", "gpu"], 2, "'gpu' is not one of"),
        (["launch", "small", "--storage", "mysql://u:hunter2@h/d"], 2, "mysql://u:***@h/d"),
        (["launch", "small", "--storage", "nonsense"], 2, "nonsense"),
        (["launch", "small", "--name", "../up"], 2, "'../up'"),
        (["list", "--storage", "sqlite:///mistyped.db"], 5, "mistyped.db"),
        (["show", "x", "--storage", "sqlite:///no/such/folder.db"], 5, "folder.db"),
        (["launch", "small", "--storage", "sqlite:///no/such/folder.db"], 2, "no/such: no such"),
        (["trials", "x", "--storage", "sqlite:///:memory:"], 2, "in memory"),
        (["train", "none.toml", "-o", "out"], 4, "none.toml"),
        (["predict", "none.pt", "picture.png"], 4, "none.pt"),
        (["show", "x", "--trial", "-1"], 2, "'--trial'"),
        (["dashboard", "--port", "70000"], 2, "'--port'"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    code: int,
    said: str,
    cli: Callable[..., Any],
    tmp_path: Path,
    files: Callable[[], list[str]],
) -> None:
    _study_file(tmp_path, GOOD)
    result = cli(*arguments)
    assert (result.code, result.out) == (code, "")
    assert said in _one_line(result.err)
    assert "hunter2" not in result.err
    assert files() == []


@pytest.mark.slow
def test_no_cuda_device(
    cli: Callable[..., Any], tmp_path: Path, files: Callable[[], list[str]]
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    _study_file(tmp_path, GOOD)
    result = cli("launch", "small", "--device", "cuda")
    assert result.code == 2
    assert "no CUDA device; use auto or cpu" in _one_line(result.err)
    assert files() == []


def _picture(path: Path, shade: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (shade, 255 - shade, 7 * shade % 256)).save(path)


def _missing(_: Path) -> str:
    return "pictures"


def _one_class(folder: Path) -> str:
    for shade in range(5):
        _picture(folder / f"cats/{shade}.png", 40 * shade)
    return "cats"


def _single_picture(folder: Path) -> str:
    _one_class(folder)
    _picture(folder / "dogs/0.png", 99)
    return "dogs"


def _unreadable(folder: Path) -> str:
    for name in ("cats/0.png", "cats/1.png", "dogs/0.png", "dogs/1.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no picture")
    return "pictures"


@pytest.mark.slow
@pytest.mark.parametrize("make", [_missing, _one_class, _single_picture, _unreadable])
def test_bad_pictures(
    make: Callable[[Path], str],
    cli: Callable[..., Any],
    tmp_path: Path,
    files: Callable[[], list[str]],
) -> None:
    _study_file(tmp_path, GOOD)
    said = make(tmp_path / "pictures")
    for path in (tmp_path / "pictures").rglob("*.png"):
        os.utime(path, (1e9, 1e9))  # old enough for its digest to be remembered
    result = cli("launch", "small", "--data", "pictures")
    assert (result.code, result.out) == (2, "")
    assert said in _one_line(result.err)
    assert files() == []


def test_an_unreachable_server_hides_the_password(
    cli: Callable[..., Any], tmp_path: Path, files: Callable[[], list[str]]
) -> None:
    _study_file(tmp_path, GOOD)
    url = "postgresql+psycopg://ann:hunter2@127.0.0.1:1/x?sslpassword=hunter3"
    for arguments in (["list"], ["launch", "small"], ["--debug", "trials", "x"]):
        result = cli(*arguments, "--storage", url)
        assert result.code == 5
        assert result.out == ""
        assert "hunter2" not in result.err
        assert "hunter3" not in result.err
        last = result.err.splitlines()[-1]
        assert "ann:***@127.0.0.1:1" in last
    assert files() == []


def test_a_store_of_a_newer_optuna(stored_study: Any, cli: Callable[..., Any]) -> None:
    with stored_study.store.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v9.0.0.a'")
    for command in (["list"], ["show", "small"]):
        result = cli(*command, "--storage", stored_study.url)
        assert result.code == 5
        assert "made by a newer Optuna" in _one_line(result.err)


def test_a_file_that_is_no_store(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("these are notes, long enough to be looked at as a file header\n" * 20)
    before = path.read_bytes()
    result = cli("list", "--storage", f"sqlite:///{path}")
    assert result.code == 5
    assert "notes.db" in _one_line(result.err)
    assert path.read_bytes() == before


def test_unknown_studies_and_variants(stored_study: Any, cli: Callable[..., Any]) -> None:
    result = cli("show", "smal", "--storage", stored_study.url)
    assert result.code == 4
    assert "did you mean 'small'?" in _one_line(result.err)


@contextmanager
def _mounted(folder: Path, *options: str) -> Iterator[None]:
    """A file system in memory on the folder, while the block runs; skips where that is refused."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode:
        pytest.skip(f"mounting is not possible here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_read_only_storage_folder(
    cli: Callable[..., Any], tmp_path: Path, digits_workspace: Workspace
) -> None:
    _study_file(tmp_path, QUICK)
    shutil.copytree(digits_workspace.root, tmp_path / "storage")
    with _mounted(tmp_path / "locked", "-o", "ro,size=1m"):
        for arguments in (
            ["launch", "small", "--artifacts", "locked/storage"],
            ["launch", "small", "--storage", f"sqlite:///{tmp_path}/locked/s.db"],
            ["export", "small", "-o", "locked/best.toml"],
        ):
            result = cli(*arguments)
            assert result.out == ""
            if arguments[0] == "launch":
                assert result.code == 2
                assert "cannot be written" in _one_line(result.err)
        assert list((tmp_path / "locked").iterdir()) == []


def test_a_store_on_a_read_only_folder_can_be_read(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    stored_study.run([0.5])
    stored_study.store.close()
    folder = tmp_path / "frozen"
    with _mounted(folder, "-o", "size=8m"):
        copy = sqlite3.connect(folder / "small.db")
        with closing(copy), closing(sqlite3.connect(tmp_path / "small.db")) as original:
            original.backup(copy)
            assert copy.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        result = cli("show", "small", "--storage", f"sqlite:///{folder}/small.db")
        assert (result.code, result.err) == (0, "")
        assert "Best: trial 0" in result.out


def test_an_export_on_a_full_disk(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    stored_study.run([0.5])
    with _mounted(tmp_path / "full", "-o", "size=16k"):
        (tmp_path / "full/filler").write_bytes(b"x" * 16_384)
        result = cli("export", "small", "-o", "full/best.toml", "--storage", stored_study.url)
        assert result.code == 1
        assert "no space left" in _one_line(result.err)
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["filler"]


@pytest.mark.slow
def test_a_disk_full_of_decoded_pictures(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Their file is written through memory, where a full disk would be a deadly signal."""
    _study_file(tmp_path, QUICK)
    with _mounted(tmp_path / "tiny", "-o", "size=64k"):
        result = cli("launch", "small", "--artifacts", "tiny")
        assert (result.code, result.out) == (1, "")
        assert "tiny: no space left" in _one_line(result.err)
        assert [path.name for path in (tmp_path / "tiny/cache").iterdir()] == []


@pytest.mark.slow
def test_a_disk_full_during_checkpoints_lets_trials_go_on(
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    digits_workspace: Workspace,
) -> None:
    """Checkpoints and models do not fit; the store, elsewhere, stays whole."""
    small = QUICK.replace("image_size = 16", "image_size = 16\nsubset = 0.1")
    small = small.replace("width = 0.1", "width = 0.5").replace("epochs = 2", "epochs = 4")
    _study_file(tmp_path, small.replace("batch_size = 16", "batch_size = 16\nthreads = 1"))
    store = f"sqlite:///{tmp_path}/s.db"
    with _mounted(tmp_path / "tiny", "-o", "size=3m"):
        shutil.copytree(digits_workspace.root, tmp_path / "tiny", dirs_exist_ok=True)
        monkeypatch.setenv("OPTUNA_STORAGE", store)
        done = cli("launch", "small", "--artifacts", "tiny")
        logs = "".join(path.read_text() for path in tmp_path.glob("tiny/studies/*/logs/*.log"))
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert "no checkpoint after epoch 1: " in logs
    assert "no space left" in logs
    connection = sqlite3.connect(tmp_path / "s.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    states = [row[0] for row in connection.execute("SELECT state FROM trials")]
    assert len(states) == 3
    assert set(states) <= {"COMPLETE", "PRUNED"}
    connection.close()


def test_the_current_folder_is_gone(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    code = "import os; os.rmdir(os.getcwd()); from optuna_study.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "list"], cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "Error: the current folder is no longer there; change to another with `cd`\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_stdout_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "optuna_study", "data", "list"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: stdout: no space left, so what was printed is not whole\n"


def test_a_closed_stdout_is_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m optuna_study data list >&-', sys.executable],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_line_ends_of_windows_behind_values_of_the_environment(
    stored_study: Any, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", f"{stored_study.url}\r")
    assert "small" in cli("list").out


def test_a_password_on_the_command_line_is_warned_of_and_hidden_in_its_place(
    cli: Callable[..., Any],
) -> None:
    result = cli("list", "--storage", "postgresql://postgres:postgres@127.0.0.1:1/postgres")
    warning, error = result.err.splitlines()[:2]
    assert warning.startswith("Warning: whoever lists this machine's processes sees the password")
    assert "postgresql://postgres:***@127.0.0.1:1/postgres" in error
    assert "postgres:postgres" not in result.err
