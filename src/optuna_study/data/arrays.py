"""Reads pictures kept as arrays in one .npz file: MNIST, CIFAR-10 and files of one's own.

Such a file holds `x_train`, bytes of shape (N, side, side) or (N, side, side, channels), and
`y_train`, whole numbers of shape (N,) or (N, 1); `x_test` and `y_test` where the data set has a
test part of its own, which is then the part that is held out. Training pictures that stand in the
test part, too, are left out; other copies stay on one side of the split.
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from optuna_study.config.catalogue import import_reference
from optuna_study.data.availability import RAW_SETS, is_here
from optuna_study.data.cache import load_or_build
from optuna_study.data.folder.digests import file_digests, index_name
from optuna_study.data.pictures import (
    Pictures,
    Request,
    content_fingerprint,
    require_learnable,
    resize,
)
from optuna_study.data.split import TEST, TRAINING
from optuna_study.errors import DataError
from optuna_study.paths import untouched_by_bad_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


MOST_CLASSES = 10_000
CHANNELS = (1, 3)
READ_RAW = "optuna_study.training.public_sets:read_raw"
"""By its name, since torchvision loads torch, which nothing here does."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Part:
    """The training or the test part of a file: (N, side, side, channels) bytes and labels."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read_arrays(path: Path, request: Request, names: Sequence[str] = ()) -> Pictures:
    """The pictures of a file at the size the model sees, as they fill their frame.

    `names` are those of the labels from 0 on; a file with other labels has numbers for names.

    Raises:
        DataError: no such file, or not one that holds pictures to learn from.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error

    return _cached(path, lambda: _load(path), digest, request, names)


def read_raw_arrays(name: str, root: Path, request: Request) -> Pictures:
    """The pictures of a data set in torchvision's layout below `root`, as of an .npz file of it.

    Raises:
        DataError: files are missing or damaged.
    """
    folder = root / RAW_SETS[name].folder
    files = sorted(path for path in folder.iterdir() if path.is_file())
    index = request.workspace.cache(index_name(folder))
    with untouched_by_bad_data(index):
        digest = hashlib.sha256("".join(file_digests(files, index)).encode()).hexdigest()

        def load() -> dict[str, NDArray[np.generic]]:
            arrays: dict[str, NDArray[np.generic]] = import_reference(READ_RAW)(name, root)
            return arrays

        return _cached(folder, load, digest, request, class_names(name))


def read_named_arrays(name: str, request: Request) -> Pictures:
    """The pictures of a data set that lies in the workspace, as a file or as torchvision's.

    Raises:
        DataError: it is not there, or unusable.
    """
    path = request.workspace.arrays(name)
    if path.is_file():
        return read_arrays(path, request, class_names(name))
    if is_here(name, request.workspace):
        return read_raw_arrays(name, path.parent, request)
    raise DataError(
        f"data set '{name}': no {path}",
        f"`optuna-study data fetch {name}` downloads it, --data takes a file or folder of it",
    )


def class_names(name: str) -> Sequence[str]:
    """The names of the labels of a data set that comes as arrays, from 0 on."""
    names: Sequence[str] = import_reference(f"optuna_study.data.datasets.{name}:NAMES")
    return names


def _cached(
    where: Path,
    load: Callable[[], dict[str, NDArray[np.generic]]],
    digest: str,
    request: Request,
    names: Sequence[str],
) -> Pictures:
    def build(_scratch: Path) -> Pictures:
        log.info("reading %s, this once", where)
        return _assemble(where, load(), request.image_size, names)

    named = hashlib.sha256("/".join(names).encode()).hexdigest()[:8]
    key = f"arrays-{digest[:32]}-{named}-{request.image_size}"
    return load_or_build(key, request.workspace, build)


def _assemble(
    path: Path, arrays: dict[str, NDArray[np.generic]], size: int, names: Sequence[str]
) -> Pictures:
    train = _part(path, arrays, "train")
    test = _part(path, arrays, "test") if {"x_test", "y_test"} & arrays.keys() else None
    notes: tuple[str, ...] = ()
    if test is not None:
        if test.images.shape[1:] != train.images.shape[1:]:
            raise DataError(f"{path}: pictures of x_train and x_test differ in size or channels")
        train, notes = _drop_tested(train, test)
    parts = [train] if test is None else [train, test]
    images = np.concatenate([part.images for part in parts])
    numbers, labels = np.unique(
        np.concatenate([part.labels for part in parts]), return_inverse=True
    )
    known = numbers.tolist() == list(range(len(names)))
    classes = tuple(names) if known else tuple(str(number) for number in numbers)
    groups = _identical(images)
    count = len(train.labels)
    require_learnable(labels[:count], groups[:count], classes, path)
    held_out = len(labels) - count
    given: NDArray[np.int8] = np.full(len(labels), TRAINING, dtype=np.int8)
    given[count:] = TEST
    labels = labels.astype(np.int64)
    content = content_fingerprint(images, labels, classes)
    return Pictures(
        images=resize(images, size),
        labels=labels,
        groups=groups,
        classes=classes,
        fingerprint=hashlib.sha256(f"{content}/{held_out}".encode()).hexdigest(),
        notes=notes,
        parts=given,
    )


def _load(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a file that are asked for, whatever else it holds."""
    wanted = ("x_train", "y_train", "x_test", "y_test")
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(
                    f"{path}: holds one array, not several", "save it with numpy.savez"
                )
            # What is no array in the archive comes as bytes; it becomes one of a strange type.
            return {name: np.asarray(archive[name]) for name in wanted if name in archive.files}
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no readable .npz file ({_first_line(error)})") from error
    except (NotImplementedError, zlib.error) as error:
        raise DataError(f"{path}: damaged, or packed otherwise ({_first_line(error)})") from error
    except MemoryError as error:
        raise DataError(f"{path}: its arrays do not fit into memory") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _part(path: Path, arrays: dict[str, NDArray[np.generic]], side: str) -> _Part:
    pictures, answers = f"x_{side}", f"y_{side}"
    for name in (pictures, answers):
        if name not in arrays:
            raise DataError(
                f"{path}: holds no array '{name}'",
                "it needs x_train and y_train, and may have x_test and y_test",
            )
    images, labels = arrays[pictures], arrays[answers]
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] not in CHANNELS:
        raise DataError(
            f"{path}: {pictures} has the shape {arrays[pictures].shape}",
            "it must be (N, side, side), or with 1 or 3 channels (N, side, side, channels)",
        )
    if images.dtype != np.uint8:
        raise DataError(f"{path}: {pictures} holds {images.dtype}", "it must hold bytes (uint8)")
    return _Part(images.astype(np.uint8), _labels(path, answers, labels, len(images)))


def _labels(path: Path, name: str, labels: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    if labels.shape not in ((count,), (count, 1)) or count == 0:
        raise DataError(
            f"{path}: {name} has the shape {labels.shape} for {count} pictures",
            "give one label for each of at least one picture",
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: {name} holds {labels.dtype}", "labels must be whole numbers")
    flat = labels.reshape(count)
    # Compared before they are converted: a large unsigned number would become a negative one.
    if int(flat.min()) < 0 or int(flat.max()) >= MOST_CLASSES:
        raise DataError(
            f"{path}: {name} holds labels from {int(flat.min())} to {int(flat.max())}",
            f"they must lie within 0 to {MOST_CLASSES - 1}",
        )
    return flat.astype(np.int64)


def _drop_tested(train: _Part, test: _Part) -> tuple[_Part, tuple[str, ...]]:
    """The training pictures that are not in the test part, and a sentence where some are."""
    known = set(_digests(test.images))
    kept = np.array([digest not in known for digest in _digests(train.images)], dtype=bool)
    left = int((~kept).sum())
    if not left:
        return train, ()
    sentence = f"training pictures that stand in the test part, too, were left out: {left}"
    return replace(train, images=train.images[kept], labels=train.labels[kept]), (sentence,)


def _identical(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A number for each picture, the same for those with the same pixels."""
    numbers: dict[bytes, int] = {}
    found = [numbers.setdefault(digest, len(numbers)) for digest in _digests(images)]
    return np.array(found, dtype=np.int64)


def _digests(images: NDArray[np.uint8]) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
