from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from optuna_study.config.settings import with_settings
from optuna_study.definition.read import parse_study_file
from optuna_study.definition.resolve import (
    baseline_config,
    baseline_parameters,
    resolve,
    searched_crops,
    searched_models,
)
from optuna_study.definition.serialise import from_json, to_json
from optuna_study.errors import StudyFileError, UsageError
from optuna_study.space.dimensions import Choice
from optuna_study.space.space import build

if TYPE_CHECKING:
    from optuna_study.definition.model import Baseline, Definition, StudyFile


def _baseline(definition: Definition, name: str) -> Baseline:
    return next(each for each in definition.baselines if each.name == name)


@pytest.mark.parametrize(
    "space",
    [
        "pretrained = {choices = ['imagenet', 'own.pth'], when = {variant = ['torchvision']}}\n"
        "variant = ['default', 'torchvision']",
        "pretrained = ['imagenet', 'own.pth']\n"
        "[space.variant]\nchoices = ['torchvision']\n"
        "when = {pretrained = ['imagenet', 'own.pth']}",
    ],
)
def test_searched_weights_come_with_the_settings_they_are_tied_to(space: str) -> None:
    file = parse_study_file(f"model = {{width = 0.5}}\n[space]\n{space}\n", "tuned")
    definition = resolve(file, "full")
    assert searched_models(definition) == [
        with_settings(definition.config, {"variant": "torchvision", "pretrained": weights})
        for weights in ("imagenet", "own.pth")
    ]


CROPS = """
data = {name = "rendered", image_size = 160}
model = {name = "timm:resnet18", pretrained = "none"}
search.finetune = {trials = 1, settings = {augmentation = "resized_crop"}}
[space]
model = ["timm:resnet18", "timm:vit_tiny_patch16_224"]
training_size = {choices = [96, 128], when = {model = ["timm:resnet18"]}}
"""


def test_every_crop_that_a_searched_model_may_see_is_looked_at() -> None:
    definition = resolve(parse_study_file(CROPS, "crops"), "full")
    found = {
        (each.model.name.removeprefix("timm:"), each.data.training_size, each.data.augmentation)
        for each in searched_crops(definition)
    }
    kinds = ("none", "resized_crop")
    assert found == {
        *(("resnet18", size, kind) for size in (96, 128) for kind in kinds),
        *(("vit_tiny_patch16_224", 0, kind) for kind in kinds),
    }


def test_without_searched_weights_there_are_none_to_look_at(small_file: StudyFile) -> None:
    assert searched_models(resolve(small_file, "full")) == []


def test_the_full_profile_is_the_file(small_file: StudyFile) -> None:
    definition = resolve(small_file, "full", threads=4)
    assert definition.name == "small"
    assert definition.config == with_settings(small_file.config, {"threads": 4})
    assert definition.search == small_file.search
    assert _baseline(definition, "stepped").settings["breakpoints"] == ((18, 0.003),)


def test_a_profile_scales_what_is_counted_in_epochs(small_file: StudyFile) -> None:
    definition = resolve(small_file, "cpu")
    assert definition.name == "small@cpu"
    assert definition.config.train.epochs == 15
    assert _baseline(definition, "stepped").settings == {
        "epochs": 20,
        "breakpoints": ((2, 0.003),),
    }
    assert _baseline(definition, "reverse").settings == {"breakpoints": ((2, 0.8),)}
    leaf = next(each for each in definition.space.leaves() if each.name.endswith("1_after"))
    assert (leaf.low, leaf.high) == (1, 14)


def test_what_a_profile_says_itself_is_not_scaled(small: str) -> None:
    text = small.replace(
        "[profile.cpu.train]\n",
        "[profile.cpu.space]\nbatch_size = [32, 8]\nslope = [0.01, 0.2]\n"
        "[profile.cpu.search]\ntrials = 5\n"
        "[profile.cpu.train]\nbreakpoints = [[9, 0.001]]\n",
    ).replace('optimizer = "momentum"\n', 'optimizer = "momentum"\nbreakpoints = [[50, 0.002]]\n')
    file = parse_study_file(text, "small")
    full, cpu = resolve(file, "full"), resolve(file, "cpu")
    assert full.config.train.breakpoints == ((50, 0.002),)
    assert cpu.config.train.breakpoints == ((9, 0.001),)
    assert cpu.search.trials == 5
    dimensions = {each.setting: each for each in cpu.space.dimensions}
    assert dimensions["batch_size"] == Choice("batch_size", (32, 8))
    assert dimensions["slope"] == Choice("slope", (0.01, 0.2))
    assert "slope" not in full.space.defaults


def test_the_stand_in_is_part_of_the_name(small: str) -> None:
    file = parse_study_file(small.replace('"digits"', '"digits"\nstand_in = "rendered"'), "small")
    definition = resolve(file, "cpu", stand_in=True, name="other")
    assert definition.name == "other@cpu-rendered"
    assert definition.study == "small"
    assert definition.config.data.name == "rendered"
    assert resolve(file, "full", stand_in=True).name == "small@rendered"


def test_no_stand_in_and_bad_names_are_refused(small_file: StudyFile) -> None:
    with pytest.raises(StudyFileError, match=r"data\.stand_in: is missing"):
        resolve(small_file, "full", stand_in=True)
    with pytest.raises(UsageError, match="'a/b' cannot be the name of a study"):
        resolve(small_file, "full", name="a/b")


def test_a_baseline_that_waits_for_comparisons_is_not_planned_for_a_search(small: str) -> None:
    text = small.replace('reported = "better"', 'reported = "better"\nin_search = false')
    file = parse_study_file(text, "small")
    assert [each.name for each in resolve(file, "full").planned] == ["plain", "reverse"]
    compared = resolve(file, "full", only="baselines")
    assert [each.name for each in compared.planned] == ["plain", "stepped", "reverse"]


def test_threads_of_the_file_win(small: str) -> None:
    file = parse_study_file(small.replace("lr = 0.01", "lr = 0.01\nthreads = 3", 1), "small")
    assert resolve(file, "full", threads=8).config.train.threads == 3


@pytest.mark.parametrize("profile", ["full", "cpu"])
def test_every_baseline_is_built_back_from_what_is_stored(
    small_file: StudyFile, profile: str
) -> None:
    definition = resolve(small_file, profile)
    for baseline in definition.baselines:
        parameters, fixed = baseline_parameters(definition, baseline)
        stored = json.loads(json.dumps([parameters, fixed]))
        config = build(definition.config, definition.space, *stored)
        assert config == baseline_config(definition, baseline)


def test_a_baseline_outside_on_purpose_has_no_parameters(small_file: StudyFile) -> None:
    definition = resolve(small_file, "full")
    assert baseline_parameters(definition, _baseline(definition, "reverse")) == (
        {},
        {"breakpoints": ((16, 0.8),)},
    )


def test_settings_that_are_not_searched_are_fixed_for_their_baseline(
    small_file: StudyFile,
) -> None:
    definition = resolve(small_file, "full")
    parameters, fixed = baseline_parameters(definition, _baseline(definition, "stepped"))
    assert fixed == {"epochs": 200}
    assert parameters["breakpoint_1_after"] == 18
    assert parameters["breakpoint_1_factor"] == 0.3
    assert parameters["momentum"] == 0.9


def test_the_base_must_lie_inside_too_since_baselines_take_it_over(small: str) -> None:
    text = small.replace("high = 0.6, step = 0.1", "high = 0.4, step = 0.1")
    with pytest.raises(StudyFileError) as caught:
        parse_study_file(text, "small")
    assert caught.value.problems[0] == (
        "model.dropout: 0.5 is not between 0 and 0.4, yet baseline 'plain' takes it over: "
        "let it lie in space.dropout"
    )
    assert len(caught.value.problems) == 1


def test_two_metrics_are_one_and_what_it_is_weighed_against() -> None:
    space = "[space]\nlr = {low = 0.1, high = 1.0}\n"
    text = f'[search]\nmetric = ["accuracy", "seconds"]\n{space}'
    search = resolve(parse_study_file(text, "both"), "full").search
    assert (search.metric, search.second_metric) == ("validation_accuracy", "prediction_seconds")
    assert (search.direction, search.pruner) == ("maximize", "none")
    apart = text.replace('["accuracy", "seconds"]', '"accuracy"\nsecond_metric = "seconds"')
    assert resolve(parse_study_file(apart, "both"), "full").search == search
    alone = f'{text}[profile.cpu]\nsearch = {{metric = ["macro_f1", "parameters"]}}\n'
    cpu = resolve(parse_study_file(alone, "both"), "cpu").search
    assert (cpu.metric, cpu.second_metric) == ("macro_f1", "parameters")
    definition = resolve(parse_study_file(text, "both"), "full")
    assert from_json(to_json(definition)) == definition
    one = resolve(parse_study_file(space, "both"), "full")
    assert "second_metric" not in to_json(one)["search"]


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ('metric = ["accuracy"]', "search.metric: must be one metric or a list of two"),
        (
            'metric = ["accuracy", "validation_accuracy"]',
            "search.second_metric: is the metric itself; take another, or leave it out",
        ),
        ('metric = ["accuracy", "flops"]', "search.second_metric: unknown name 'flops'"),
        ('metric = ["seconds", "accuracy"]', "search.metric: unknown name 'seconds'"),
        (
            'metric = ["accuracy", "seconds"]\nsecond_metric = "parameters"',
            "search.second_metric: metric names two already; leave this one out",
        ),
        (
            'metric = ["accuracy", "seconds"]\nsampler = "cmaes"',
            "search.sampler: cmaes has one objective; take tpe, gp or nsgaii for two",
        ),
        (
            'metric = ["accuracy", "seconds"]\npruner = "hyperband"',
            "search.pruner: hyperband would give up what is worse in the metric alone",
        ),
    ],
)
def test_what_does_not_go_with_two_objectives_is_refused(search: str, problem: str) -> None:
    text = f"[search]\n{search}\n[space]\nlr = {{low = 0.1, high = 1.0}}\n"
    with pytest.raises(StudyFileError) as caught:
        parse_study_file(text, "both")
    assert [each for each in caught.value.problems if each.startswith(problem)]
