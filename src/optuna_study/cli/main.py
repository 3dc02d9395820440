"""The program's door: finds the command by its file, and turns every known error into one line.

A command is a file `cli/commands/FOLDER/NAME.py` with a click command in its attribute `command`;
nothing else lists it. Only the file of the command that is used gets imported.
"""

from __future__ import annotations

import errno
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from optuna_study.cli.options import Invocation, common_options, example, storage_option, tell
from optuna_study.cli.output import safe_output
from optuna_study.errors import (
    DiskFullError,
    FolderError,
    OptunaStudyError,
    StudyFileError,
    UsageError,
)
from optuna_study.text import did_you_mean, printable, spell_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAM = "optuna-study"
# As one works; a command that is not named here is listed behind these.
ORDER = (
    *("init", "data", "validate"),
    *("launch", "worker", "watch", "pause", "resume", "stop", "confirm", "migrate"),
    *("list", "show", "trials", "exclude", "include", "report", "plot", "dashboard", "doctor"),
    *("export", "train", "predict", "copy", "delete"),
)


class CommandFiles(click.Group):
    """A click group whose commands are the files of `cli/commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, in the order in which one works."""
        known = {name: place for place, name in enumerate(ORDER)}
        return sorted(self.modules(), key=lambda name: (known.get(name, len(ORDER)), name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its whole first sentence."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(limit=1000))
                    for name, command in commands.items()
                    if command is not None
                ]
            )

    @staticmethod
    def modules() -> dict[str, str]:
        """The module of every command, by the command's name."""
        folder = Path(__file__).parent / "commands"
        return {
            path.stem: f"optuna_study.cli.commands.{path.parent.name}.{path.stem}"
            for path in folder.glob("*/[!_]*.py")
        }

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command, and let it take the common options too."""
        module = self.modules().get(cmd_name)
        if module is None:
            return None
        command: click.Command = import_module(module).command
        for each in _with_subcommands(command):
            if not any(parameter.name == "debug" for parameter in each.params):
                each.params.extend(common_options(hidden=True))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            hint = did_you_mean(name, self.list_commands(ctx))
            raise click.UsageError(f"no command '{name}', {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=CommandFiles,
    params=common_options(hidden=False),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=example("optuna-study launch alexnet_pokemon", "optuna-study show alexnet_pokemon"),
)
@click.version_option(package_name="optuna-study", message=f"{PROGRAM} %(version)s")
@storage_option
@click.pass_obj
def group(current: Invocation | None, storage: None) -> None:
    """Hyperparameter search for image classifiers, from pictures to a reproducible best run.

    Results go to stdout, logs and progress to stderr.
    """
    (current or Invocation()).set_up_logging()


def main() -> None:
    """Run the program on the command line's arguments and leave with its exit code.

    SIGTERM and SIGHUP end it as the end of the program does: stores are closed. Commands that run
    workers hear them themselves.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)
    try:
        code = run(sys.argv[1:])
    except Exception:
        if sys.stderr is None:
            raise
        sys.stderr.write(spell_out(traceback.format_exc()))  # a bug, as the interpreter shows it
        code = 1
    sys.exit(code)


def _leave(_number: int, _frame: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code.

    Known errors become one line on stderr. An unknown exception is a bug: it passes through with
    its traceback.
    """
    with safe_output():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    current = Invocation(urls=tuple(each for each in arguments if "://" in each))
    try:
        _require_current_folder()
        code = group.main(list(arguments), PROGRAM, standalone_mode=False, obj=current)
        if sys.stdout is not None:  # it was closed before the program began
            sys.stdout.flush()
    except OptunaStudyError as error:
        _tell(error, _lines(error, current.place_options), current)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        _tell(error, [_sentence(error)], current)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 130
    except BrokenPipeError:
        # The reader has gone (`... | head`); else the interpreter complains again when it exits.
        sys.stdout = None
        return 1
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:
            sys.stdout = None  # as above
            full = DiskFullError("stdout: no space left, so what was printed is not whole")
            _tell(full, [str(full)], current)
            return full.exit_code
        # Any path or name that is typed may be it; every other refusal is known where it arises.
        if error.errno != errno.ENAMETOOLONG:
            raise
        _tell(error, [f"{str(error.filename)[:80]}...: {error.strerror}"], current)
        return UsageError.exit_code
    return code if isinstance(code, int) else 0


def _tell(error: Exception, lines: Sequence[str], current: Invocation) -> None:
    if current.debug:
        trace = "".join(traceback.format_exception(error))
        click.echo(current.without_secrets(trace), err=True, nl=False)
    more = [f"  {line}" for line in lines[1:]]
    if current.verbosity > 0 and not current.debug:
        more += [f"  because of {type(cause).__name__}: {cause}" for cause in _causes(error)]
    mark = click.style("Error:", fg="red", bold=True)
    tell(f"Error: {_said(lines[0], current)}", indent=len("Error: "), mark=mark)
    for line in more:
        tell(_said(line, current), indent=4)


def _said(line: str, current: Invocation) -> str:
    return printable(current.without_secrets(line))


def _require_current_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise FolderError(
            "the current folder is no longer there; change to another with `cd`"
        ) from error


def _lines(error: OptunaStudyError, place: str) -> list[str]:
    if isinstance(error, StudyFileError) and len(error.problems) > 1:
        return [f"{error.where} has {len(error.problems):,} problems:", *error.shown]
    return [error.at(place) or type(error).__name__]


def _sentence(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message} (see '{context.command_path} --help')" if context else message


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _with_subcommands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from _with_subcommands(each)
