"""Writes docs/articles.md: every row of the five articles beside what came out here.

    python docs/articles.py storage/studies.db

from stores that `launch STUDY --only baselines --seeds 3` has filled. Of several comparisons of
one study file the page has one, and standard error says which it leaves out: real pictures go
before a stand-in, then the full profile before a smaller one, then later stores before earlier
ones. Of a study that no store holds the page keeps its tables, and names the rows that its file
has got since. Nothing in the page's tables is written by hand; the words around them stand in
articles-notes.md.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from optuna_study.config.settings import ModelSettings
from optuna_study.definition.read import read_study_file
from optuna_study.report.comparison.compare import TEST, Verdict, verdict_of
from optuna_study.report.comparison.page import (
    chance,
    claim_columns,
    columns,
    footnotes,
    is_comparison,
    load_comparison,
    shown,
    verdict_sentence,
    verdict_words,
)
from optuna_study.report.comparison.welch import Spread, contrast
from optuna_study.report.curves.read import read_study
from optuna_study.store.engine.open import open_store
from optuna_study.store.schema import SIDE_COUNTS
from optuna_study.store.studies.studies import find_study, study_names
from optuna_study.training.build_model import build_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna_study.report.comparison.compare import Comparison
    from optuna_study.store.records import StudyRecord

PAGE = Path(__file__).with_name("articles.md")
STUDIES = Path(__file__).parents[1] / "studies"

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

PERMUTED = ("mnist_fc", "mnist_cnn")  # the two studies of which an exercise compares the losses

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
    comparison: Comparison
    place: str = ""  # the store's URL as it may be shown

    def __str__(self) -> str:
        """Its name and where it is."""
        return f"{self.study.name} in {self.place}"

    @property
    def file(self) -> str:
        """The name of its study file."""
        return str(self.study.definition["study"])

    @property
    def standing(self) -> tuple[bool, bool]:
        """What it goes before others of its file by: real pictures, the full profile."""
        definition = self.study.definition
        is_real = definition["config"]["data"]["name"] != definition["stand_in"]
        return is_real, definition["profile"] == "full"

    @property
    def tested(self) -> dict[str, Spread]:
        """What the baselines reached on held-out pictures."""
        rows = self.comparison.rows
        return {row.baseline: row.spreads[TEST] for row in rows if TEST in row.spreads}


NOTES = Path(__file__).with_name("articles-notes.md")
AGAINST = "mnist_cnn against mnist_fc"
NOTHING = "Not measured yet."
UNMEASURED = "Added since, not measured yet:"
WORDS = "<!-- from articles-notes.md -->"


def main(places: Sequence[str]) -> None:
    """Write the page from SQLite files or storage URLs."""
    found, left_out = chosen(each for place in places for each in comparisons(place))
    for each in left_out:
        sys.stderr.write(f"{each}: left out for {found[each.file]}\n")
    before = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    notes = read_notes(NOTES.read_text(encoding="utf-8"))
    PAGE.write_text(page(found, notes, before), encoding="utf-8")


def chosen(those: Iterable[Found]) -> tuple[dict[str, Found], list[Found]]:
    """The comparison to show of each study file, and those that are left out for it."""
    ranked = sorted(those, key=lambda each: each.standing)  # of equals the later one stays later
    best = {each.file: each for each in ranked}
    return best, [each for each in ranked if each is not best[each.file]]


def page(found: Mapping[str, Found], notes: Mapping[str, str], before: str = "") -> str:
    """The whole page: comparisons by study file, and what is said beside them.

    `before` is the page as it was.
    """
    today = f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}"
    blocks = [notes["introduction"].replace("DATE", today)]
    for title, studies in ARTICLES.items():
        blocks.append(f"## {title}")
        for name in studies:
            if name in found:
                blocks += [*study_blocks(found[name]), *words(name, notes)]
            else:
                blocks += kept_blocks(name, notes, before)
        if title.startswith("C."):
            nets = [found[name].tested if name in found else {} for name in PERMUTED]
            made = permutation_claims(*nets)
            had = section(before, AGAINST)
            blocks += made or ([f"### {AGAINST}", had] if had else [])
        if title.startswith("D."):
            blocks += layer_blocks()
        blocks.append(notes.get(title[:1], ""))
    return "\n\n".join(block.strip() for block in blocks if block) + "\n"


def comparisons(place: str, studies: Path = STUDIES) -> Iterable[Found]:
    """The comparisons of a store, whose study files lie in a folder."""
    store = open_store(place if "://" in place else f"sqlite:///{place}")
    for name in study_names(store):
        study = find_study(store, name)
        if study is not None and is_comparison(study):
            study = in_todays_words(study, studies)
            comparison = load_comparison(store, study, read_study(store, study))
            yield Found(study, comparison, str(store.address))


def in_todays_words(study: StudyRecord, studies: Path) -> StudyRecord:
    """A study with what its file says of its source by now: that may change after the runs."""
    file = read_study_file(studies / f"{study.definition['study']}.toml")
    words = {
        each.name: {
            "reported": each.reported,
            "rank": each.rank,
            "figure": each.figure and dataclasses.asdict(each.figure),
        }
        for each in file.baselines
    }
    baselines = [each | words.get(each["name"], {}) for each in study.definition["baselines"]]
    names = {each["name"] for each in baselines}
    claims = [
        dataclasses.asdict(each) for each in file.statements if {each.better, each.worse} <= names
    ]
    definition = {**study.definition, "baselines": baselines, "claims": claims}
    return dataclasses.replace(study, definition=definition)


def read_notes(text: str) -> dict[str, str]:
    r"""What is said beside the tables, by study or article.

    >>> read_notes("About this file.\n## spiral\nTurns.\n## D\nDetails.")
    {'spiral': 'Turns.', 'D': 'Details.'}
    """
    parts = re.split(r"^## (introduction|[a-z_0-9]+|[A-E])$", text, flags=re.MULTILINE)
    return {name: said.strip() for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def section(page: str, title: str) -> str:
    r"""What stands below a heading of a page.

    >>> section("## A\n### one\nOne.\n\n### two\nTwo.\n## B\n", "two"), section("", "two")
    ('Two.', '')
    """
    below = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    return below[1].strip() if below else ""


def words(name: str, notes: Mapping[str, str]) -> list[str]:
    """What is said of a study below its tables."""
    return [WORDS, notes[name]] if name in notes else []


def kept_blocks(name: str, notes: Mapping[str, str], before: str) -> list[str]:
    """One study's tables as the page had them, and what has been added to its file since."""
    had, _, said = section(before, name).split(UNMEASURED)[0].strip().partition(WORDS)
    if had in ("", NOTHING):
        return [f"### {name}", NOTHING]
    rows = read_study_file(STUDIES / f"{name}.toml").baselines
    added = [row for row in rows if f"\n| {row.name} |" not in had]
    table = markdown(["row", "group", "source"], [[r.name, r.group, r.reported] for r in added])
    blocks = [f"### {name}", had, *(words(name, notes) if said else [])]
    return [*blocks, *([UNMEASURED, table] if added else [])]


def study_blocks(found: Found) -> list[str]:
    """One study: how it was run, its groups, whether their order holds."""
    study, config = found.study, found.study.definition["config"]
    environment = study.environment
    runs = max((row.asked // (1 + len(row.same)) for row in found.comparison.rows), default=0)
    sides = environment.get(SIDE_COUNTS)
    held_out = f" and {sides['test']:,} held-out ones" if sides else ""
    made = datetime.datetime.fromtimestamp(study.created, tz=datetime.UTC)
    facts = (
        f"`{study.name}`: {config['data']['name']} at size {config['data']['image_size']}, "
        f"{sum(environment['class_counts']):,} training pictures{held_out}, "
        f"{config['train']['epochs']} epochs, profile {study.definition['profile']}; "
        f"{runs} seeds; {environment['device']}, torch {environment['torch']}, {made:%Y-%m-%d}."
    )
    blocks = [f"### {found.file}", facts]
    for group in found.comparison.groups:
        headers, rows = columns(group)
        blocks.append(f"**{group.name}**\n\n{markdown(headers, rows)}")
        if group.pairs or group.verdict is not Verdict.NONE:
            blocks.append(verdict_sentence(group))
    if found.comparison.claims:
        blocks.append(markdown(*claim_columns(found.comparison)))
    guessing = chance(study)
    if guessing is not None:
        blocks.append(f"Guessing the largest class gives {100 * guessing:.1f} %.")
    return [*blocks, *(note.replace("*", "\\*") for note in footnotes(study, found.comparison))]


def permutation_claims(
    dense: Mapping[str, Spread], convolutional: Mapping[str, Spread]
) -> list[str]:
    """The exercise's two claims, which compare one study with another."""
    if not dense.keys() & convolutional.keys() >= {"plain", "permuted"}:
        return []
    fc, cnn = ((each["plain"], each["permuted"]) for each in (dense, convolutional))
    ahead = contrast([(1, cnn[0]), (-1, fc[0])])
    lost = contrast([(1, cnn[0]), (-1, cnn[1])]), contrast([(1, fc[0]), (-1, fc[1])])
    more = contrast([(1, cnn[0]), (-1, cnn[1]), (-1, fc[0]), (1, fc[1])])
    rows = [
        [
            "the convolutional net is ahead on plain pictures",
            f"{shown(cnn[0])} against {shown(fc[0])}",
            verdict_words(verdict_of(ahead.gain, ahead.p()), ahead.p()),
        ],
        [
            "it loses more by the permutation",
            f"{100 * lost[0].gain:.1f} against {100 * lost[1].gain:.1f} points",
            verdict_words(verdict_of(more.gain, more.p()), more.p()),
        ],
    ]
    headers = ["the exercise says", "held-out pictures", "here"]
    return [f"### {AGAINST}", markdown(headers, rows)]


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


if __name__ == "__main__":
    main(sys.argv[1:])
