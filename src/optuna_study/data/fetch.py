"""Downloads public pictures, each file checked against a pinned sum; goes on after a break.

What has come lies in a folder beside the target and is renamed into place when it is complete, so
a data set is there as a whole or not at all. Manifests (`manifests/NAME.tsv.gz`: path, bytes,
sha256) say which files belong to it; nothing else is taken out of an archive. No path leads out of
the folder, and whoever sends more bytes than are listed is not listened to.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import re
import shutil
import tarfile
import zlib
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from optuna_study.errors import DataError, UsageError
from optuna_study.paths import Workspace, file_name, writing, written_beside
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

CHUNK = 1 << 16
TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""

RETRIES = 2
_ROW = re.compile(r"(?P<path>[^\t]+)\t(?P<size>[0-9]{1,15})\t(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, and what the person who fetches it has to know.

    `archive` is the name, below `url`, of the one file that holds all pictures, in the folder
    `inside`; without it each picture is a file below `url`. `size` is what will be downloaded, in
    bytes.
    """

    name: str
    url: str
    size: int
    licence: str
    left_out: str
    archive: str | None = None
    inside: str = ""


SOURCES = {
    "pokemon": Source(
        name="pokemon",
        url="https://raw.githubusercontent.com/Mufas61/pokemon-recognition/"
        "aa2222a0fcfe417039f8c0c709b55f6ff0b31307/dataset/",
        size=365_763_885,
        licence="These pictures carry no licence at all: whoever drew them has given nobody "
        "leave to use them, so keep them to yourself and pass none on.",
        left_out="One of the 1,168 files, squirtle/00000036.jpg, is left out: its checksum is "
        "not known.",
    ),
    "flower": Source(
        name="flower",
        url="https://storage.googleapis.com/download.tensorflow.org/example_images/",
        size=228_813_984,
        licence="CC-BY 2.0, by their photographers, whom LICENSE.txt beside the pictures names; "
        "credit them in whatever you publish.",
        left_out="187 of the 3,670 photographs are left out: their checksums are not known.",
        archive="flower_photos.tgz",
        inside="flower_photos",
    ),
}


@dataclass(frozen=True)
class Listed:
    """A file of a data set: its path below the set's folder, its size in bytes, its sha256."""

    path: str
    size: int
    digest: str


def source(name: str, url: str | None = None, others: Iterable[str] = ()) -> Source:
    """The source of a data set, or a mirror of it at `url`; `others` can be fetched elsewhere.

    Raises:
        DataError: nothing of that name can be fetched.
    """
    if name not in SOURCES:
        raise DataError(f"'{name}': nothing to fetch, {did_you_mean(name, [*SOURCES, *others])}")
    return replace(SOURCES[name], url=url) if url else SOURCES[name]


def require_fetched(name: str, workspace: Workspace) -> Path:
    """The folder of a data set that has been fetched.

    Raises:
        DataError: it has not.
    """
    folder = workspace.pictures(name)
    if not folder.is_dir():
        raise DataError(
            f"data set '{name}': not here",
            f"'optuna-study data fetch {name}' downloads it, "
            "--data DIR takes pictures of your own",
        )
    return folder


def manifest(name: str, table: Path | None = None) -> tuple[Listed, ...]:
    """The files of a data set that can be fetched, by the table that is shipped or by another.

    Raises:
        DataError: the table cannot be one.
    """
    if table is not None:
        return parse_manifest(table.read_text(encoding="utf-8", errors="replace"), str(table))
    packed = resources.files("optuna_study.data") / "manifests" / f"{name}.tsv.gz"
    return parse_manifest(gzip.decompress(packed.read_bytes()).decode())


def parse_manifest(text: str, where: str = "manifest") -> tuple[Listed, ...]:
    """The files that a table lists: tab-separated path, bytes and sha256 below a header.

    Raises:
        DataError: a row that is none, or a path that is there twice or leads out of the folder.
    """
    files: dict[str, Listed] = {}
    for number, line in enumerate(text.splitlines()[1:], 2):
        row = _ROW.fullmatch(line)
        try:
            if row is None:
                raise DataError("is not a path, bytes and a sha256 with tabs between them")
            for part in row["path"].split("/"):
                file_name(part)
            if row["path"] in files:
                raise DataError(f"has {row['path']!r} for a second time")
        except UsageError as error:
            raise DataError(f"{where}: line {number}: {error}") from error
        files[row["path"]] = Listed(row["path"], int(row["size"]), row["digest"])
    return tuple(files.values())


def fetch(
    origin: Source,
    files: Iterable[Listed],
    workspace: Workspace,
    advance: Callable[[int], object] = lambda _: None,
    retries: int = RETRIES,
) -> Path:
    """Download a data set into the workspace; the folder it lies in.

    `advance` is told of every portion of bytes; a negative one takes back what has to come again.

    Raises:
        DataError: the source cannot be reached, or sends something else than the manifest lists.
        FolderError: the workspace cannot be written.
        DiskFullError: no space left in it.
    """
    target = workspace.pictures(origin.name)
    partial = target.with_name(f".{origin.name}-partial")
    lock = workspace.lock(f"fetch-{origin.name}")
    with writing(workspace.root):
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not target.is_dir():
                download = _Download(partial / "parts", advance)
                pictures = partial / "pictures"
                pictures.mkdir(parents=True, exist_ok=True)
                if origin.archive:
                    _from_archive(origin, tuple(files), pictures, download, retries)
                else:
                    _one_by_one(origin, tuple(files), pictures, download, retries)
                pictures.replace(target)
                shutil.rmtree(partial)
    return target


def _one_by_one(
    origin: Source, files: tuple[Listed, ...], folder: Path, download: _Download, retries: int
) -> None:
    registry = {file.path: f"sha256:{file.digest}" for file in files}
    pond = _pond(origin, folder, registry, retries)
    for file in files:
        before = download.told
        download.most = file.size
        _get(pond, file.path, download, origin)
        # A file that came earlier is not downloaded again.
        download.tell(file.size - (download.told - before))


def _from_archive(
    origin: Source, files: tuple[Listed, ...], folder: Path, download: _Download, retries: int
) -> None:
    name = str(origin.archive)
    archive = folder.parent / name
    download.most = 2 * origin.size  # its sum is not known, and a mirror may have packed it anew
    _get(_pond(origin, folder.parent, {name: None}, retries), name, download, origin)
    try:
        found = _unpack(archive, origin.inside, {file.path: file for file in files}, folder)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        archive.unlink()
        raise DataError(
            f"{origin.url}{name}: a damaged archive ({error}), removed", "run the command again"
        ) from error
    except DataError:
        archive.unlink()
        raise
    missing = [file.path for file in files if file.path not in found]
    if missing:
        archive.unlink()
        raise DataError(
            f"{origin.url}{name}: lacks {len(missing)} of its {len(files)} files, the first "
            f"'{missing[0]}'",
            "the archive has changed at its source",
        )


def _unpack(archive: Path, inside: str, listed: dict[str, Listed], folder: Path) -> set[str]:
    """Write the listed files of an archive; its own paths are only compared, never followed."""
    found = set()
    most = 2 * (archive.stat().st_size + sum(file.size for file in listed.values()))
    with tarfile.open(archive, "r:gz") as packed:
        for member in packed:
            if member.offset_data + member.size > most:
                raise DataError(
                    f"{archive.name}: holds more than {most:,} bytes, far more than its pictures",
                    "the archive was removed, and its source may have changed",
                )
            file = listed.get(member.name.removeprefix("./").removeprefix(f"{inside}/"))
            if file is None or not member.isfile():
                continue
            stream = packed.extractfile(member)
            data = stream.read() if stream and member.size == file.size else b""
            if hashlib.sha256(data).hexdigest() != file.digest:
                raise DataError(
                    f"{file.path}: its checksum differs from the pinned one",
                    f"the archive {archive.name} was removed, run the command again",
                )
            with written_beside(folder / file.path) as beside:
                beside.write_bytes(data)
            found.add(file.path)
    return found


def _pond(origin: Source, folder: Path, registry: dict[str, Any], retries: int) -> Any:
    import pooch

    # It would announce every file.
    pooch.get_logger().setLevel(logging.ERROR)
    base = f"{origin.url.rstrip('/')}/"
    return pooch.create(folder, base, registry=registry, retry_if_failed=retries)


def _get(pond: Any, name: str, download: _Download, origin: Source) -> None:
    """Have one file, whole and checked."""
    import requests

    try:
        pond.fetch(name, downloader=download)
    except requests.RequestException as error:
        raise DataError(
            f"{pond.get_url(name)}: cannot be downloaded ({_reason(error)})",
            "what has come is kept, run the command again to go on",
        ) from error
    except ValueError as error:
        raise DataError(
            f"{name}: what {origin.url} sends differs from the pinned checksum",
            "nothing of it was kept, and the source may have changed",
        ) from error


def _reason(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return (str(cause) or type(cause).__name__).splitlines()[0]


class _Download:
    """A downloader for pooch that goes on where an earlier one was interrupted.

    `most` is how many bytes the file to come may have.
    """

    def __init__(self, parts: Path, advance: Callable[[int], object]) -> None:
        import requests

        self.parts = parts
        self.advance = advance
        self.told = 0
        self.most = 0
        self.session = requests.Session()

    def tell(self, count: int) -> None:
        if count:
            self.told += count
            self.advance(count)

    def __call__(self, url: str, output_file: str, pond: object) -> None:
        """Download `url` into `output_file`, by way of a part that outlives an interruption."""
        self.parts.mkdir(parents=True, exist_ok=True)
        part = self.parts / hashlib.sha256(url.encode()).hexdigest()[:32]
        have = part.stat().st_size if part.exists() else 0
        before = self.told
        try:
            if not self._continue(url, part, have):
                part.unlink()
                self._continue(url, part, 0)
        except BaseException:
            # Told again by the next attempt, which begins with what the part holds.
            self.tell(before - self.told)
            raise
        shutil.move(part, output_file)

    def _continue(self, url: str, part: Path, have: int) -> bool:
        """Get what is missing of a file; False where the part cannot be the file's beginning."""
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:
                return False
            response.raise_for_status()
            goes_on = response.status_code == 206
            have = have if goes_on else 0
            announced = response.headers.get("Content-Length", "")
            self._require(url, part, have + int(announced) if announced.isdecimal() else have)
            with part.open("ab" if goes_on else "wb") as file:
                self.tell(have)
                for chunk in response.iter_content(CHUNK):
                    have += len(chunk)
                    self._require(url, part, have)
                    file.write(chunk)
                    self.tell(len(chunk))
        return True

    def _require(self, url: str, part: Path, size: int) -> None:
        if size > self.most:
            part.unlink(missing_ok=True)
            raise DataError(
                f"{url}: sends more than the {self.most:,} bytes that it may have",
                "nothing of it was kept, and the source may have changed",
            )
