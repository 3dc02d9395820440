from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_study.config.settings import Setting, TrainConfig, with_settings
from optuna_study.definition.model import (
    OPTUNAS_PRUNERS,
    PRUNERS,
    SAMPLERS,
    Baseline,
    Definition,
    Finetune,
    SearchSettings,
    Statement,
)
from optuna_study.definition.read import parse_study_file, read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import definition_hash, diff, from_json, to_json
from optuna_study.errors import OtherVersionError
from optuna_study.space.dimensions import Breakpoints, Choice, FloatRange, IntRange
from optuna_study.space.space import Space

if TYPE_CHECKING:
    from optuna_study.definition.model import StudyFile
    from optuna_study.space.dimensions import Dimension

TEXT = st.text(max_size=20)
PAIRS = st.lists(st.tuples(st.integers(1, 99), st.floats(1e-6, 1.0)), max_size=3).map(tuple)
SETTINGS: st.SearchStrategy[dict[str, Setting]] = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.integers(2, 200),
        "lr": st.floats(1e-6, 1.0),
        "breakpoints": PAIRS,
        "activation": st.sampled_from(["relu", "gelu"]),
    },
)
WHEN = st.sampled_from([{}, {"activation": ("relu",)}])


@st.composite
def _definitions(draw: st.DrawFn) -> Definition:
    config = with_settings(TrainConfig(), draw(SETTINGS))
    searched: list[Dimension] = [
        Choice("activation", ("relu", "gelu")),
        IntRange("batch_size", 8, draw(st.integers(9, 64)), when=draw(WHEN)),
        FloatRange("dropout", 0.0, draw(st.floats(0.1, 0.9)), when=draw(WHEN)),
        Breakpoints("breakpoints", draw(st.integers(1, 4)), 0.1, draw(st.floats(0.2, 1.0))),
    ]
    search = SearchSettings(
        metric=draw(st.sampled_from(["validation_accuracy", "validation_loss"])),
        trials=draw(st.integers(1, 500)),
        timeout=draw(st.none() | st.floats(1.0, 1e6)),
        sampler=draw(st.sampled_from(sorted(SAMPLERS))),
        pruner=draw(st.sampled_from(sorted((*PRUNERS, *OPTUNAS_PRUNERS)))),
        finetune=Finetune(
            trials=draw(st.integers(0, 9)),
            settings=draw(SETTINGS),
            space=(Choice("batch_size", (8, 16)), FloatRange("dropout", 0.0, 0.5)),
        ),
    )
    baselines = [
        Baseline(
            f"b{index}",
            draw(TEXT),
            draw(SETTINGS),
            draw(TEXT),
            ("breakpoints",),
            in_search=draw(st.booleans()),
        )
        for index in range(draw(st.integers(0, 3)))
    ]
    return Definition(
        name="random@cpu",
        study="random",
        profile="cpu",
        title=draw(TEXT),
        source=draw(TEXT),
        folder=draw(st.none() | TEXT),
        stand_in=draw(st.none() | st.just("rendered")),
        config=config,
        search=search,
        space=Space.of(draw(st.permutations(searched)), config),
        baselines=tuple(baselines),
        statements=draw(st.just(()) | st.just((Statement(draw(TEXT), "b0", "b1", within=0.1),))),
    )


@given(definition=_definitions())
@pytest.mark.slow
def test_json_gives_back_the_same_definition(definition: Definition) -> None:
    stored = json.loads(json.dumps(to_json(definition), allow_nan=False))
    assert from_json(stored) == definition
    assert definition_hash(stored) == definition_hash(definition)
    assert diff(stored, definition) == []


@given(one=_definitions(), other=_definitions())
@pytest.mark.slow
def test_the_hash_differs_exactly_when_there_is_a_difference_to_tell(
    one: Definition, other: Definition
) -> None:
    assert (definition_hash(one) == definition_hash(other)) == (diff(one, other) == [])


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("high = 0.1,", "high = 0.3,", ["space.lr.high: 0.1 -> 0.3"]),
        (
            "batch_size = [8, 16, 32]",
            "batch_size = [8, 32]",
            ["space.batch_size.choices: [8, 16, 32] -> [8, 32]"],
        ),
        ("lr = 0.01\n", "lr = 0.02\n", ["train.lr: 0.01 -> 0.02"]),
        (
            'optimizer = "momentum"\n',
            'optimizer = "sgd"\n',
            ["train.optimizer: momentum -> sgd"],
        ),
        ("trials = 30", "trials = 30\nstartup_trials = 9", ["search.startup_trials: 8 -> 9"]),
        (
            'when = {optimizer = "momentum"}',
            'when = {optimizer = ["sgd", "momentum"]}',
            ['space.momentum.when.optimizer: ["momentum"] -> ["sgd", "momentum"]'],
        ),
        (
            '{activation = "relu", batch_size = 8}',
            '{activation = "relu"}',
            ["baselines.plain.settings.batch_size: 8 -> nothing"],
        ),
        (
            'reported = "better"',
            'reported = "better"\nin_search = false',
            ["baselines.stepped.in_search: nothing -> false"],
        ),
        (
            "[space]\n",
            "[search.finetune]\ntrials = 2\n[space]\n",
            [
                "search.finetune.trials: nothing -> 2",
                "search.finetune.top: nothing -> 2",
                "search.finetune.settings: nothing -> {}",
                "search.finetune.space: nothing -> []",
            ],
        ),
        ("trials = 30", "trials = 300\ntimeout = 60", []),
        ("A small study", "Another title", []),
        ('reported = "better"', 'reported = "worse"', []),
        ('reported = "better"', "rank = 2\nfigure = {test_accuracy = 0.9}", []),
        (
            "[profile.cpu.train]",
            '[[claims]]\ntext = "so"\nbetter = "plain"\nworse = "stepped"\n[profile.cpu.train]',
            [],
        ),
        ('name = "digits"', 'name = "digits"\nfolder = "elsewhere"', []),
    ],
)
def test_a_change_is_told_in_a_line(small: str, old: str, new: str, lines: list[str]) -> None:
    assert old in small
    before = resolve(parse_study_file(small, "small"), "full")
    after = resolve(parse_study_file(small.replace(old, new, 1), "small"), "full")
    assert diff(before, after) == lines
    assert (definition_hash(before) == definition_hash(after)) == (lines == [])


def test_the_order_of_the_file_does_not_matter(small_file: StudyFile) -> None:
    definition = resolve(small_file, "full")
    turned = dataclasses.replace(small_file, space=small_file.space[::-1])
    assert definition_hash(resolve(turned, "full")) == definition_hash(definition)


def test_what_is_kept_of_trials_may_change(small_file: StudyFile) -> None:
    kept = dataclasses.replace(
        small_file, search=dataclasses.replace(small_file.search, outputs_of=19)
    )
    before, after = resolve(small_file, "full"), resolve(kept, "full")
    assert "outputs_of" not in to_json(before)["search"]
    assert from_json(to_json(after)).search.outputs_of == 19
    assert diff(before, after) == []
    assert definition_hash(before) == definition_hash(after)


def test_a_setting_that_came_later_does_not_set_studies_apart() -> None:
    """The hash is what this package gave the file before there was mse_of, pooling or shuffle."""
    text = """
data = {name = "digits", image_size = 16}
model = {name = "alexnet", width = 0.1}
train = {epochs = 10, threads = 1}
search = {trials = 4}
[space]
lr = {low = 1e-3, high = 0.1, log = true}
[[baselines]]
name = "plain"
settings = {lr = 0.01}
"""
    definition = resolve(parse_study_file(text, "tiny"), "full")
    before = "417859c4f65856e172294d4d25bd4bd29cb24902f16a6b2b798c93f3c656bb32"
    assert definition_hash(definition) == before
    stored = to_json(definition)
    del stored["config"]["train"]["mse_of"]
    assert definition_hash(stored) == definition_hash(from_json(stored)) == before
    changed = dataclasses.replace(
        definition, config=with_settings(definition.config, {"shuffle": "once"})
    )
    assert definition_hash(changed) != before
    assert diff(stored, changed) == ["train.shuffle: nothing -> once"]


KEPT = Path(__file__).parent / "kept_0_1_0"
"""Study files of 0.1.0; and of one with a bit of everything, what it pinned of the cpu profile."""

PINNED_BY_0_1_0 = {
    "alexnet_pokemon": "016263ecef0df8d0f50b9247128170e637cc6deed7ec18bb670de1d8eb5703f0",
    "mnist_cnn": "fd5857610f1515f8fdd6ddeb683b40c8c4a52d84cba0640066919251a9e126f3",
    "spiral": "d27bc0b21f08695b5d43499a2c36f96f3ea39a1876f0a25c25a73767a404af34",
}
"""The hashes that study files of it had: `--profile cpu`, a thread a run."""


def test_what_0_1_0_pinned_reads_unchanged() -> None:
    stored = json.loads((KEPT / "everything.json").read_text(encoding="utf-8"))
    text = (KEPT / "everything.toml").read_text(encoding="utf-8")
    definition = resolve(parse_study_file(text, "everything"), "cpu", threads=2)
    assert from_json(stored) == definition
    assert to_json(definition) == stored
    before = "953e83131d0b525f4cac45f4244967e153a5c34669c302850ce7ebc0e9b83bf5"
    assert definition_hash(definition) == definition_hash(stored) == before


@pytest.mark.parametrize("name", PINNED_BY_0_1_0)
def test_studies_of_0_1_0_are_resumed_by_the_same_study_files(name: str) -> None:
    definition = resolve(read_study_file(KEPT / f"{name}.toml"), "cpu", threads=1)
    assert definition_hash(definition) == PINNED_BY_0_1_0[name]
    assert from_json(to_json(definition)) == definition


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("config", "train", "lr"), "fast", "config.train.lr: must be a number, not 'fast'"),
        (("config", "train", "lrr"), 1, "config.train.lrr: unknown key, did you mean 'lr'?"),
        (("search", "trials"), None, "search.trials: must be a whole number, not nothing"),
        (("space", 0, "kind"), "grid", "space[0].kind: must be one of choice, int, float, "),
        (("space", 0, "choices"), 3, "space[0].choices: must be a list of values, not 3"),
        (("space", 1, "high"), [], "space[1].high: must be a number, not a list"),
        (("baselines", 0, "name"), 3, "baselines[0].name: must be text in quotes, not 3"),
        (("baselines", 0, "settings"), {"x": 1}, "baselines[0].x: unknown setting, "),
        (("config",), None, "config: must be a table, not nothing"),
        (("baselines",), {}, "baselines: must be a list, not a table"),
        (("later",), 1, "later: unknown key, known: "),
    ],
)
def test_what_another_version_pinned_is_refused_in_a_line(
    path: tuple[str | int, ...], value: object, sentence: str
) -> None:
    stored = json.loads((KEPT / "everything.json").read_text(encoding="utf-8"))
    place = stored
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(OtherVersionError, match=re.escape(sentence)) as caught:
        from_json(stored)
    assert "\n" not in str(caught.value)
