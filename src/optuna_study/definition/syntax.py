"""The text of a file, and TOML, JSON and YAML to raw values: what is not even that is one line.

Files come from anywhere: sizes, depth and what YAML repeats by reference are bounded.
"""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from optuna_study.config.text import with_exponents
from optuna_study.errors import NotFoundError, StudyFileError
from optuna_study.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LARGEST = 32 * 2**20  # bytes; the curve of the longest run, exported, has half as many

# More than 32 keys joined by dots: reading takes the square of their number.
_KEY = r"""(?<![\w-])(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?:{_KEY}[ \t]*+\.[ \t]*+){{32}}")

_OTHER_TEXT = {
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}


def read_text(path: Path, kind: str) -> str:
    """The text of a file in UTF-8, with or without its mark.

    Raises:
        StudyFileError: it is no such text, or too long.
        NotFoundError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise NotFoundError(f"{kind} '{path}': cannot be read ({error.strerror})") from error
    if len(content) > LARGEST:
        raise StudyFileError(str(path), [f"is larger than {LARGEST // 2**20} MiB"])
    for name, marks in _OTHER_TEXT.items():
        if content.startswith(marks) or (name == "UTF-16" and b"\0" in content[:2]):
            raise StudyFileError(str(path), [f"is {name} text; save it as UTF-8"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        sentence = f"byte {error.start}: is not UTF-8 text; save it as UTF-8"
        raise StudyFileError(str(path), [sentence]) from error


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The raw values of a TOML text.

    Raises:
        StudyFileError: it is no TOML; says in which line.
    """
    if _LONG_KEY.search(text):
        raise StudyFileError(where, ["no valid TOML: nested too deeply"])
    try:
        return tomllib.loads(text)
    except ValueError as error:  # no TOML, or a whole number of thousands of digits
        raise StudyFileError(where, [f"no valid TOML: {printable(str(error))}"]) from error
    except RecursionError as error:
        raise StudyFileError(where, ["no valid TOML: nested too deeply"]) from error


def parse_json(text: str, where: str) -> object:
    """The raw value of a JSON text.

    Raises:
        StudyFileError: it is no JSON; says where.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise StudyFileError(where, [f"no valid JSON: {error}"]) from error
    except RecursionError as error:
        raise StudyFileError(where, ["no valid JSON: nested too deeply"]) from error


def parse_yaml(text: str, where: str) -> object:
    """The raw value of a YAML text; `1e-2` is a number, as in YAML 1.2.

    Raises:
        StudyFileError: it is no YAML, or merges tables; says where.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":  # a few lines of them fill any memory
                    raise yaml.constructor.ConstructorError(
                        None, None, "'<<' is not supported", key.start_mark
                    )

    with_exponents(Loader)
    try:
        loader = Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        sentence = printable(" ".join(str(error).split()))
        raise StudyFileError(where, [f"no valid YAML: {sentence}"]) from error
    except RecursionError as error:
        raise StudyFileError(where, ["no valid YAML: nested too deeply"]) from error


PARSERS: Mapping[str, Callable[[str, str], object]] = {
    ".toml": parse_toml,
    ".json": parse_json,
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
}
"""How a file is read, by its ending."""
