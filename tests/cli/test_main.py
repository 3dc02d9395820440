from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click
import pytest

from optuna_study import __version__
from optuna_study.cli.main import group, run
from optuna_study.cli.options import (
    Invocation,
    artifacts_option,
    invocation,
    place_options,
    storage_option,
)
from optuna_study.errors import NotFoundError, OptunaStudyError, StudyFileError
from optuna_study.text import Advice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from optuna_study.store.engine.address import StoreAddress

COMMANDS = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "src/optuna_study/cli/commands").glob("*/[!_]*.py")
)
PAGE = Path(__file__).parents[2] / "docs/commands.md"


@pytest.fixture
def failing() -> Iterator[Callable[[BaseException], None]]:
    """Give the group a command `fail` that raises what it is given."""

    def add(error: BaseException) -> None:
        @click.command("fail")
        def command() -> None:
            raise error

        module.command = command  # type: ignore[attr-defined]

    module = ModuleType("optuna_study.cli.commands.fail")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        modules = type(group).modules() | {"fail": module.__name__}
        patch.setattr(type(group), "modules", staticmethod(lambda: modules))
        yield add


def test_version_stands_after_the_name(cli: Callable[..., Any]) -> None:
    result = cli("--version")
    assert (result.code, result.out, result.err) == (0, f"optuna-study {__version__}\n", "")


def test_every_command_file_is_a_command(cli: Callable[..., Any]) -> None:
    result = cli("--help")
    listed = result.out.partition("Commands:\n")[2]
    names = re.findall(r"^  (\w+)", listed.partition("Example:")[0], re.MULTILINE)
    assert sorted(names) == COMMANDS
    assert names[:4] == ["init", "data", "validate", "launch"]  # as one works
    assert "..." not in listed, "whole sentences"
    assert "\n  delete     Remove a STUDY with its trials and files.\n" in listed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, cli: Callable[..., Any]) -> None:
    result = cli(command, "--help")
    assert result.code == 0
    assert f"Usage: optuna-study {command}" in result.out
    assert f"optuna-study {command} " in result.out.partition("Example")[2] + " "


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_on_the_page_of_commands(command: str) -> None:
    assert f"optuna-study {command}" in PAGE.read_text(encoding="utf-8")


def test_unknown_command_names_the_nearest(cli: Callable[..., Any]) -> None:
    result = cli("lanch", "alexnet_pokemon")
    assert result.code == 2
    assert result.out == ""
    assert result.err == (
        "Error: no command 'lanch', did you mean 'launch'? (see 'optuna-study --help')\n"
    )


def test_unknown_option_names_the_nearest_on_one_line(cli: Callable[..., Any]) -> None:
    result = cli("dashboard", "--prt", "1")
    assert result.code == 2
    assert result.err == (
        "Error: No such option '--prt'. Did you mean '--port'? "
        "(see 'optuna-study dashboard --help')\n"
    )


def test_known_error_is_one_line_with_its_exit_code(
    failing: Callable[[BaseException], None], cli: Callable[..., Any]
) -> None:
    failing(NotFoundError("no study 'x'; known: y"))
    result = cli("fail")
    assert (result.code, result.out, result.err) == (4, "", "Error: no study 'x'; known: y\n")


def test_debug_shows_the_traceback_on_either_side_of_the_command(
    failing: Callable[[BaseException], None], cli: Callable[..., Any]
) -> None:
    failing(OptunaStudyError("no"))
    for arguments in (("--debug", "fail"), ("fail", "--debug")):
        result = cli(*arguments)
        assert result.code == 1
        assert result.err.startswith("Traceback (most recent call last):")
        assert result.err.endswith("Error: no\n")


def test_verbose_names_the_causes(
    failing: Callable[[BaseException], None], cli: Callable[..., Any]
) -> None:
    error = OptunaStudyError("no")
    error.__cause__ = ValueError("deep")
    failing(error)
    assert cli("-v", "fail").err == "Error: no\n  because of ValueError: deep\n"


def test_what_a_terminal_would_obey_is_spelled_out(
    failing: Callable[[BaseException], None], cli: Callable[..., Any]
) -> None:
    failing(NotFoundError("no study 'a\nb\x1b[2J\u202e\udcff'; known: größe ✓"))
    assert cli("fail").err == ("Error: no study 'a\\nb\\x1b[2J\\u202e\\udcff'; known: größe ✓\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("dashboard", "--port", "URL"),
        ("URL",),
        ("data", "show", "URL"),
        ("--debug", "trials", "small", "--storage=URL"),
    ],
)
def test_a_url_typed_in_the_wrong_place_keeps_its_password(
    arguments: tuple[str, ...], cli: Callable[..., Any]
) -> None:
    url = "mysql://ann:hunter2@db/x?sslpassword=hunter3"
    result = cli(*(each.replace("URL", url) for each in arguments))
    assert result.code in (2, 5)
    assert "ann:***@db" in result.err
    assert "hunter" not in result.err


@pytest.mark.slow
def test_a_path_that_is_no_text_is_printed_as_it_is(stored_study: Any, tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").mkdir()
    to = f"sqlite:///{tmp_path}/caf\udce9/s.db"
    done = subprocess.run(
        [sys.executable, "-m", "optuna_study", "copy", "small", "--to", to],
        cwd=tmp_path,
        env=os.environ | {"OPTUNA_STORAGE": stored_study.url},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert os.fsencode(to) in done.stdout


def test_a_name_that_no_file_system_takes_is_refused(cli: Callable[..., Any]) -> None:
    result = cli("list", "--artifacts", "x" * 300)
    assert result.code == 2
    assert result.err.endswith("x...: File name too long\n")
    assert len(result.err) < 200


def test_several_problems_of_a_file_have_a_line_each(
    failing: Callable[[BaseException], None], cli: Callable[..., Any]
) -> None:
    failing(StudyFileError("x.toml", ["train.lr: too large", "model.nme: unknown"]))
    result = cli("fail")
    assert result.code == 2
    assert result.err == (
        "Error: x.toml has 2 problems:\n  train.lr: too large\n  model.nme: unknown\n"
    )


def test_unknown_exceptions_stay_loud(failing: Callable[[BaseException], None]) -> None:
    failing(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(["fail"])


def test_keyboard_interrupt_exits_130(
    failing: Callable[[BaseException], None], cli: Callable[..., Any]
) -> None:
    failing(KeyboardInterrupt())
    result = cli("fail")
    assert (result.code, result.err) == (130, "\nInterrupted.\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ((), None, None),
        ((), "sqlite:///e.db", "sqlite:///e.db"),
        (("--storage", "sqlite:///g.db"), "sqlite:///e.db", "sqlite:///g.db"),
    ],
)
def test_storage_before_the_command_wins_over_the_environment(
    arguments: tuple[str, ...],
    environment: str | None,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from optuna_study.cli.options import storage_option

    if environment:
        monkeypatch.setenv("OPTUNA_STORAGE", environment)
    seen: list[str | None] = []

    @click.command()
    @storage_option
    def probe(storage: StoreAddress | None) -> None:
        seen.append(None if storage is None else str(storage))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(group), "get_command", lambda *_: probe)
        assert run([*arguments, "probe"]) == 0
        assert run([*arguments, "probe", "--storage", "sqlite:///own.db"]) == 0
    assert seen == [expected, "sqlite:///own.db"]


def test_outside_of_the_program_an_invocation_has_its_defaults() -> None:
    assert invocation() == Invocation()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["launch", "--help"]])
def test_help_imports_neither_torch_nor_optuna(arguments: list[str]) -> None:
    assert _heavy_modules(arguments, Path.cwd()) == set()


def _heavy_modules(arguments: list[str], folder: Path) -> set[str]:
    script = (
        "import sys\n"
        "from optuna_study.cli.main import run\n"
        f"run({arguments!r})\n"
        "heavy = {'torch', 'optuna', 'rich', 'sqlalchemy', 'numpy'}\n"
        "print('HEAVY', *sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("HEAVY")[2].split())


def test_commands_within_sentences_lead_to_the_same_store() -> None:
    said = Invocation(place={"--storage": "sqlite:///my cats.db"})
    place = " --storage 'sqlite:///my cats.db'"
    advice = Advice(["trials", "my cats"], " lists them; ", ["resume", "cats"])
    assert said.pasteable(advice) == (
        f"`optuna-study trials 'my cats'{place}` lists them; `optuna-study resume cats{place}`"
    )
    other = "`optuna-study doctor --fix --storage sqlite:///own.db` upgrades it"
    assert said.pasteable(other) == other
    assert (
        Invocation().pasteable(advice)
        == advice
        == ("`optuna-study trials 'my cats'` lists them; `optuna-study resume cats`")
    )


def test_an_errors_next_step_leads_to_the_same_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'none.db'}"
    assert run(["list", "--storage", url]) == 5
    assert f"`optuna-study launch --storage {url}`" in capsys.readouterr().err


def test_commands_to_type_next_lead_to_the_same_store(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command
    @storage_option
    @artifacts_option
    def command(**_: object) -> str:
        return place_options()

    @click.group
    @storage_option
    def outer(**_: object) -> None: ...

    outer.add_command(command, "command")

    def said(*arguments: str) -> object:
        return outer.main(arguments, standalone_mode=False, obj=Invocation())

    url = "postgresql://ann:hunter2@db/x"
    masked = " --storage 'postgresql://ann:***@db/x'"
    assert said("command") == ""
    assert said("command", "--storage", url) == masked
    assert said("--storage", url, "command") == masked
    assert said("command", "--storage", "sqlite:///a.db", "--artifacts", "/my files") == (
        " --storage sqlite:///a.db --artifacts '/my files'"
    )
    monkeypatch.setenv("OPTUNA_STORAGE", url)
    assert said("command") == ""
