"""Writes docs/articles.md: every row of the five articles beside what came out here.

    python docs/articles.py storage/studies.db

from stores that `launch STUDY --only baselines --seeds 3` has filled, later stores going before
earlier ones. Nothing in the page's tables is written by hand; the words around them stand in
articles-notes.md.
"""

from __future__ import annotations

import datetime
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from optuna_study.report.comparison import TEST, TOLD_APART, Spread, Verdict, told_apart
from optuna_study.report.comparison_page import (
    chance,
    columns,
    diverged_sentence,
    is_comparison,
    load_groups,
    shown,
    verdict_sentence,
)
from optuna_study.store.open import open_store
from optuna_study.store.studies import find_study, study_names
from optuna_study.training.build import build_model
from optuna_study.training.config import ModelSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna_study.report.comparison import Group
    from optuna_study.store.records import StudyRecord

PAGE = Path(__file__).with_name("articles.md")

ARTICLES = {
    "A. AlexNet on Pokémon and flowers": ("alexnet_pokemon", "alexnet_flower"),
    "B. Tuning a convolutional network": ("convnet_cifar10",),
    "C. Course exercises": (
        "spiral",
        "mnist_fc",
        "mnist_cnn",
        "lenet_cifar10",
        "vgg_cifar10",
        "residual_cifar10",
    ),
    "D. AlexNet in detail": (),
    "E. An MNIST network improved one piece at a time": ("mnist_mlp",),
}

# Of AlexNet's layers: parameters with bias, and what the article prints where that differs.
LAYERS = {
    "c1": (34_944, "34,848, its bias dropped"),
    "c2": (307_456, ""),
    "c3": (885_120, ""),
    "c4": (663_936, ""),
    "c5": (442_624, ""),
    "fc6": (37_752_832, ""),
    "fc7": (16_781_312, ""),
    "out": (4_097_000, "4,096,000, its bias dropped"),
}


@dataclass(frozen=True)
class Found:
    """A comparison in a store."""

    study: StudyRecord
    groups: tuple[Group, ...]

    @property
    def file(self) -> str:
        """The name of its study file."""
        return str(self.study.definition["study"])

    def spread(self, baseline: str) -> Spread | None:
        """What a baseline reached on held-out pictures."""
        rows = [row for group in self.groups for row in group.rows if row.baseline == baseline]
        return rows[0].spreads.get(TEST) if rows else None


NOTES = Path(__file__).with_name("articles-notes.md")


def main(places: Sequence[str]) -> None:
    """Write the page from SQLite files or storage URLs."""
    found = {each.file: each for place in places for each in comparisons(place)}
    PAGE.write_text(page(found, read_notes(NOTES.read_text(encoding="utf-8"))), encoding="utf-8")


def page(found: Mapping[str, Found], notes: Mapping[str, str]) -> str:
    """The whole page: comparisons by study file, and what is said beside them."""
    today = f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}"
    blocks = [notes["introduction"].replace("DATE", today)]
    for title, studies in ARTICLES.items():
        blocks.append(f"## {title}")
        for name in studies:
            blocks += [*study_blocks(name, found.get(name)), notes.get(name, "")]
        if title.startswith("C."):
            blocks += permutation_claims(found.get("mnist_fc"), found.get("mnist_cnn"))
        if title.startswith("D."):
            blocks += layer_blocks()
        blocks.append(notes.get(title[:1], ""))
    return "\n\n".join(block.strip() for block in blocks if block) + "\n"


def comparisons(place: str) -> Iterable[Found]:
    """The comparisons of a store."""
    store = open_store(place if "://" in place else f"sqlite:///{place}")
    for name in study_names(store):
        study = find_study(store, name)
        if study is not None and is_comparison(study):
            yield Found(study, load_groups(store, study))


def read_notes(text: str) -> dict[str, str]:
    r"""What is said beside the tables, by study or article.

    >>> read_notes("About this file.\n## spiral\nTurns.\n## D\nDetails.")
    {'spiral': 'Turns.', 'D': 'Details.'}
    """
    parts = re.split(r"^## (introduction|[a-z_0-9]+|[A-E])$", text, flags=re.MULTILINE)
    return {name: said.strip() for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def study_blocks(name: str, found: Found | None) -> list[str]:
    """One study: how it was run, its groups, whether their order holds."""
    if found is None:
        return [f"### {name}", "Not measured yet."]
    study, config = found.study, found.study.definition["config"]
    environment = study.environment
    runs = max((row.runs for group in found.groups for row in group.rows), default=0)
    made = datetime.datetime.fromtimestamp(study.created, tz=datetime.UTC)
    facts = (
        f"`{study.name}`: {config['data']['name']} at size {config['data']['image_size']}, "
        f"{sum(environment['class_counts']):,} training pictures, {config['train']['epochs']} "
        f"epochs, profile {study.definition['profile']}; {runs} seeds; "
        f"{environment['device']}, torch {environment['torch']}, {made:%Y-%m-%d}."
    )
    blocks = [f"### {name}", facts]
    for group in found.groups:
        headers, rows = columns(group)
        blocks.append(f"**{group.name}**\n\n{markdown(headers, rows)}")
        if group.verdict is not Verdict.NONE:
            blocks.append(verdict_sentence(group))
    guessing = chance(study)
    if any(row.diverged for group in found.groups for row in group.rows):
        blocks.append(diverged_sentence(study))
    elif guessing is not None:
        blocks.append(f"Guessing the largest class gives {100 * guessing:.1f} %.")
    return blocks


def permutation_claims(dense: Found | None, convolutional: Found | None) -> list[str]:
    """The exercise's two claims, which compare one study with another."""
    if dense is None or convolutional is None:
        return []
    fc, cnn = ((each.spread("plain"), each.spread("permuted")) for each in (dense, convolutional))
    if fc[0] is None or fc[1] is None or cnn[0] is None or cnn[1] is None:
        return []
    ahead = cnn[0].mean - fc[0].mean
    lost = cnn[0].mean - cnn[1].mean, fc[0].mean - fc[1].mean
    # Losses of runs that share nothing: every plain run less the mean of the permuted ones.
    losses = [
        Spread(tuple(value - permuted.mean for value in plain.values))
        for plain, permuted in ((cnn[0], cnn[1]), (fc[0], fc[1]))
    ]
    rows = [
        [
            "the convolutional net is ahead on plain pictures",
            f"{shown(cnn[0])} against {shown(fc[0])}",
            judged(ahead, told_apart(cnn[0], fc[0])),
        ],
        [
            "it loses more by the permutation",
            f"{100 * lost[0]:.1f} against {100 * lost[1]:.1f} points",
            judged(lost[0] - lost[1], told_apart(*losses)),
        ],
    ]
    return [
        "### mnist_cnn against mnist_fc",
        markdown(["the exercise says", "here, held-out pictures", "holds"], rows),
    ]


def layer_blocks() -> list[str]:
    """AlexNet's layers as the model here has them, beside the article's table."""
    settings = ModelSettings(name="alexnet", variant="original")
    with torch.device("meta"):
        model = build_model(settings, channels=3, image_size=227, classes=1000)
    counts = [
        sum(parameter.numel() for parameter in layer.parameters())
        for layer in model.modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    ]
    rows = [
        [name, f"{article:,}", printed, f"{here:,}", "yes" if here == article else "NO"]
        for (name, (article, printed)), here in zip(LAYERS.items(), counts, strict=True)
    ]
    headers = ["layer", "parameters", "the article prints", "here", "agrees"]
    return [
        "Parameters of `alexnet`, variant `original`, at 227 pixels and 1,000 classes, counted in "
        "the model:",
        markdown(headers, rows),
    ]


def markdown(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def judged(gain: float, p: float) -> str:
    """Whether a claim holds that the first of two is ahead, by how far it is."""
    if p >= TOLD_APART:
        return f"left open (p = {p:.2g})"
    return "yes" if gain > 0 else "no"


if __name__ == "__main__":
    main(sys.argv[1:])
