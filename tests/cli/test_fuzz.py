"""Whatever is typed, it is done or refused in one sentence: no traceback, no unknown exit code."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from optuna_study.cli.main import group, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

EXIT_CODES = range(6)
# These train, serve or wait when they find what they are told to work on: there is nothing.
AT_WORK = {"launch", "worker", "dashboard", "train", "predict", "confirm", "watch"}
NOWHERE = "sqlite:///nowhere.db"

# No zero byte, which no argument can hold; half a character is what a byte of another encoding is.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
ODD = st.sampled_from(
    (
        *(
            "",
            " ",
            "-",
            "--",
            "-1",
            "0",
            "1e999",
            "nan",
            "9" * 30,
            "١",
            "x" * 300,
            "\udcff",
            "%s",
        ),
        *(
            "../x",
            "..",
            ".",
            "~",
            "{}",
            "a@b",
            "small@cpu",
            "'; DROP TABLE studies; --",
            "\n",
            "*",
        ),
    )
)
NAMES = st.sampled_from(["small", "smal", "alexnet_pokemon", "rendered", "pokemon"]) | ODD | TEXT
NUMBERS = st.integers().map(str) | st.floats().map(str)
PLACES = st.sampled_from(
    ["small.db", "files", "files/small.toml", "no/such/file.toml", "out", "."]
)
URLS = st.sampled_from(
    (
        *("sqlite:///small.db", NOWHERE, "sqlite:///files/small.toml", "sqlite:///files"),
        *("sqlite://", "sqlite:///:memory:", "postgresql://ann:hunter2@127.0.0.1:1/x", "grpc://x"),
        *("postgresql:///x?host=/nowhere&password=hunter2", "mysql://ann:hunter2@h/x", "://"),
    )
)
VALUES = st.one_of(NAMES, NUMBERS, PLACES, URLS, st.sampled_from(["json", "csv", "toml", "auto"]))


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and what it is called by."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (((name, each), inner) for each, inner in command.commands.items())
        else:
            yield (name,), command


COMMANDS = dict(commands())


def _values(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """What a parameter may be given: mostly what it asks for, now and then anything."""
    name, kind = parameter.name or "", parameter.type
    meant = NAMES | PLACES
    if name in ("storage", "to"):
        meant = URLS
    elif isinstance(kind, click.Choice):
        meant = st.sampled_from([str(each) for each in kind.choices])
    elif isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        meant = st.integers(-2, 4).map(str) | NUMBERS
    elif isinstance(kind, click.Path) or name in ("workspace", "to_artifacts"):
        meant = PLACES | NAMES
    return st.integers(0, 9).flatmap(lambda dice: VALUES if dice == 0 else meant)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command with arguments and options as they may be meant, and some that it has not."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    parameters = [each for each in COMMANDS[name].params if each.name != "debug"]
    arguments = [each for each in parameters if isinstance(each, click.Argument)]
    options = [each for each in parameters if isinstance(each, click.Option)]
    words = [*name, *(draw(_values(each)) for each in arguments)]
    needed = [each for each in options if each.required]
    for option in [*needed, *draw(st.lists(st.sampled_from(options), max_size=4))]:
        words.append(draw(st.sampled_from(option.opts)))
        if not option.is_flag and not option.count:
            words.append(draw(_values(option)))
    dice = draw(st.integers(0, 9))
    if dice == 0:
        words += draw(st.lists(ODD | TEXT, max_size=2))
    return draw(st.permutations(words)) if dice == 1 else words


def _harmless(words: list[str]) -> list[str]:
    """The line, without what would train, serve, ask the network or leave the folder."""
    kept = [word for word in words if not word.startswith(("/", "~")) and ".." not in word]
    if AT_WORK & set(words):
        kept = [word for word in kept if "small" not in word and word != "alexnet_pokemon"]
        kept += ["--storage", NOWHERE]
    dangers = {"--overfit", *(("--yes", "--from", "pokemon") if "fetch" in words else ())}
    return [word for word in kept if word not in dangers]


@pytest.fixture
def fresh(
    stored_study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], AbstractContextManager[None]]:
    """Be in a new folder with a study file and a store of two trials, for as long as a block."""
    monkeypatch.setenv("OPTUNA_STORAGE", "sqlite:///small.db")
    stored_study.run([0.5, 0.75])
    stored_study.start([0.25])
    stored_study.store.close()

    @contextmanager
    def go() -> Iterator[None]:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            shutil.copy(tmp_path / "small.db", folder)
            shutil.copytree(tmp_path / "files", Path(folder) / "files")
            with chdir(folder):
                yield
                assert len(list(tmp_path.glob("*/"))) == 2, "something was made outside"

    return go


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(words=lines())
def test_any_line_ends_in_a_known_way(
    words: list[str],
    fresh: Callable[[], AbstractContextManager[None]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = _harmless(words)
    note(f"optuna-study {line}")
    with fresh():
        code = run(line)
    out, err = capfd.readouterr()
    assert code in EXIT_CODES
    assert "hunter2" not in out + err
    if code:
        first, *more = err[err.index("Error: ") :].splitlines()
        more = [each for each in more if not each.startswith("  because of ")]
        assert not more or first.endswith("problems:")
