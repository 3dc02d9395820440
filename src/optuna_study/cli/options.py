"""Options that several commands share, and what an invocation of the program knows about itself.

`-v`, `-q`, `--debug` and `--storage` are accepted before and after the command's name, as
`optuna` has it.
"""

from __future__ import annotations

import logging
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from optuna_study.paths import STORAGE_VARIABLE
from optuna_study.text import pasteable, spell_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress

ALLOW_VARIABLE = "OPTUNA_STUDY_ALLOW"
FORMATS = ("table", "json", "yaml", "csv")

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")


class _Stderr(logging.Handler):
    """Writes to whatever stderr is at that moment: a live table puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        from optuna_study.report.tables import hanging  # `--help` does without

        text = hanging(spell_out(self.format(record)), len(f"{record.asctime} "), sys.stderr)
        # click.echo would write past the live table, which then wipes the line out.
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def tell(text: str, *, indent: int = 0, mark: str = "") -> None:
    """Say a line on stderr, on a terminal broken between words, its further lines indented.

    A `mark` is what the text begins with, in colour.
    """
    from optuna_study.report.tables import hanging  # `--help` does without

    broken = hanging(text, indent, sys.stderr)
    click.echo(mark + broken.removeprefix(click.unstyle(mark)), err=True)


@dataclass
class Invocation:
    """What this run of the program was asked besides its command; `main` reads it at the end."""

    debug: bool = False
    verbosity: int = 0
    storage: str | None = None
    urls: tuple[str, ...] = ()  # on the command line; their secrets are never to be shown
    place: dict[str, str] = field(default_factory=dict)  # --storage, --artifacts as typed, masked

    def without_secrets(self, text: str) -> str:
        """The text with the secrets replaced by `***`."""
        if self.urls:
            from optuna_study.store.engine.address import hide_secrets

            for url in self.urls:
                text = hide_secrets(text, url)
        return text

    @property
    def place_options(self) -> str:
        """`--storage` and `--artifacts` as typed, for commands to paste; a password is left out.

        What the environment gives, it gives to the next command too.
        """
        return "".join(f" {option} {shlex.quote(text)}" for option, text in self.place.items())

    def pasteable(self, text: str) -> str:
        """The text; of advice with the place in every command."""
        return pasteable(text, self.place_options)

    @property
    def quiet(self) -> bool:
        """Whether progress is to be left out."""
        return self.verbosity < 0

    def set_up_logging(self) -> None:
        """Send this package's log to stderr: errors when quiet, the details with `-v`."""
        level = {-1: logging.ERROR, 0: logging.INFO}.get(max(self.verbosity, -1), logging.DEBUG)
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        logger = logging.getLogger("optuna_study")
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def invocation() -> Invocation:
    """The running invocation; outside of one (a command called by a test) a fresh one."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Invocation) if context else None
    return found or Invocation()


def common_options(*, hidden: bool) -> list[click.Option]:
    """`-v`, `-q` and `--debug`: shown by the group, taken by its commands too."""
    return [
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            hidden=hidden,
            is_eager=True,
            callback=_verbosity,
            help="Say more on stderr.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            is_eager=True,
            callback=_quiet,
            help="No progress on stderr, only errors.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            is_eager=True,
            callback=_debug,
            help="Show the traceback of an error.",
        ),
    ]


def example(*lines: str) -> str:
    """The example block at the end of a command's help, its lines kept apart."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


def storage_option(command: Decorated) -> Decorated:
    """`--storage URL`: handed over as `storage`, None for the workspace's own SQLite file."""
    return click.option(
        "--storage",
        envvar=STORAGE_VARIABLE,
        show_envvar=True,
        metavar="URL",
        callback=_storage,
        help="Store: an Optuna RDB URL. [default: sqlite:///storage/studies.db]",
    )(command)


def artifacts_option(command: Decorated) -> Decorated:
    """`--artifacts DIR`: handed over as `workspace`, a `Workspace`; ./storage when not given."""
    return click.option(
        "--artifacts",
        "workspace",
        metavar="DIR",
        callback=_workspace,
        help="Folder of checkpoints, pictures and caches. "
        "[env var: OPTUNA_STUDY_ARTIFACTS; default: storage]",
    )(command)


def data_option(command: Decorated) -> Decorated:
    """`--data DIR`: handed over as `data`, or None for what the study says."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Pictures, a folder a class. [default: what the study says]",
    )(command)


def device_option(command: Decorated) -> Decorated:
    """`--device`: handed over as `device`."""
    return click.option(
        "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]"
    )(command)


def profile_option(command: Decorated) -> Decorated:
    """`--profile`: handed over as `profile`."""
    return click.option(
        "--profile",
        type=click.Choice(["auto", "full", "cpu"]),
        default="auto",
        show_default=True,
        help="The whole study, or its smaller version for machines without a GPU.",
    )(command)


def crew_options(command: Decorated) -> Decorated:
    """`--data`, `--workers` and `--device`: what worker processes of this machine get."""
    workers = click.option(
        "--workers",
        default="auto",
        show_default=True,
        metavar="N|auto",
        callback=_workers,
        help="Trials at once, a process each; auto is what cores, memory and GPUs allow.",
    )
    return data_option(workers(device_option(command)))


def allow_option(command: Decorated) -> Decorated:
    """`--allow MODULE`: handed over as `allowed`, the modules whose functions may be run."""
    return click.option(
        "--allow",
        "allowed",
        multiple=True,
        envvar=ALLOW_VARIABLE,
        show_envvar=True,
        metavar="MODULE",
        help="A module, or package, whose functions may be named there. [default: none]",
    )(command)


def format_option(*formats: str) -> Callable[[Decorated], Decorated]:
    """`-f/--format`, one of `formats` (all of them when none is named), handed over as `form`."""
    return click.option(
        "-f",
        "--format",
        "form",
        type=click.Choice(formats or FORMATS),
        default="table",
        show_default=True,
        help="Form of the output.",
    )


def place_options() -> str:
    """The running invocation's `place_options`."""
    return invocation().place_options


def _workers(_context: click.Context, _: click.Parameter, value: str) -> str | int:
    return value if value == "auto" else click.INT(value)


def _verbosity(context: click.Context, _: click.Parameter, value: int) -> None:
    current = context.ensure_object(Invocation)
    current.verbosity = value or current.verbosity
    current.set_up_logging()


def _quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    _verbosity(context, _, -1 if value else 0)


def _debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    current = context.ensure_object(Invocation)
    current.debug = current.debug or value


def _storage(context: click.Context, _: click.Parameter, value: str | None) -> StoreAddress | None:
    current = context.ensure_object(Invocation)
    # A URL before the command's name wins over the environment, not over one after the name.
    given_here = context.get_parameter_source("storage") is ParameterSource.COMMANDLINE
    value = value and value.strip()  # of a file with Windows' line ends, say
    if given_here and value:
        from optuna_study.store.engine.address import mask

        current.place["--storage"] = mask(value)
    if context.parent is None:
        current.storage = value
        return None  # for the command, if it has a store at all
    url = value if given_here else current.storage or value
    if not url:
        return None
    from optuna_study.store.engine.address import StoreAddress, mask  # loads SQLAlchemy

    address = StoreAddress.parse(url)
    if "--storage" in current.place and mask(url) != url:
        tell(
            "Warning: whoever lists this machine's processes sees the password in --storage; "
            f"{STORAGE_VARIABLE}, PGPASSWORD or ~/.pgpass keep it to yourself."
        )
    return address


def _workspace(context: click.Context, _: click.Parameter, value: str | None) -> Workspace:
    from optuna_study.paths import Workspace

    found = Workspace.locate(value)
    if value is not None:
        context.ensure_object(Invocation).place["--artifacts"] = str(found.root)
    return found
