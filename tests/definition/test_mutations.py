"""Whatever happens to a study file, it is read or refused with sentences: no traceback."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optuna_study.definition.read import find_study_file, parse_study_file, read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import from_json, to_json
from optuna_study.errors import StudyFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna_study.definition.model import StudyFile

TEXT = find_study_file("alexnet_pokemon").read_text(encoding="utf-8")
RAW = tomllib.loads(TEXT)
KEYS = st.sampled_from(
    ["low", "high", "log", "step", "choices", "when", "most", "after", "factor", "lr", "epochs"]
) | st.sampled_from(
    ["activation", "optimizer", "breakpoints", "settings", "outside", "name", "variant", "x"]
)
SCALARS = (
    st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats()
    | st.text(max_size=5)
    | st.dates()
    | st.sampled_from(["relu", "sgd", "adam", "crop+flip", "a:b", 10**30, -1, 0, 1e-300, 1e300])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def _read(text: str) -> StudyFile | StudyFileError:
    try:
        return parse_study_file(text, "mutated")
    except StudyFileError as error:
        return error


def _checked(text: str) -> StudyFile | None:
    file = _read(text)
    if isinstance(file, StudyFileError):
        assert file.problems
        assert all(each.isprintable() and ": " in each for each in file.problems)
        return None
    for profile in ("full", "cpu"):
        definition = resolve(file, profile)
        assert from_json(to_json(definition)) == definition
        assert definition.space.leaves()
    return file


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


@pytest.mark.slow
@given(data=st.data())
def test_values_replaced_added_or_taken_away(data: st.DataObject) -> None:
    raw = _copied(RAW)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(_places(raw))))
        change = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            container[key] = data.draw(VALUES)
        elif change == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[data.draw(KEYS)] = data.draw(VALUES)
        else:
            container.append(data.draw(VALUES))
    _checked(tomlkit.dumps(raw))


@given(
    start=st.integers(0, len(TEXT)),
    length=st.integers(0, 40),
    put=st.text(max_size=5)
    | st.sampled_from(["[", "]", "{", "}", "\n", '"', "=", "1e999", "nan"]),
)
@pytest.mark.slow
def test_characters_cut_and_put_in(start: int, length: int, put: str) -> None:
    _checked(TEXT[:start] + put + TEXT[start + length :])


@given(data=st.data())
@pytest.mark.slow
def test_lines_taken_away_and_doubled(data: st.DataObject) -> None:
    lines = TEXT.splitlines()
    for _ in range(3):
        index = data.draw(st.integers(0, len(lines) - 1))
        lines[index : index + 1] = data.draw(st.sampled_from([[], [lines[index]] * 2]))
    _checked("\n".join(lines))


def test_the_file_itself_is_valid() -> None:
    assert _checked(TEXT) is not None
    assert _checked(tomlkit.dumps(RAW)) is not None


WORDS = st.sampled_from(
    (
        *("[", "]", "[[", "]]", "{", "}", "=", ".", ",", '"', "'", '"""', "\\", "\n", "#", "\0"),
        *("\ufeff", "1e999", "nan", "-inf", "0x", "1979-05-27T07:32:00Z", "9" * 20, "\\ud800"),
        *("title", "data", "model", "train", "search", "space", "baselines", "profile.cpu", "lr"),
    )
)


@given(text=st.text() | st.lists(WORDS | st.text(max_size=3), max_size=30).map(" ".join))
def test_arbitrary_text(text: str) -> None:
    _checked(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary() | st.text().map(lambda text: text.encode("utf-16")))
def test_arbitrary_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_bytes(content)
    with pytest.raises(StudyFileError) as caught:  # a title alone is no study
        read_study_file(path)
    assert all(each.isprintable() for each in caught.value.problems)


@pytest.mark.slow
@given(
    tables=st.dictionaries(
        st.sampled_from(sorted(RAW)) | st.text(max_size=5),
        VALUES | st.dictionaries(KEYS | st.text(max_size=5), VALUES, max_size=4),
        max_size=6,
    )
)
def test_arbitrary_tables(tables: dict[str, Any]) -> None:
    _checked(tomlkit.dumps({**RAW, **tables}))
