"""A study file to its typed model: finds it, reads it, and tells every problem at once.

Vocabulary: *raw* values are what TOML gives; a *path* is where one stands, such as
`space.lr.high`; *problems* are collected while reading goes on with what is left.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import dataset_names
from optuna_study.config.settings import SECTION_OF, SECTIONS, TrainConfig
from optuna_study.definition.model import (
    BASELINE_KEYS,
    DATA_KEYS,
    MEASURES,
    PINNED,
    PROFILES,
    TOP_LEVEL_KEYS,
    Baseline,
    Figure,
    Profile,
    SearchSettings,
    StudyFile,
    section_fields,
)
from optuna_study.definition.names import RULE, is_name
from optuna_study.definition.resolve import assemble
from optuna_study.definition.space_table import read_space
from optuna_study.definition.statements import read_claims
from optuna_study.definition.values import (
    Problems,
    as_table,
    as_text,
    describe,
    number,
    setting_value,
    unknown_keys,
)
from optuna_study.errors import NotFoundError, StudyFileError
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.config.settings import Setting

PROFILE_KEYS = (*SECTIONS, "search", "space")


def study_folders() -> tuple[Path, ...]:
    """Where study files are looked up: `./studies`, then those that come with the package."""
    package = Path(__file__).parents[1]
    return (Path("studies"), package / "studies", package.parents[1] / "studies")


def find_study_file(name_or_path: str | Path, folders: Sequence[Path] | None = None) -> Path:
    """The study file of a name, or the file itself when a path is given.

    Raises:
        NotFoundError: neither a known study nor a file.
    """
    text = str(name_or_path)
    path = Path(text)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if _is_file(path):
            return path
        raise NotFoundError(f"study file '{text}': no such file")
    searched = study_folders() if folders is None else folders
    for folder in searched:
        if is_name(text) and _is_file(folder / f"{text}.toml"):
            return folder / f"{text}.toml"
    known = {each.stem for folder in searched for each in folder.glob("*.toml")}
    raise NotFoundError(
        f"study '{text}': no file {text}.toml in ./studies or installed, "
        f"{did_you_mean(text, known)}"
    )


def read_study_file(path: Path) -> StudyFile:
    """The study file at a path, checked in every profile.

    Raises:
        StudyFileError: it has problems; all of them are told.
        NotFoundError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StudyFileError(str(path), [f"byte {error.start}: is not UTF-8 text"]) from error
    except OSError as error:
        raise NotFoundError(f"study file '{path}': cannot be read ({error.strerror})") from error
    return parse_study_file(text, path.stem, path)


def parse_study_file(text: str, name: str, path: Path | None = None) -> StudyFile:
    """The study file that a text holds.

    Raises:
        StudyFileError: it has problems; all of them are told.
    """
    where = str(path) if path else name
    problems = Problems()
    if not is_name(name):
        problems.add("file name", f"'{name}' cannot be the name of a study; use {RULE}")
    file = _read(parse_toml(text, where), name, path, problems)
    _check_profiles(file, problems)
    if problems.found:
        raise StudyFileError(where, problems.sentences())
    return file


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The raw values of a TOML text.

    Raises:
        StudyFileError: it is no TOML; says in which line.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyFileError(where, [f"no valid TOML: {error}"]) from error
    except ValueError as error:  # a whole number of thousands of digits
        raise StudyFileError(where, [f"no valid TOML: {error}"]) from error
    except RecursionError as error:
        raise StudyFileError(where, ["no valid TOML: nested too deeply"]) from error


def read_config(raw: dict[str, Any], problems: Problems) -> TrainConfig:
    """The sections of a training configuration; what is missing or wrong has its default."""
    sections: dict[str, Any] = {
        section: cls(**read_section(section, raw.get(section, {}), section, problems))
        for section, cls in SECTIONS.items()
    }
    return TrainConfig(**sections)


def read_section(
    section: str, raw: Any, path: str, problems: Problems, also: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The settings that a table gives for a section; `also` are keys that others read."""
    fields = section_fields(section)
    table = as_table(raw, path, problems)
    unknown_keys(table, (*fields, *also), path, problems)
    found: dict[str, Setting] = {}
    for name, value in table.items():
        if name in fields:
            checked = setting_value(section, name, value, f"{path}.{name}", problems)
            if checked is not None:
                found[name] = checked
    return found


def _read(raw: dict[str, Any], name: str, path: Path | None, problems: Problems) -> StudyFile:
    if "provenance" in raw:
        problems.add("provenance", "is an exported configuration; use `optuna-study train`")
        del raw["provenance"]
    unknown_keys(raw, TOP_LEVEL_KEYS, "", problems)
    data = as_table(raw.get("data", {}), "data", problems)
    own = {key: data.pop(key) for key in DATA_KEYS if key in data}
    folder = _folder(own.get("folder"), path, problems)
    stand_in = _stand_in(own.get("stand_in"), problems)
    config = read_config({**raw, "data": data}, problems)
    search = read_section("search", raw.get("search", {}), "search", problems)
    space = read_space(raw.get("space", {}), "space", problems)
    if not space and not problems.at("space"):
        problems.add("space", "is empty: name at least one setting to search")
    baselines = _read_baselines(raw.get("baselines", []), problems)
    return StudyFile(
        name=name,
        path=path,
        title=as_text(raw.get("title", ""), "title", problems),
        source=as_text(raw.get("source", ""), "source", problems),
        folder=folder,
        stand_in=stand_in,
        config=config,
        search=SearchSettings(**search),
        space=space,
        baselines=baselines,
        claims=read_claims(raw.get("claims", []), [each.name for each in baselines], problems),
        profiles=_read_profiles(raw.get("profile", {}), problems),
    )


def _folder(raw: Any, path: Path | None, problems: Problems) -> str | None:
    """A folder of pictures; a relative one is relative to the study file."""
    if raw is None:
        return None
    text = as_text(raw, "data.folder", problems)
    if isinstance(raw, str) and (not text or "\0" in text):
        problems.add("data.folder", "must name a folder")
        return None
    below = path.parent.absolute() if path else Path.cwd()
    return str(below / os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises without a home


def _stand_in(raw: Any, problems: Problems) -> str | None:
    if raw is None:
        return None
    if isinstance(raw, str) and raw in dataset_names():
        return raw
    hint = did_you_mean(raw if isinstance(raw, str) else "", dataset_names())
    problems.add("data.stand_in", f"must be a built-in data set, not {describe(raw)}, {hint}")
    return None


def _read_baselines(raw: Any, problems: Problems) -> tuple[Baseline, ...]:
    if not isinstance(raw, list):
        problems.add("baselines", f"must be written as [[baselines]] tables, not {describe(raw)}")
        return ()
    found: list[Baseline] = []
    for index, each in enumerate(raw):
        path = f"baselines[{index}]"
        table = as_table(each, path, problems)
        if isinstance(each, dict):
            baseline = _read_baseline(table, path, problems)
            if baseline.name and baseline.name in {other.name for other in found}:
                problems.add(path, f"a second baseline named '{baseline.name}'; names are unique")
            found.append(baseline)
    return tuple(found)


def _read_baseline(table: dict[str, Any], path: str, problems: Problems) -> Baseline:
    name = as_text(table.get("name", ""), f"{path}.name", problems)
    if is_name(name):
        path = f"baselines.{name}"
    else:
        problems.add(f"{path}.name", f"{describe(name)} cannot be a baseline's name; use {RULE}")
    unknown_keys(table, BASELINE_KEYS, path, problems)
    settings = _read_baseline_settings(
        as_table(table.get("settings", {}), f"{path}.settings", problems), path, problems
    )
    return Baseline(
        name=name,
        group=as_text(table.get("group", ""), f"{path}.group", problems),
        settings=settings,
        reported=as_text(table.get("reported", ""), f"{path}.reported", problems),
        outside=_read_outside(table.get("outside", []), path, problems),
        figure=_read_figure(table["figure"], path, problems) if "figure" in table else None,
        rank=_read_rank(table["rank"], path, problems) if "rank" in table else None,
        in_search=_read_in_search(table.get("in_search", True), path, problems),
    )


def _read_figure(raw: Any, path: str, problems: Problems) -> Figure | None:
    where = f"{path}.figure"
    table = as_table(raw, where, problems)
    unknown_keys(table, MEASURES, where, problems)
    if isinstance(raw, dict) and len(table) != 1:
        problems.add(where, f"must hold one figure, {' or '.join(MEASURES)}")
        return None
    for measure in table.keys() & set(MEASURES):
        value = number(table[measure], "float", f"{where}.{measure}", problems)
        if value is not None and 0 <= value <= 1:
            return Figure(measure, value)
        if value is not None:
            problems.add(
                f"{where}.{measure}", f"must be a fraction of 1, not {describe(table[measure])}"
            )
    return None


def _read_rank(raw: Any, path: str, problems: Problems) -> int | None:
    value = number(raw, "int", f"{path}.rank", problems)
    if value is not None and value < 1:
        problems.add(f"{path}.rank", f"must be 1 for the best, or more, not {describe(raw)}")
        return None
    return None if value is None else int(value)


def _read_in_search(raw: Any, path: str, problems: Problems) -> bool:
    if not isinstance(raw, bool):
        problems.add(f"{path}.in_search", f"must be true or false, not {describe(raw)}")
    return raw is not False


def _read_baseline_settings(
    table: dict[str, Any], path: str, problems: Problems
) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for name, raw in table.items():
        where = f"{path}.{name}"
        if name not in SECTION_OF:
            known = SECTION_OF.keys() - PINNED
            problems.add(where, f"unknown setting, {did_you_mean(name, known)}")
        elif name in PINNED:
            problems.add(where, f"is the same for all trials; set it in [{SECTION_OF[name]}]")
        else:
            value = setting_value(SECTION_OF[name], name, raw, where, problems)
            if value is not None:
                found[name] = value
    return found


def _read_outside(raw: Any, path: str, problems: Problems) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
        problems.add(f"{path}.outside", f"must be a list of settings, not {describe(raw)}")
        return ()
    for name in raw:
        if name not in SECTION_OF:
            hint = did_you_mean(name, SECTION_OF)
            problems.add(f"{path}.outside", f"unknown setting {describe(name)}, {hint}")
    return tuple(name for name in raw if name in SECTION_OF)


def _read_profiles(raw: Any, problems: Problems) -> dict[str, Profile]:
    found: dict[str, Profile] = {}
    table = as_table(raw, "profile", problems)
    unknown_keys(table, [name for name in PROFILES if name != "full"], "profile", problems)
    for name in set(table) & set(PROFILES):
        path = f"profile.{name}"
        parts = as_table(table[name], path, problems)
        unknown_keys(parts, PROFILE_KEYS, path, problems)
        given = {
            section: read_section(section, parts[section], f"{path}.{section}", problems)
            for section in (*SECTIONS, "search")
            if section in parts
        }
        search = given.pop("search", {})
        space = read_space(parts.get("space", {}), f"{path}.space", problems)
        found[name] = Profile(given, search, space)
    return found


def _check_profiles(file: StudyFile, problems: Problems) -> None:
    """Check that the parts fit each other; what is wrong in every profile is told once."""
    for profile in PROFILES:
        own = Problems(list(problems.found))
        assemble(file, profile, own)
        for path, sentence in own.found[len(problems.found) :]:
            if profile == "full":
                problems.add(path, sentence)
            elif not problems.at(path):
                problems.add(f"profile.{profile}", f"{path}: {sentence}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False
