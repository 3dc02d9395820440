"""Study files to typed values; every problem is named at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import dataset_names
from optuna_study.config.reader import Node, Problems, describe, read_config, read_fields
from optuna_study.config.settings import SECTIONS
from optuna_study.definition.baselines import read_baselines, read_statements
from optuna_study.definition.fixed import fix_settings
from optuna_study.definition.model import (
    DATA_KEYS,
    PROFILES,
    TOP_LEVEL_KEYS,
    Profile,
    SearchSettings,
    StudyFile,
    section_fields,
)
from optuna_study.definition.names import RULE, is_name
from optuna_study.definition.resolve import assemble
from optuna_study.definition.search_table import read_search
from optuna_study.definition.space_table import read_space
from optuna_study.definition.syntax import parse_toml, read_text
from optuna_study.errors import NotFoundError, StudyFileError
from optuna_study.paths import given_path
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    known = {file.stem for folder in searched for file in folder.glob("*.toml")}
    raise NotFoundError(
        f"study '{text}': no file {text}.toml in ./studies or installed, "
        f"{did_you_mean(text, known)}"
    )


def read_study_file(path: Path, fixed: Sequence[str] = ()) -> StudyFile:
    """The study file at a path, checked in every profile; `fixed` are settings as NAME=VALUE.

    Raises:
        StudyFileError: it has problems; all of them are named.
        NotFoundError: it cannot be read.
        UsageError: settings to fix that there are not.
    """
    return parse_study_file(read_text(path, "study file"), path.stem, path, fixed)


def parse_study_file(
    text: str, name: str, path: Path | None = None, fixed: Sequence[str] = ()
) -> StudyFile:
    """The study file that a text holds; `fixed` are settings as NAME=VALUE.

    Raises:
        StudyFileError: it has problems; all of them are named.
        UsageError: settings to fix that there are not.
    """
    where = str(path) if path else name
    problems = Problems()
    if not is_name(name):
        problems.add("file name", f"'{name}' cannot be the name of a study; use {RULE}")
    raw = parse_toml(text, where)
    fix_settings(raw, fixed)
    file = dataclasses.replace(_read_study(raw, name, path, problems), fixed=tuple(fixed))
    _check_profiles(file, problems)
    if problems.noted:
        raise StudyFileError(where, problems.sentences())
    return file


def _read_study(
    raw: dict[str, Any], name: str, path: Path | None, problems: Problems
) -> StudyFile:
    node = Node(raw, "", problems)
    if raw.pop("provenance", None) is not None:
        problems.add("provenance", "is an exported configuration; use `optuna-study train`")
    node.table(TOP_LEVEL_KEYS)
    config = read_config(node, also=DATA_KEYS)
    data = node.get("data", {})
    search = read_search(node.get("search", {}))
    space = read_space(node.get("space", {}))
    if not space and not problems.at("space"):
        problems.add("space", "is empty: name at least one setting to search")
    baselines = read_baselines(node.get("baselines", []))
    names = [baseline.name for baseline in baselines]
    return StudyFile(
        name=name,
        path=path,
        title=node.get("title", "").text() or "",
        source=node.get("source", "").text() or "",
        folder=_read_folder(data.get("folder", None), path),
        stand_in=_read_stand_in(data.get("stand_in", None)),
        config=config,
        search=SearchSettings(**search),
        space=space,
        baselines=baselines,
        statements=read_statements(node.get("claims", []), names),
        profiles=_read_profiles(node.get("profile", {})),
    )


def _read_folder(node: Node, path: Path | None) -> str | None:
    """A folder of pictures; a relative one is relative to the study file."""
    text = None if node.raw is None else node.text()
    if text is None:
        return None
    if not text.strip() or "\0" in text:
        node.refuse("must name a folder")
        return None
    return str(given_path(text, path.parent.absolute() if path else Path.cwd()))


def _read_stand_in(node: Node) -> str | None:
    if isinstance(node.raw, str) and node.raw in dataset_names():
        return node.raw
    if node.raw is not None:
        hint = node.problems.hint(node.raw if isinstance(node.raw, str) else "", dataset_names())
        node.refuse(f"must be a built-in data set, not {describe(node.raw)}, {hint}")
    return None


def _read_profiles(node: Node) -> dict[str, Profile]:
    profiles = {}
    for name, part in node.table([name for name in PROFILES if name != "full"]).items():
        given = part.table(PROFILE_KEYS)
        values = {
            section: read_fields(given[section], section_fields(section).values())
            for section in SECTIONS
            if section in given
        }
        search = read_search(given["search"]) if "search" in given else {}
        profiles[name] = Profile(values, search, read_space(part.get("space", {})))
    return profiles


def _check_profiles(file: StudyFile, problems: Problems) -> None:
    """Check that the parts fit each other; what is wrong in every profile is named once."""
    for profile in PROFILES:
        own = Problems(list(problems.noted))
        assemble(file, profile, own)
        for path, sentence in own.noted[len(problems.noted) :]:
            if profile == "full":
                problems.add(path, sentence)
            elif not problems.at(path):
                problems.add(f"profile.{profile}", f"{path}: {sentence}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False
