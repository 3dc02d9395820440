from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import optuna_study
from optuna_study.data.fetch import (
    CHUNK,
    SOURCES,
    Listed,
    Source,
    fetch,
    manifest,
    parse_manifest,
    require_fetched,
    source,
)
from optuna_study.errors import DataError, FolderError
from optuna_study.paths import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURES = Path(
    os.environ.get("OPTUNA_STUDY_TEST_PICTURES")
    or Path(__file__).parents[2].parent / "shared" / "datasets"
)
CONTENT = {
    "cat/1.jpg": b"first cat " * 9000,
    "cat/2.jpg": b"second cat",
    "dog/1.jpg": b"first dog " * 20_000,
}


@dataclass
class Server:
    """A web server on this machine that answers ranges, and may break off or lie."""

    files: dict[str, bytes]
    url: str = ""
    cut_after: int | None = None
    ranges: bool = True
    lengths: bool = True
    silent: threading.Event | None = None
    sent: int = 0
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server(dict(CONTENT))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path.lstrip("/"), self.headers.get("Range")
            served.requests.append((name, wanted))
            if name not in served.files:
                self.send_error(404)
                return
            data = served.files[name]
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if wanted and served.ranges:
                if start >= len(data):
                    self.send_error(416)
                    return
                data = data[start:]
                self.send_response(206)
            else:
                self.send_response(200)
            if served.lengths:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            served.sent = 0
            with contextlib.suppress(ConnectionError):
                for start in range(0, len(data[: served.cut_after]), CHUNK):
                    served.sent += self.wfile.write(
                        data[: served.cut_after][start : start + CHUNK]
                    )
            if served.silent is not None:
                served.silent.wait(30)
            if served.cut_after is not None or not served.lengths:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{listener.server_port}/"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "storage")


def listed(content: dict[str, bytes] = CONTENT) -> tuple[Listed, ...]:
    return tuple(
        Listed(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in content.items()
    )


def single_files(server: Server) -> Source:
    return Source("pets", server.url, 290_010, "free", "nothing is left out")


def packed(content: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def one_archive(server: Server, content: dict[str, bytes] | None = None) -> Source:
    inside = {f"pets/{name}": data for name, data in CONTENT.items()}
    # Bytes that do not compress, so that the archive is worth interrupting.
    inside["pets/unlisted.bin"] = os.urandom(300_000)
    server.files = {"pets.tgz": packed(inside if content is None else content)}
    size = len(server.files["pets.tgz"])
    return Source("pets", server.url, size, "free", "nothing", "pets.tgz", "pets")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- files one by one ------------------------------------------------------------------------


def test_all_files_come(server: Server, workspace: Workspace) -> None:
    told: list[int] = []
    folder = fetch(single_files(server), listed(), workspace, told.append)
    assert folder == workspace.pictures("pets") == require_fetched("pets", workspace)
    assert contents(folder) == CONTENT
    assert sum(told) == sum(len(data) for data in CONTENT.values())
    # Nothing but the data set remains.
    assert [path.name for path in folder.parent.iterdir()] == ["pets"]


def test_what_is_here_is_not_fetched_again(server: Server, workspace: Workspace) -> None:
    fetch(single_files(server), listed(), workspace)
    server.requests.clear()
    fetch(single_files(server), listed(), workspace)
    assert server.requests == []


def test_a_cut_connection_is_gone_on_from(server: Server, workspace: Workspace) -> None:
    server.cut_after = 100_000
    with pytest.raises(DataError, match=r"dog/1\.jpg: cannot be downloaded .* run the command"):
        fetch(single_files(server), listed(), workspace, retries=0)
    with pytest.raises(DataError, match="data fetch pets"):
        require_fetched("pets", workspace)
    server.cut_after = None
    server.requests.clear()
    told: list[int] = []
    assert contents(fetch(single_files(server), listed(), workspace, told.append)) == CONTENT
    assert server.requests == [("dog/1.jpg", f"bytes={CHUNK}-")]
    assert sum(told) == sum(len(data) for data in CONTENT.values())


@pytest.mark.parametrize("position", [1, CHUNK - 1, CHUNK, CHUNK + 1, 199_999])
def test_any_byte_may_be_the_last(server: Server, workspace: Workspace, position: int) -> None:
    server.cut_after = position
    origin = single_files(server)
    only = listed({"dog/1.jpg": CONTENT["dog/1.jpg"]})
    with pytest.raises(DataError):
        fetch(origin, only, workspace, retries=0)
    server.cut_after = None
    server.requests.clear()
    folder = fetch(origin, only, workspace, retries=0)
    assert contents(folder) == {"dog/1.jpg": CONTENT["dog/1.jpg"]}
    # What came of the last, broken portion is asked for again.
    whole = position - position % CHUNK
    assert server.requests == [("dog/1.jpg", f"bytes={whole}-" if whole else None)]


def test_an_interruption_by_the_person_is_gone_on_from(
    server: Server, workspace: Workspace
) -> None:
    def interrupt(count: int) -> None:
        if count > 0 and len(server.requests) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(single_files(server), listed(), workspace, interrupt)
    server.requests.clear()
    assert contents(fetch(single_files(server), listed(), workspace)) == CONTENT
    assert [name for name, _ in server.requests] == ["dog/1.jpg"]


def test_a_server_without_ranges_begins_anew(server: Server, workspace: Workspace) -> None:
    server.cut_after, server.ranges = 70_000, False
    with pytest.raises(DataError):
        fetch(single_files(server), listed(), workspace, retries=0)
    server.cut_after = None
    told: list[int] = []
    assert contents(fetch(single_files(server), listed(), workspace, told.append)) == CONTENT
    assert sum(told) == sum(len(data) for data in CONTENT.values())


def test_a_part_longer_than_the_file_begins_anew(server: Server, workspace: Workspace) -> None:
    server.cut_after = 150_000
    with pytest.raises(DataError):
        fetch(single_files(server), listed(), workspace, retries=0)
    parts = next(workspace.root.rglob("parts"))
    (part,) = parts.iterdir()
    part.write_bytes(bytes(200_000))
    server.cut_after = None
    assert contents(fetch(single_files(server), listed(), workspace)) == CONTENT


def test_a_corrupted_file_is_named_and_not_kept(server: Server, workspace: Workspace) -> None:
    server.files["cat/2.jpg"] = b"second dog"
    with pytest.raises(DataError, match=r"cat/2\.jpg: .* differs from the pinned checksum"):
        fetch(single_files(server), listed(), workspace, retries=0)
    assert not workspace.pictures("pets").exists()
    kept = [path.name for path in workspace.root.rglob("*") if path.is_file()]
    assert sorted(name for name in kept if not name.endswith(".lock")) == ["1.jpg"]
    server.files["cat/2.jpg"] = CONTENT["cat/2.jpg"]
    assert contents(fetch(single_files(server), listed(), workspace)) == CONTENT


@pytest.mark.parametrize("told", [True, False])
def test_a_server_that_sends_too_much_is_cut_short(
    server: Server, workspace: Workspace, told: bool
) -> None:
    server.files["cat/2.jpg"] = bytes(50_000_000)
    server.lengths = told
    with pytest.raises(DataError, match=r"cat/2\.jpg: sends more than the 10 bytes"):
        fetch(single_files(server), listed(), workspace)
    assert server.sent < 20_000_000  # of the sockets' buffers, and the file before
    assert not workspace.pictures("pets").exists()
    kept = [path.name for path in workspace.root.rglob("*") if path.is_file()]
    assert sorted(name for name in kept if not name.endswith(".lock")) == ["1.jpg"]


def test_a_server_that_falls_silent_is_left_and_what_came_is_kept(
    server: Server, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optuna_study.data.fetch.TIMEOUT", (0.2, 0.2))
    server.cut_after, server.silent = 100_000, threading.Event()
    with pytest.raises(DataError, match=r"dog/1\.jpg: cannot be downloaded \(timed out\)"):
        fetch(single_files(server), listed(), workspace, retries=0)
    server.silent.set()
    server.cut_after = server.silent = None
    server.requests.clear()
    assert contents(fetch(single_files(server), listed(), workspace)) == CONTENT
    assert server.requests == [("dog/1.jpg", f"bytes={CHUNK}-")]


def test_a_file_that_is_gone_is_an_error(server: Server, workspace: Workspace) -> None:
    del server.files["cat/1.jpg"]
    with pytest.raises(DataError, match=r"cat/1\.jpg: cannot be downloaded \(404"):
        fetch(single_files(server), listed(), workspace, retries=0)


def test_nobody_answering_is_an_error(server: Server, workspace: Workspace) -> None:
    nobody = Source("pets", "http://127.0.0.1:9/", 1, "free", "nothing")
    with pytest.raises(DataError, match="cannot be downloaded"):
        fetch(nobody, listed(), workspace, retries=0)


def test_a_workspace_that_cannot_be_written_is_a_folder_error(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderError):
        fetch(single_files(server), listed(), Workspace(tmp_path / "file"))
    assert server.requests == []


# --- one archive -----------------------------------------------------------------------------


def test_the_listed_files_are_taken_out_of_an_archive(
    server: Server, workspace: Workspace
) -> None:
    assert contents(fetch(one_archive(server), listed(), workspace)) == CONTENT


def test_a_cut_archive_is_gone_on_from(server: Server, workspace: Workspace) -> None:
    origin = one_archive(server)
    server.cut_after = 123_456
    with pytest.raises(DataError, match=r"pets\.tgz: cannot be downloaded"):
        fetch(origin, listed(), workspace, retries=0)
    server.cut_after = None
    server.requests.clear()
    assert contents(fetch(origin, listed(), workspace)) == CONTENT
    assert server.requests == [("pets.tgz", f"bytes={CHUNK}-")]


def test_nothing_leaves_the_target_folder(server: Server, workspace: Workspace) -> None:
    evil = {
        "pets/../../../evil.jpg": b"out",
        "/tmp/optuna-study-evil.jpg": b"out",
        "../evil.jpg": b"out",
        **{f"pets/{name}": data for name, data in CONTENT.items()},
    }
    assert contents(fetch(one_archive(server, evil), listed(), workspace)) == CONTENT
    names = {path.name for path in workspace.root.parent.rglob("*")}
    assert not [name for name in names if "evil" in name]
    assert not Path("/tmp/optuna-study-evil.jpg").exists()


def test_a_link_in_an_archive_is_not_followed(server: Server, workspace: Workspace) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        link = tarfile.TarInfo("pets/cat/1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    origin = one_archive(server)
    server.files["pets.tgz"] = stream.getvalue()
    with pytest.raises(DataError, match=r"lacks 3 of its 3 files, the first 'cat/1\.jpg'"):
        fetch(origin, listed(), workspace)


def test_a_corrupted_file_in_an_archive_is_named(server: Server, workspace: Workspace) -> None:
    wrong = {f"pets/{name}": data for name, data in CONTENT.items()}
    wrong["pets/cat/2.jpg"] = b"another"
    with pytest.raises(DataError, match=r"cat/2\.jpg: its checksum differs"):
        fetch(one_archive(server, wrong), listed(), workspace)
    assert not workspace.pictures("pets").exists()
    assert not list(workspace.root.rglob("*.tgz"))


def test_an_archive_that_unpacks_without_end_is_refused(
    server: Server, workspace: Workspace
) -> None:
    origin = one_archive(server, {"pets/zeros": bytes(20_000_000), "pets/cat/1.jpg": b"x"})
    with pytest.raises(DataError, match=r"pets\.tgz: holds more than [0-9,]+ bytes, far more"):
        fetch(origin, listed(), workspace)
    assert not list(workspace.root.rglob("*.tgz"))


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_damaged_archive_is_removed(server: Server, workspace: Workspace, damage: str) -> None:
    origin = one_archive(server)
    whole = server.files["pets.tgz"]
    server.files["pets.tgz"] = whole[: len(whole) // 2] if damage == "cut" else os.urandom(5000)
    with pytest.raises(DataError, match=r"pets\.tgz: a damaged archive"):
        fetch(origin, listed(), workspace)
    server.files["pets.tgz"] = whole
    assert contents(fetch(origin, listed(), workspace)) == CONTENT


# --- what is shipped -------------------------------------------------------------------------


def test_the_manifest_lists_what_is_downloaded() -> None:
    files = manifest("pokemon")
    assert len(files) == 1167
    assert sum(file.size for file in files) == SOURCES["pokemon"].size


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_manifests_hold_safe_paths_and_whole_checksums(name: str) -> None:
    files = manifest(name)
    assert len({file.path for file in files}) == len(files)
    for file in files:
        assert ".." not in file.path
        assert not file.path.startswith("/")
        assert len(bytes.fromhex(file.digest)) == 32


def test_the_manifests_are_small() -> None:
    folder = Path(optuna_study.__file__).parent / "data" / "manifests"
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sorted(sizes) == ["flower.tsv.gz", "pokemon.tsv.gz"]
    assert sum(sizes.values()) < 400_000


def test_a_manifest_is_a_table(tmp_path: Path) -> None:
    text = f"path\tbytes\tsha256\ncat/1.png\t5\t{'ab12' * 16}\n"
    (tmp_path / "own.tsv").write_text(text)
    assert parse_manifest(text) == (Listed("cat/1.png", 5, "ab12" * 16),)
    assert manifest("pokemon", tmp_path / "own.tsv") == parse_manifest(text)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("../cat.png\t5\tDIGEST", "'..'"),
        ("/etc/cat.png\t5\tDIGEST", "''"),
        ("cat/../../dog.png\t5\tDIGEST", "'..'"),
        ("cat/./dog.png\t5\tDIGEST", "'.'"),
        ("cat\\..\\dog.png\t5\tDIGEST", r"'cat\\..\\dog.png'"),
        ("cat/\x1b[2J.png\t5\tDIGEST", "x1b"),
        (f"cat/{'x' * 300}\t5\tDIGEST", "xxx"),
        ("a.png\t5\tDIGEST", "has 'a.png' for a second time"),
        ("b.png\t-5\tDIGEST", "is not a path, bytes and a sha256"),
        ("b.png\t" + "9" * 5000 + "\tDIGEST", "is not a path, bytes and a sha256"),
        ("b.png\t5\tab12", "is not a path, bytes and a sha256"),
        ("b.png", "is not a path, bytes and a sha256"),
        ("", "is not a path, bytes and a sha256"),
    ],
)
def test_a_row_that_cannot_be_is_refused(tmp_path: Path, row: str, reason: str) -> None:
    text = f"path\tbytes\tsha256\na.png\t5\tDIGEST\n{row}\n".replace("DIGEST", "0" * 64)
    (tmp_path / "own.tsv").write_text(text)
    with pytest.raises(DataError) as caught:
        manifest("pokemon", tmp_path / "own.tsv")
    assert str(caught.value).startswith(f"{tmp_path / 'own.tsv'}: line 3: ")
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_source_has_a_hint() -> None:
    with pytest.raises(DataError, match="'flowers': nothing to fetch, did you mean 'flower'"):
        source("flowers")


@pytest.mark.pictures
def test_the_manifests_are_the_published_facts() -> None:
    if not (PICTURES / "flower.tsv").is_file():
        pytest.skip(f"no real pictures at {PICTURES}")
    for name, column, prefix in (
        ("pokemon", "source_path", "dataset/"),
        ("flower", "name_in_LICENSE", ""),
    ):
        lines = (PICTURES / f"{name}.tsv").read_text(encoding="utf-8").split("\n")
        header = lines[0].split("\t")
        rows = [dict(zip(header, line.split("\t"), strict=False)) for line in lines[1:] if line]
        facts = {
            row[column].removeprefix(prefix): (int(row["bytes"]), row["sha256"])
            for row in rows
            if row["sha256"]
        }
        if name == "flower":
            text = (PICTURES / "flower" / "LICENSE.txt").read_bytes()
            facts["LICENSE.txt"] = len(text), hashlib.sha256(text).hexdigest()
        assert {file.path: (file.size, file.digest) for file in manifest(name)} == facts


def test_manifests_do_not_change_with_the_day_they_are_packed() -> None:
    folder = Path(optuna_study.__file__).parent / "data" / "manifests"
    for path in folder.iterdir():
        data = path.read_bytes()
        assert data[4:8] == bytes(4), "a time in the header"
        assert gzip.decompress(data).startswith(b"path\tbytes\tsha256\n")
