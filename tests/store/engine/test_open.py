"""Opening stores: what is refused, in which words, and that a refusal leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from sqlalchemy import text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from optuna_study.errors import (
    FolderError,
    OptunaStudyError,
    StorageUrlError,
    StoreError,
    StoreFullError,
)
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.connection import postgresql_options
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, End, EndKind
from optuna_study.store.schema import OWN_VERSION, alembic_version, own_schema
from optuna_study.store.studies import studies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, NewStudy


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def test_a_mistyped_path_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no such file.*optuna-study launch"):
        open_store(f"sqlite:///{tmp_path / 'stduies.db'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, *, create: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are notes. " * 100)
    with pytest.raises(StoreError, match=r"notes\.txt: is no SQLite database"):
        open_store(f"sqlite:///{path}", create=create)
    assert path.read_text() == "These are notes. " * 100


@pytest.mark.parametrize("tables", ["", "CREATE TABLE cats (name TEXT)"])
def test_a_database_without_optuna_is_no_store(tmp_path: Path, tables: str) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.executescript(tables)
    connection.close()
    path.touch()
    with pytest.raises(StoreError, match="holds no Optuna storage"):
        open_store(f"sqlite:///{path}")


def test_a_folder_that_is_a_file_cannot_hold_a_store(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("")
    with pytest.raises(FolderError, match="cannot be written"):
        open_store(f"sqlite:///{tmp_path / 'storage' / 'studies.db'}", create=True)


def test_creating_again_changes_nothing(tmp_path: Path, make_study: Any) -> None:
    url = f"sqlite:///{tmp_path / 'a' / 'b c' / 'cafe {x} #1 &.db'}"
    first = open_store(url, create=True)
    study = make_study(first)
    first.close()
    again = open_store(url, create=True)
    assert studies.find_study(again, study.name) == study
    again.close()
    assert (tmp_path / "a" / "b c" / "cafe {x} #1 &.db").is_file()


def test_a_new_store_is_in_wal_mode_and_writes_are_full(sqlite_store: Store) -> None:
    with sqlite_store.write(durable=True) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    with sqlite_store.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_a_closed_store_is_one_file(sqlite_url: str, make_study: Any) -> None:
    store = open_store(sqlite_url)
    make_study(store)
    assert reads.list_studies(store)
    store.close()
    path = file_of(sqlite_url)
    assert sorted(path.parent.glob(f"{path.name}-*")) == []


def test_a_read_connection_cannot_write(sqlite_store: Store) -> None:
    with (
        pytest.raises(FolderError, match="cannot be written"),
        sqlite_store.read() as connection,
    ):
        connection.execute(text("DELETE FROM studies"))


def test_a_transaction_that_fails_leaves_nothing(store: Store, make_study: Any) -> None:
    study = make_study(store)

    def broken() -> None:
        with store.write() as connection:
            connection.execute(text("UPDATE optuna_study_studies SET budget = 99"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert studies.load_study(store, study.name).budget == study.budget


def test_a_plain_optuna_store_is_read_and_then_completed(sqlite_url: str, make_study: Any) -> None:
    with sqlite3.connect(file_of(sqlite_url)) as connection:
        for table in ("schema", "studies", "trials", "epochs"):
            connection.execute(f"DROP TABLE optuna_study_{table}")
    connection.close()
    plain = open_store(sqlite_url)
    assert reads.list_studies(plain) == []
    assert studies.find_study(plain, "any") is None
    plain.close()
    ours = open_store(sqlite_url, create=True)
    assert make_study(ours).name == "cats@cpu"
    ours.close()


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("v9.0.0.a", r"made by a newer Optuna \(schema v9\.0\.0\.a.*upgrade optuna-study"),
        ("v3.0.0.d", r"made by an older Optuna .*`optuna storage upgrade --storage sqlite:///"),
    ],
)
def test_another_version_of_optuna_is_refused(
    sqlite_store: Store, revision: str, sentence: str, *, create: bool
) -> None:
    with sqlite_store.write() as connection:
        connection.execute(update(alembic_version).values(version_num=revision))
    with pytest.raises(StoreError, match=sentence) as caught:
        open_store(sqlite_store.address.url, create=create)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("create", [False, True])
def test_a_newer_version_of_ours_is_refused(sqlite_store: Store, *, create: bool) -> None:
    with sqlite_store.write() as connection:
        connection.execute(update(own_schema).values(version=OWN_VERSION + 1))
    with pytest.raises(StoreError, match="made by a newer optuna-study"):
        open_store(sqlite_store.address.url, create=create)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_sqlite_on_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "a share"
    folder.mkdir()
    mounts = tmp_path / "mounts"
    escaped = str(folder).replace(" ", "\\040")
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {escaped} {kind} rw 0 0\n")
    with pytest.raises(StorageUrlError, match=rf"network file system \({kind}\).*PostgreSQL"):
        open_store(f"sqlite:///{folder}/studies.db", create=True, mounts=mounts)
    assert list(folder.iterdir()) == []
    beside = f"sqlite:///{tmp_path}/a share of mine/studies.db"
    open_store(beside, create=True, mounts=mounts).close()


def test_a_file_that_is_mounted_by_itself_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\n/dev/sda {file_of(sqlite_url)} ext4 rw 0 0\n")
    with pytest.raises(StorageUrlError, match=r"mounted by itself.*mount its folder"):
        open_store(sqlite_url, mounts=mounts)


@pytest.mark.parametrize("act", ["claim", "end", "report"])
@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "linked"])
def test_a_file_that_is_another_takes_no_writes(
    sqlite_url: str,
    make_study: Any,
    epoch: Callable[..., EpochRecord],
    tmp_path: Path,
    act: str,
    how: str,
) -> None:
    store = open_store(sqlite_url)
    study = make_study(store)
    claim = queue.claim(store, study, "w1")
    assert isinstance(claim, Claim)
    path, other = tmp_path / "studies.db", tmp_path / "other.db"
    if how == "removed":
        path.unlink()
    elif how == "moved":
        path.rename(other)
    elif how == "linked":
        os.link(path, other)
    else:
        shutil.copy(path, other)
        other.replace(path)
    acts: dict[str, Callable[[], object]] = {
        "claim": lambda: queue.claim(store, study, "w1"),
        "end": lambda: queue.end(store, claim, End(EndKind.COMPLETED, "done", 0.5)),
        "report": lambda: queue.report(store, claim, [epoch(1, 0.5)]),
    }
    with pytest.raises(StoreError, match="while this command ran") as caught:
        acts[act]()
    assert caught.type is StoreError  # nothing that is tried again
    store.close()


def test_a_local_mount_over_a_network_one_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs rw 0 0\n/dev/sdb {tmp_path} ext4 rw 0 0\n")
    open_store(f"sqlite:///{tmp_path}/studies.db", create=True, mounts=mounts).close()
    open_store(f"sqlite:///{tmp_path}/studies.db", mounts=tmp_path / "none").close()


@pytest.mark.slow
def test_a_full_disk_is_said_and_harms_nothing(
    sqlite_store: Store, make_study: Any, epoch: Callable[..., EpochRecord]
) -> None:
    study = make_study(sqlite_store)
    claim = queue.claim(sqlite_store, study, "w1")
    assert isinstance(claim, Claim)
    with sqlite_store.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreFullError, match="no space left"):
        queue.report(sqlite_store, claim, [epoch(number, 0.5) for number in range(1, 5000)])
    assert reads.epochs(sqlite_store, study, 0) == []
    with sqlite_store.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    queue.report(sqlite_store, claim, [epoch(1, 0.5)])
    assert len(reads.epochs(sqlite_store, study, 0)) == 1


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system to mount with other options: permissions do not stop root."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip(f"cannot mount here: {made.stderr.decode().strip()}")

    def again(options: str) -> Path:
        subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
        return folder

    yield again
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(not shutil.which("mount"), reason="there is no mount command")
class TestMounted:
    def test_a_read_only_folder_is_refused(self, mounted: Callable[[str], Path]) -> None:
        folder = mounted("ro")
        with pytest.raises(FolderError, match="cannot be written") as caught:
            open_store(f"sqlite:///{folder}/new/studies.db", create=True)
        assert caught.value.exit_code == 2
        with pytest.raises(FolderError, match="cannot be written"):
            open_store(f"sqlite:///{folder}/studies.db", create=True)

    def test_a_store_on_a_read_only_mount_can_be_read(
        self, mounted: Callable[[str], Path], make_study: Any, new_study: Callable[..., NewStudy]
    ) -> None:
        folder = mounted("rw")
        url = f"sqlite:///{folder}/studies.db"
        store = open_store(url, create=True)
        study = make_study(store)
        store.close()
        mounted("ro")
        read = open_store(url)
        assert [row.name for row in reads.list_studies(read)] == [study.name]
        with pytest.raises(FolderError, match="cannot be written"):
            studies.create_study(read, new_study(name="more"))
        read.close()
        with pytest.raises(FolderError, match="cannot be written"):
            open_store(url, create=True)

    def test_a_log_on_a_read_only_mount_is_not_passed_over(
        self, mounted: Callable[[str], Path], make_study: Any
    ) -> None:
        path = mounted("rw") / "studies.db"
        url = f"sqlite:///{path}"
        store = open_store(url, create=True)
        make_study(store)
        log = path.with_name("studies.db-wal")
        kept = {each: each.read_bytes() for each in (path, log)}
        assert kept[log]
        store.close()
        assert not log.exists()
        for each, content in kept.items():
            each.write_bytes(content)
        mounted("ro")
        with pytest.raises(
            StoreError, match=r"its log studies\.db-wal holds what the file does not"
        ):
            open_store(url)

    def test_a_disk_that_fills_up_stops_writes_and_no_reads(
        self, mounted: Callable[[str], Path], make_study: Any, epoch: Callable[..., EpochRecord]
    ) -> None:
        folder = mounted("rw")
        store = open_store(f"sqlite:///{folder}/studies.db", create=True)
        study = make_study(store)
        claim = queue.claim(store, study, "w1")
        assert isinstance(claim, Claim)
        with pytest.raises(OSError, match="No space left"):
            (folder / "filler").write_bytes(b"x" * 4_000_000)
        many = [epoch(number, 0.5) for number in range(1, 2000)]
        with pytest.raises(StoreFullError, match="no space left"):
            queue.report(store, claim, many)
        assert reads.epochs(store, study, 0) == []
        (folder / "filler").unlink()
        queue.report(store, claim, many[:5])
        assert len(reads.epochs(store, study, 0)) == 5
        store.close()

    def test_a_full_disk_is_said_when_a_store_is_made(
        self, mounted: Callable[[str], Path]
    ) -> None:
        folder = mounted("rw")
        with pytest.raises(OSError, match="No space left"):
            (folder / "filler").write_bytes(b"x" * 4_000_000)
        with pytest.raises(StoreFullError, match="no space left"):
            open_store(f"sqlite:///{folder}/studies.db", create=True)


@pytest.mark.postgres
def test_a_server_that_is_not_there(unused_port: int) -> None:
    url = f"postgresql://ann:s3cret@127.0.0.1:{unused_port}/studies?sslpassword=hush"
    for create in (False, True):
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            open_store(url, create=create)
        says_no_secret(caught.value)
        assert caught.value.exit_code == 5


def says_no_secret(error: OptunaStudyError) -> None:
    said = str(error)
    assert "s3cret" not in said
    assert "hush" not in said
    assert "\n" not in said


@pytest.mark.slow
@pytest.mark.postgres
def test_an_empty_database_is_no_store_until_it_is_made(empty_postgres: str) -> None:
    with pytest.raises(StoreError, match="holds no Optuna storage"):
        open_store(empty_postgres)
    open_store(empty_postgres, create=True).close()
    open_store(empty_postgres).close()


@pytest.mark.postgres
def test_a_database_that_does_not_exist(postgres_url: str) -> None:
    url = make_url(postgres_url)
    missing = url.set(database=f"{url.database}_not")
    said = r'database "([a-z_0-9]+_not)" does not exist.*make it with `createdb -.* \1`$'
    with pytest.raises(StoreError, match=said):
        open_store(missing.render_as_string(hide_password=False))


@pytest.mark.postgres
@pytest.mark.slow
def test_a_database_without_an_encoding_takes_every_text(
    encoded_postgres: Callable[[str], str], make_study: Any
) -> None:
    store = open_store(encoded_postgres("SQL_ASCII"), create=True)
    study = make_study(store, data_source="/Bilder/日本語")
    reason = "ValueError: Datei 日本語.png fehlt"
    claim = queue.claim(store, study, "w1")
    assert isinstance(claim, Claim)
    queue.end(store, claim, End(EndKind.FAILED, reason))
    assert studies.load_study(store, study.name).data_source == "/Bilder/日本語"
    assert reads.trial(store, study, 0).reason == reason
    loaded = optuna.load_study(study_name=study.name, storage=optuna_storage(store))
    assert loaded.trials[0].user_attrs["reason"] == reason
    store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("create", [False, True])
def test_a_database_that_does_not_hold_every_text_is_refused(
    encoded_postgres: Callable[[str], str], *, create: bool
) -> None:
    url = encoded_postgres("LATIN1")
    with pytest.raises(StoreError, match=r"its encoding is LATIN1.*createdb -.* -E UTF8 -T t"):
        open_store(url, create=create)


@pytest.mark.postgres
@pytest.mark.slow
def test_a_user_without_rights_learns_what_to_grant(
    empty_postgres: str, new_study: Callable[..., NewStudy]
) -> None:
    role = f"role_{uuid.uuid4().hex[:12]}"
    url = make_url(empty_postgres).set(username=role)
    theirs = url.render_as_string(hide_password=False)
    with closing(open_store(empty_postgres, create=True)) as owners:

        def run(statement: str) -> None:
            with owners.write() as connection:
                connection.exec_driver_sql(statement)

        def granted(call: Callable[[], object]) -> str:
            with pytest.raises(StoreError) as caught:
                call()
            found = re.search(r"; let the owner run: (GRANT .*)$", str(caught.value))
            assert found is not None, caught.value
            run(found[1])
            return found[1]

        with pytest.raises(StoreError, match=r"FATAL: .*; check user, password and database$"):
            open_store(theirs)
        run(f"CREATE ROLE {role} LOGIN")
        run(f"REVOKE CONNECT ON DATABASE {url.database} FROM PUBLIC")
        try:
            for right in ("CONNECT", "SELECT"):
                assert granted(lambda: open_store(theirs)).startswith(f"GRANT {right}")
            with closing(open_store(theirs)) as store:
                make = partial(studies.create_study, store, new_study())
                assert granted(make).startswith("GRANT USAGE ON ALL SEQUENCES")
                assert make().name == new_study().name
        finally:
            run(f"DROP OWNED BY {role}")
            run(f"DROP ROLE {role}")


@pytest.mark.postgres
def test_a_cut_connection_is_made_again_and_said(
    postgres_url: str, make_study: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(postgres_url)
    study = make_study(store)
    other = open_store(postgres_url)
    with other.write() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    assert isinstance(queue.claim(store, study, "w1"), Claim)
    assert caplog.messages == ["the connection to the store was cut; there is a new one"]
    store.close()
    other.close()


@pytest.mark.postgres
def test_a_statement_that_takes_too_long_is_ended(postgres_url: str) -> None:
    store = open_store(postgres_url)

    def slow() -> None:
        with store.write() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 20"))
            connection.execute(text("SELECT pg_sleep(5)"))

    with pytest.raises(StoreError, match="a statement took too long"):
        slow()
    store.close()


@pytest.mark.postgres
@pytest.mark.parametrize(("options", "limits"), [("", ["1min", "1min"]), ("5s", ["1min", "5s"])])
def test_statements_are_limited_unless_the_url_says_otherwise(
    postgres_url: str, options: str, limits: list[str]
) -> None:
    url = make_url(postgres_url)
    if options:
        url = url.update_query_dict({"options": f"-c statement_timeout={options}"})
    with closing(open_store(url.render_as_string(hide_password=False))) as store:
        for _ in range(2):  # a connection that was handed out before, too
            with store.read() as connection:
                found = connection.execute(
                    text(
                        "SELECT current_setting('idle_in_transaction_session_timeout'), "
                        "current_setting('statement_timeout')"
                    )
                ).one()
            assert list(found) == limits


@pytest.mark.postgres
def test_the_server_s_clock_is_everybody_s(postgres_url: str) -> None:
    store = open_store(postgres_url)
    with store.read() as connection:
        before = connection.execute(text("SELECT extract(epoch from now())")).scalar()
        assert before is not None
        assert 0 <= store.now(connection) - float(before) < 3600
    store.close()


def test_a_lock_by_another_process_is_said(
    sqlite_store: Store, make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(sqlite_store)
    sqlite_store.close()
    monkeypatch.setattr("optuna_study.store.engine.sqlite_file.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(file_of(sqlite_store.address.url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="held by another process for too long") as caught:
        queue.claim(sqlite_store, study, "w1")
    assert isinstance(caught.value.__cause__, OperationalError)
    other.execute("ROLLBACK")
    other.close()
    assert isinstance(queue.claim(sqlite_store, study, "w1"), Claim)


def test_nothing_but_the_store_and_its_lock_is_left(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'studies.db'}", create=True).close()
    assert {path.name for path in tmp_path.iterdir()} <= {"studies.db", "studies.db.lock"}


@pytest.mark.postgres
def test_connections_that_we_close_are_not_called_cut(
    postgres_url: str, make_study: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(postgres_url)
    study = make_study(store)
    optuna_storage(store)
    assert isinstance(queue.claim(store, study, "w1"), Claim)
    store.close()
    assert caplog.messages == []


def test_what_a_url_says_of_its_connections_goes_before_our_own() -> None:
    address = StoreAddress.parse("postgresql://db/x?connect_timeout=30&application_name=mine")
    arguments = postgresql_options(address)["connect_args"]
    assert {"connect_timeout", "application_name"}.isdisjoint(arguments)
    assert "keepalives" in " ".join(arguments)
