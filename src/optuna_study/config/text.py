"""A training configuration as a complete, commented file that `train` reads.

Sections `data`, `model` and `train` hold every setting, each under the sentence that documents it.
`provenance` says where the configuration comes from and, below `recorded`, what its trial reached.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from optuna_study.config.settings import SECTIONS, TrainConfig, config_to_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yaml import SafeDumper, SafeLoader


Format: TypeAlias = Literal["toml", "yaml", "json"]


def config_text(
    config: TrainConfig,
    provenance: Mapping[str, Any],
    recorded: Mapping[str, Any],
    format: Format = "toml",
) -> str:
    """The text of a configuration file.

    `provenance` and `recorded` are plain values: text, numbers, truth values, lists and
    dictionaries of them. What is None or not finite is left out, as TOML and strict JSON have no
    word for it.
    """
    sections = config_to_dict(config)
    origin = _plain(provenance)
    if recorded:
        origin["recorded"] = _plain(recorded)
    if format == "json":
        return json.dumps({**sections, "provenance": origin}, indent=2, allow_nan=False) + "\n"
    return (_toml if format == "toml" else _yaml)(sections, origin)


@cache
def setting_comment(section: str, name: str) -> str:
    """The sentence under which a setting stands in a file, with its legal values if it has few."""
    for entry in dataclasses.fields(SECTIONS[section]):
        if entry.name == name:
            choices = entry.metadata["choices"]
            doc: str = entry.metadata["doc"]
            return f"{doc} ({', '.join(choices)})" if isinstance(choices, tuple) else doc
    raise KeyError(f"{section}.{name}")


def _toml(sections: Mapping[str, Mapping[str, Any]], origin: Mapping[str, Any]) -> str:
    """Written line by line: every trial leaves such a file; as tomlkit's document it took 4 ms.

    Values that take thought, such as text with quotes, are tomlkit's to write.
    """
    lines: list[str] = []
    for section, settings in sections.items():
        lines.append(f"[{section}]")
        for name, value in settings.items():
            lines += [f"# {setting_comment(section, name)}", f"{name} = {_toml_value(value)}"]
        lines.append("")
    lines += _toml_table("provenance", origin)
    return "\n".join(lines) + "\n"


def _toml_table(name: str, values: Mapping[str, Any]) -> list[str]:
    """A table's lines, the tables in it after its values."""
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"[{name}]"]
    for key, value in values.items():
        if key not in tables:
            lines.append(f"{_toml_key(key)} = {_toml_value(value)}")
    for key, table in tables.items():
        lines += ["", *_toml_table(f"{name}.{_toml_key(key)}", table)]
    return lines


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and _PLAIN_TEXT.fullmatch(value):
        return f'"{value}"'
    if isinstance(value, list | tuple) and not any(isinstance(each, dict) for each in value):
        return f"[{', '.join(_toml_value(each) for each in value)}]"
    import tomlkit

    if isinstance(value, list | tuple):
        inline = tomlkit.array()
        inline.extend(value)
        return inline.as_string()
    return str(tomlkit.item(value).as_string())


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_TEXT = re.compile(r"[^\"\\\x00-\x1f\x7f]*")


def _yaml(sections: Mapping[str, Mapping[str, Any]], origin: Mapping[str, Any]) -> str:
    import yaml

    lines: list[str] = []
    for section, settings in sections.items():
        lines.append(f"{section}:")
        for name, value in settings.items():
            lines += [f"  # {setting_comment(section, name)}", f"  {name}: {_scalar(value)}"]
        lines.append("")

    class Dumper(yaml.SafeDumper):
        """Quotes text that a reader could take for a number such as 1e-2."""

    with_exponents(Dumper)
    tail = yaml.dump(
        {"provenance": dict(origin)}, Dumper=Dumper, sort_keys=False, allow_unicode=True
    )
    return "\n".join(lines) + "\n" + tail


def with_exponents(cls: type[SafeLoader | SafeDumper]) -> None:
    """Make a loader or dumper of one's own take 1e-2 for a number, as in YAML 1.2."""
    pattern = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+\Z")
    cls.add_implicit_resolver("tag:yaml.org,2002:float", pattern, list("-+.0123456789"))


def _scalar(value: Any) -> str:
    import yaml

    if isinstance(value, str):
        return json.dumps(value)  # quoted: YAML reads a bare no or 1e3 as something else
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _clean(value) for key, value in values.items() if _sayable(value)}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return _plain(value)
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value if _sayable(each)]
    return value


def _sayable(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))
