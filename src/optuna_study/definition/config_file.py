"""An exported training configuration, read as strictly as a study file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from optuna_study.config.settings import SECTIONS
from optuna_study.definition.read import parse_toml, read_config
from optuna_study.definition.resolve import check_config
from optuna_study.definition.values import Problems, as_table, unknown_keys
from optuna_study.errors import NotFoundError, StudyFileError
from optuna_study.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from optuna_study.config.settings import TrainConfig


def read_config_file(path: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration in a file that `export` wrote, and where it comes from.

    The ending says how to read it: .toml, .yaml, .yml or .json. Settings that are left out have
    their defaults.

    Raises:
        StudyFileError: it has problems; all of them are told.
        NotFoundError: it cannot be read.
    """
    raw = _raw(path)
    if not isinstance(raw, dict):
        raise StudyFileError(str(path), ["holds no tables; export writes data, model and train"])
    if "space" in raw:
        raise StudyFileError(
            str(path),
            ["is a study file; launch it, then make a configuration with `optuna-study export`"],
        )
    problems = Problems()
    unknown_keys(map(str, raw), (*SECTIONS, "provenance"), "", problems)
    config = read_config({str(key): value for key, value in raw.items()}, problems)
    check_config(config, problems)
    provenance = as_table(raw.get("provenance", {}), "provenance", problems)
    if problems.found:
        raise StudyFileError(str(path), problems.sentences())
    return config, provenance


def _raw(path: Path) -> Any:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise StudyFileError(str(path), ["must end in .toml, .yaml, .yml or .json"])
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StudyFileError(str(path), [f"byte {error.start}: is not UTF-8 text"]) from error
    except OSError as error:
        raise NotFoundError(f"config '{path}': cannot be read ({error.strerror})") from error
    return reader(text, str(path))


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyFileError(where, [f"no valid JSON: {error}"]) from error


def _yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        sentence = printable(" ".join(str(error).split()))
        raise StudyFileError(where, [f"no valid YAML: {sentence}"]) from error


_READERS: Mapping[str, Callable[[str, str], Any]] = {
    ".toml": parse_toml,
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
}
