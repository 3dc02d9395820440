"""The page docs/study-file.md, written from the model, so that it says what the reader does.

`python -m optuna_study.definition.reference` writes it anew; a test fails when it is stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import AUGMENTATIONS, OPTIMIZERS, model_names
from optuna_study.definition.model import (
    BASELINE_KEYS,
    CLAIM_KEYS,
    DATA_KEYS,
    PINNED,
    TOP_LEVEL_KEYS,
    section_fields,
)
from optuna_study.definition.space_table import NOT_SEARCHED
from optuna_study.definition.values import bound, known_names, takes_reference, variants

if TYPE_CHECKING:
    import dataclasses
    from collections.abc import Iterable, Mapping, Sequence

PAGE = Path("docs/study-file.md")

EXAMPLE = """\
title = "Digits in a minute"
data = {name = "digits", image_size = 32}
model = {name = "alexnet", width = 0.1}
train = {epochs = 8, batch_size = 32, optimizer = "momentum"}
search = {trials = 12}
[space]
activation = ["relu", "gelu", "silu"]
lr = {low = 1e-3, high = 0.1, log = true}
breakpoints = {most = 1, factor = {low = 0.1, high = 1.0}}
[[baselines]]
name = "plain"
settings = {activation = "relu", lr = 0.01}
"""
"""A complete study file with a dimension of each kind."""


def page() -> str:
    """The whole page as Markdown."""
    blocks = [_INTRODUCTION.format(example=EXAMPLE.strip(), top=_keys(TOP_LEVEL_KEYS))]
    blocks += [_section("data", _DATA, _keys(DATA_KEYS)), _section("model", _MODEL, _variants())]
    blocks += [_section("train", _TRAIN, _readers()), _section("search", _SEARCH)]
    blocks.append(_SPACE.format(unsearched=_code(sorted(NOT_SEARCHED))))
    blocks.append(_BASELINES.format(keys=_keys(BASELINE_KEYS), pinned=_code(sorted(PINNED))))
    blocks += [_CLAIMS.format(keys=_keys(CLAIM_KEYS)), _PROFILE, _CHANGES]
    return "\n".join(block.strip() + "\n" for block in blocks)


def main(arguments: Sequence[str]) -> None:
    """Write the page to the path given, else to its place below the working folder."""
    target = Path(arguments[0]) if arguments else PAGE
    target.write_text(page(), encoding="utf-8")


def _section(section: str, text: str, more: str = "") -> str:
    rows = [
        (f"`{name}`", _default(entry), _values(section, entry), entry.metadata["doc"])
        for name, entry in section_fields(section).items()
    ]
    table = _table(("setting", "default", "values", "what it is"), rows)
    return "\n\n".join(part for part in (f"## [{section}]", text.strip(), table, more) if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def _keys(keys: Mapping[str, str]) -> str:
    return _table(("key", "what it is"), [(f"`{name}`", text) for name, text in keys.items()])


def _default(entry: dataclasses.Field[Any]) -> str:
    if entry.default is None:
        return "none"
    return f"`{json.dumps(entry.default)}`"


def _values(section: str, entry: dataclasses.Field[Any]) -> str:
    names = known_names(section, entry)
    if entry.name == "augmentation":
        names = ["none", *AUGMENTATIONS]
    if names:
        own = ", or a reference" if takes_reference(entry) else ""
        return f"{_code(names)}{own}"
    kind = str(entry.type).removesuffix(" | None")
    if kind in ("int", "float"):
        noun = "whole number" if kind == "int" else "number"
        low, high = entry.metadata["low"], entry.metadata["high"]
        return f"{noun}, {bound(low)} to {bound(high)}"
    return "text" if kind == "str" else "list of pairs"


def _variants() -> str:
    rows = [(f"`{name}`", _code(variants(name)) or "none") for name in model_names()]
    return f"Variants:\n\n{_table(('model', 'variants'), rows)}"


def _readers() -> str:
    rows = [
        (f"`{name}`", _code(",".join(entry.settings.values()).split(",")) or "nothing more")
        for name, entry in OPTIMIZERS.items()
    ]
    return f"What each optimizer reads besides the rate:\n\n{_table(('optimizer', 'reads'), rows)}"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names if name)


_INTRODUCTION = """
<!-- Written by `python -m optuna_study.definition.reference`; change the code, not this page. -->

# The study file

A study file says what is searched, on which pictures, and for how long. It is TOML, and lies in
`studies/NAME.toml`; `optuna-study launch NAME` runs it. Studies that come with the package are
found by their names too, and a path works in place of a name.

This one is complete. It searches the activation, the learning rate and whether, when and how far
the rate drops once, on data that needs no download:

```toml
{example}
```

Two commands help to write one: `optuna-study init NAME --data DIR` makes a commented file for a
folder of pictures, and `optuna-study validate NAME` tells every problem of a file at once, each
with its path:

```text
Error: studies/cats.toml has 3 problems:
  train.epoch: unknown key, did you mean 'epochs'?
  space.lr: low must be below high, not 0.1 and 0.001
  baselines.plain.activation: unknown name 'rleu', did you mean 'relu'?
```

A file may hold:

{top}

A *setting* is one value of `[data]`, `[model]` or `[train]`. Settings have unique names, so
`[space]` and the baselines speak of `lr` or `dropout` alone. A whole number may stand where a
fraction is meant (`dropout = 0`), not the other way round. A *reference* names a Python function
of one's own as `package.module:function`; the README has
[one of each](../README.md#adding-ones-own).
"""

_DATA = """
The pictures. A fifth of them is held out for testing and never seen by the search, a fifth of the
rest is for validation; identical and nearly identical pictures stay on one side.
"""

_MODEL = """
The architecture. A setting that is searched starts from its value here: a baseline that does not
name it has this value, and so does every trial for which its condition does not hold.
"""

_TRAIN = """
How the weights are found. `breakpoints = [[18, 0.003]]` trains with `lr` for 18 epochs and with
0.003 from then on.
"""

_SEARCH = """
What is optimised. `trials` counts every ended trial, whatever ended it, over all workers and all
launches of the study.
"""

_SPACE = """
## [space]

An entry a setting; its name is the setting's.

| form | example | what is searched |
| --- | --- | --- |
| choices | `activation = ["relu", "gelu"]` | one of a list, without an order between them |
| the same as a table | `slope = {{choices = [0.01, 0.2]}}` | the same, with room for `when` |
| range | `dropout = {{low = 0.0, high = 0.7}}` | a number between two bounds, both included |
| logarithmic range | `lr = {{low = 1e-4, high = 0.1, log = true}}` | powers of ten alike |
| stepped range | `dropout = {{low = 0.0, high = 0.6, step = 0.1}}` | steps above low |
| breakpoints | `breakpoints = {{most = 2, factor = {{low = 0.1, high = 1}}}}` | see below |

Settings of whole numbers (`batch_size`) take ranges of whole numbers. Some settings cannot be
searched, since trials share data and device and are compared epoch by epoch:
{unsearched}.

**Conditions.** `momentum = {{low = 0.5, high = 0.99, when = {{optimizer = "momentum"}}}}` searches
the momentum only in trials whose optimizer is momentum; in others it has its value of `[train]`.
A condition names a setting that is searched too, with one value or several; where it names two
settings, both must hold.

**Breakpoints.** `most` is how often the learning rate may change. Each change is found as the
number of epochs since the one before, so they are always in order, and as a factor on the rate
before it, so a schedule such as 0.01 to epoch 18, then 0.003, is said exactly. `factor` bounds
the factor (logarithmic, unless it has `log = false`); `after = {{low = 5, high = 50}}` bounds the
epochs, and may be left out. A change that would fall on the last epoch or later does not happen.
"""

_BASELINES = """
## [[baselines]]

Configurations chosen by hand. They run before anything is searched, to the end unless they
diverge, and stand beside the best in every table; those with `in_search = false` wait for a
comparison of the baselines.

```toml
[[baselines]]
name = "reverse"
group = "lr"
settings = {{activation = "relu", lr = 0.01, breakpoints = [[16, 0.8]]}}
outside = ["breakpoints"]
reported = "worse: diverges"
```

{keys}

A baseline may name any setting but those that all trials share:
{pinned}.
What it names and the space searches must lie inside the space: then it is the first that the
search learns from. Settings that are not searched are fixed for it alone, also `epochs`.

`launch --only baselines --seeds 3` searches nothing: it trains each baseline on three seeds, as a
study of its own (`NAME@baselines`), and sets what the source saw beside mean, spread and accuracy
on the held-out pictures; `figure` and `rank` let it say whether the source's order holds.
"""

_CLAIMS = """
## [[claims]]

What the source says of two baselines that no order within a group says. A comparison prints
each claim and whether it holds.

```toml
[[claims]]
text = "trained a third longer, batches of 16 beat batches of 8"
better = "longer"
worse = "strategy-3"
```

{keys}
"""

_PROFILE = """
## [profile.cpu]

The same study, made small enough for a machine without a GPU. `--profile cpu` takes it, and
`--profile auto`, the default, where there is no GPU.

```toml
[profile.cpu.data]
image_size = 64
[profile.cpu.model]
width = 0.25
[profile.cpu.train]
epochs = 15
[profile.cpu.search]
trials = 24
[profile.cpu.space]
batch_size = [8, 16]
```

Its tables change single settings; an entry of `[profile.cpu.space]` takes the place of the whole
entry of `[space]`. Where the profile changes `epochs`, all that is counted in epochs follows by
the same ratio: the breakpoints of `[train]` and of every baseline (rounded, kept distinct and in
order), a baseline's own `epochs`, `warmup_epochs`, and the bounds of searched ones; with 15 epochs
in place of 150, `[[18, 0.003]]` becomes `[[2, 0.003]]`.
"""

_CHANGES = """
## Names, and what may change later

The profile and stand-in data are part of a study's name, so that results never mix:
`alexnet_pokemon`, `alexnet_pokemon@cpu`, `alexnet_pokemon@cpu-rendered`. A study keeps the
definition it was made with. `trials` and `timeout` may change at any time, and so may `title`,
`source`, `reported`, `figure`, `rank`, `claims` and the place of the folder; with any other
change `launch` says what differs, such as `space.lr.high: 0.1 -> 0.3`, and `launch --name OTHER`
makes a further study.
"""

if __name__ == "__main__":
    main(sys.argv[1:])
