"""Where every file of this project lies; nothing else joins these names.

A workspace is the folder given by `--artifacts`, by the environment's OPTUNA_STUDY_ARTIFACTS, or
`./storage`. Trials are keyed by the study's own UUID and the trial's number, since SQLite gives a
deleted study's ids to the next one. Some of the names come from a store that somebody else may
have written: each becomes one file or folder of the workspace, or is refused.
"""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.errors import DataError, DiskFullError, FolderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

STORAGE_VARIABLE = "OPTUNA_STORAGE"  # Optuna's own name for it
ARTIFACTS_VARIABLE = "OPTUNA_STUDY_ARTIFACTS"
MODEL = "model.pt"  # what `train -o` writes; the others are of a folder that hands a model out
WEIGHTS, PROGRAM, ONNX = "model.safetensors", "model.pt2", "model.onnx"
CONFIG, CLASSES, PREPROCESSING = "config.toml", "classes.json", "preprocessing.json"
FOLDER_OPTION = f"--artifacts or {ARTIFACTS_VARIABLE}"


@dataclass(frozen=True)
class Workspace:
    """The folder of everything a study leaves on disk, and the names inside it.

    Raises:
        UsageError: each method, for a name that cannot be one of a single file.
    """

    root: Path

    @classmethod
    def locate(cls, folder: str | Path | None = None) -> Workspace:
        """The workspace a command works in: the option, else the environment, else `./storage`."""
        named = folder or os.environ.get(ARTIFACTS_VARIABLE) or "storage"
        return cls((given_path(named) if isinstance(named, str) else named).absolute())

    @property
    def database(self) -> Path:
        """The default SQLite store."""
        return self.root / "studies.db"

    @property
    def artifacts(self) -> Path:
        """Optuna's artifact store: pictures and configurations that the dashboard shows."""
        return self.root / "artifacts"

    def artifact(self, artifact_id: str) -> Path:
        """One file of Optuna's artifact store."""
        return self.artifacts / file_name(artifact_id)

    def pictures(self, name: str) -> Path:
        """Fetched pictures of a data set, a folder a class."""
        return self.root / "data" / file_name(name)

    def arrays(self, name: str) -> Path:
        """The file of a data set that comes as one file of arrays."""
        return self.root / "data" / f"{file_name(name)}.npz"

    def cache(self, key: str) -> Path:
        """Decoded pictures, by a key of their content and size."""
        return self.root / "cache" / file_name(key)

    def study(self, uuid: str) -> Path:
        """Everything of one study but its artifacts: checkpoints, models and logs."""
        return self.root / "studies" / file_name(uuid)

    def checkpoint(self, uuid: str, number: int, claim: int | None) -> Path:
        """The resumable checkpoint that the owner of a trial's first, second, ... claim writes.

        No two owners write one file: one of them may have lost the trial and not know it yet.
        None is for a checkpoint of version 0.1.
        """
        return self.study(uuid) / "checkpoints" / _trial_file(number, claim)

    def kept_model(self, uuid: str, number: int, claim: int | None) -> Path:
        """The trained model of one of the best few trials, by the claim that ended it."""
        return self.study(uuid) / "models" / _trial_file(number, claim)

    def log(self, uuid: str, worker: str) -> Path:
        """The log of one worker."""
        return self.study(uuid) / "logs" / f"{file_name(worker)}.log"

    def log_index(self, log: Path) -> Path:
        """Where in a log its worker's trials begin: a JSON object a line."""
        return log.with_suffix(".jsonl")

    def lock(self, name: str) -> Path:
        """A file that one process at a time holds."""
        return self.root / "locks" / f"{file_name(name)}.lock"

    def require_writable(self, option: str = FOLDER_OPTION) -> None:
        """Create the workspace, which was given by `option`, and prove that it can be written.

        Raises:
            FolderError: it cannot.
            DiskFullError: the disk is full.
        """
        with writing(self.root, option):
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as probe:
                probe.write(b"x" * 4096)


def _trial_file(number: int, claim: int | None) -> str:
    return f"trial-{number:05d}.pt" if claim is None else f"trial-{number:05d}-{claim}.pt"


_LONGEST_NAME = 200  # bytes, where file systems take 255: endings and a written file's mark follow


def given_path(text: str, below: Path | None = None) -> Path:
    """The path that somebody wrote, `~` for their home; a relative one is below a folder.

    Blanks and a carriage return behind it are left out where that, and only that, is there.
    """
    folder = below or Path()
    # pathlib's own calls raise where there is no home, or no file can have such a name.
    as_written = folder / os.path.expanduser(text)  # noqa: PTH111
    tidy = folder / os.path.expanduser(text.rstrip())  # noqa: PTH111
    is_tidy = as_written.name.strip() and not os.path.exists(as_written)  # noqa: PTH110
    return tidy if is_tidy and os.path.exists(tidy) else as_written  # noqa: PTH110


def file_name(text: str) -> str:
    """The text, when it is the name of one file and shows as what it is.

    Raises:
        UsageError: it is empty, too long, leads elsewhere or holds what does not print.

    >>> file_name("trial-1"), file_name("größe@cpu")
    ('trial-1', 'größe@cpu')
    """
    # What does not print includes the zero byte, line ends, marks that reverse the reading order
    # and the halves of characters that no file system can store.
    fits = text.isprintable() and len(text.encode(errors="replace")) <= _LONGEST_NAME
    if not fits or text in ("", ".", "..") or {"/", "\\", os.sep} & set(text):
        shown = repr(text if len(text) <= _LONGEST_NAME else f"{text[:40]}...")
        raise UsageError(
            f"{shown} cannot be the name of a file: at most {_LONGEST_NAME} bytes that print, "
            "no slashes"
        )
    return text


_REFUSALS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


@contextmanager
def writing(target: Path, option: str = FOLDER_OPTION) -> Iterator[None]:
    """Turn the system's refusals to write below `target` into errors of ours.

    They advise another folder by the name of the `option` that leads to this one.

    Raises:
        FolderError: a folder that is read-only, forbidden or cannot be made, or a file in its
            place.
        DiskFullError: no space left.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"{target}: no space left; free some or choose another folder with {option}"
            ) from error
        if error.errno in _REFUSALS:
            raise FolderError(
                f"{target}: cannot be written ({error.strerror}); choose another folder with "
                f"{option}"
            ) from error
        raise


@contextmanager
def untouched_by_bad_data(*files: Path) -> Iterator[None]:
    """Take away `files`, and folders made for them, when the block finds the data unusable.

    What was there before stays.

    Raises:
        DataError: what the block raised.
    """
    new = {path for file in files for path in (file, *file.parents) if not path.exists()}
    try:
        yield
    except DataError:
        for path in sorted(new, key=lambda each: len(each.parts), reverse=True):
            with suppress(OSError):  # never made, or somebody else's files are in it
                path.rmdir() if path.is_dir() else path.unlink()
        raise


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """A temporary path next to `target` that takes its place when the block ends well.

    So nobody ever reads half a file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    beside.touch(exist_ok=False)  # unlike mkstemp's, readable by whom the umask says
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
