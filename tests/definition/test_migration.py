from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.definition.migration import carry, incomparable
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import baseline_parameters, resolve
from optuna_study.space.space import build

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.definition.model import Definition

PARAMETERS: dict[str, Any] = {"activation": "tanh", "lr": 0.01, "dropout": 0.25}


def changed(folder: Path, text: str, *changes: tuple[str, str]) -> Definition:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "small.toml"
    path.write_text(text)
    return resolve(read_study_file(path), "full", threads=1)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('["relu", "tanh"]', '["relu", "tanh", "elu"]', None),
        ('["relu", "tanh"]', '["relu", "elu"]', "activation tanh is none of relu, elu"),
        ("high = 0.1, log", "high = 0.3, log", None),
        ("low = 1e-4, high", "low = 0.05, high", "lr 0.01 is not between 0.05 and 0.1"),
        ("dropout = {low = 0.0, high = 0.5}", "", "dropout was 0.25, is 0.5"),
        ("epochs = 3", "epochs = 4", "epochs was 3, is 4"),
        ("lr = {low", 'initialisation = ["he", "xavier"]\nlr = {low', None),
        ("lr = {low", 'initialisation = ["xavier", "zeros"]\nlr = {low', "initialisation he is"),
        ("trials = 6", "trials = 60\nsampler = 'random'", None),
    ],
)
def test_a_trial_is_carried_over_where_the_new_space_holds_what_it_trained(
    tmp_path: Path, study_file: str, old: str, new: str, why: str | None
) -> None:
    if "[[baselines]]" in study_file:
        study_file = study_file[: study_file.index("[[baselines]]")]
    before = changed(tmp_path, study_file)
    after = changed(tmp_path, study_file, (old, new))
    assert incomparable(before, after) == []
    found = carry(before, after, PARAMETERS, {})
    trained = build(before.config, before.space, PARAMETERS, {})
    assert build(after.config, after.space, found.parameters, found.fixed) == trained
    if why is None:
        assert found.why is None
        assert set(found.parameters) == {leaf.name for leaf in after.space.leaves()}
    else:
        assert why in str(found.why)
        assert found.parameters == {}


def test_a_setting_fixed_at_a_trials_value_keeps_it(tmp_path: Path, study_file: str) -> None:
    before = changed(tmp_path, study_file)
    gone = ("dropout = {low = 0.0, high = 0.5}", "")
    after = changed(tmp_path, study_file, gone, ("width = 0.1", "width = 0.1\ndropout = 0.25"))
    found = carry(before, after, PARAMETERS, {})
    assert (found.parameters, found.why) == ({"activation": "tanh", "lr": 0.01}, None)
    other = carry(before, after, PARAMETERS | {"dropout": 0.3}, {})
    assert (other.fixed["dropout"], other.why) == (0.3, "dropout was 0.3, is 0.25")


def test_a_baseline_stays_one_where_it_is_what_it_was(tmp_path: Path, study_file: str) -> None:
    before = changed(tmp_path, study_file)
    after = changed(
        tmp_path,
        study_file,
        ('name = "wild"', 'name = "calm"'),
        ('["relu", "tanh"]', '["elu", "relu", "tanh"]'),
    )
    plain, wild = (baseline_parameters(before, each) for each in before.planned)
    assert carry(before, after, *plain, "plain").why is None
    assert carry(before, after, *wild, "wild").why == "there is no baseline 'wild' any more"
    other = changed(tmp_path, study_file, ("lr = 0.1, dropout", "lr = 0.05, dropout"))
    assert carry(before, other, *wild, "wild").why == "lr was 0.1, is 0.05"


def test_a_trial_of_the_second_stage_stays_one(tmp_path: Path, study_file: str) -> None:
    before = changed(tmp_path, study_file)
    fixed: dict[str, Any] = {"activation": "tanh", "lr": 0.001, "epochs": 5}
    wider = ("high = 0.1, log", "high = 0.3, log")
    after = changed(tmp_path, study_file, wider, ("width = 0.1", "width = 0.2"))
    found = carry(before, after, {}, fixed)
    assert (found.parameters, found.why) == ({}, None)
    assert found.fixed == {**fixed, "width": 0.1}
    stage = ("trials = 6", "trials = 6\nfinetune = {trials = 2, settings = {epochs = 9}}")
    other = changed(tmp_path, study_file, stage)
    assert carry(before, other, {}, fixed).why == "the second stage is another"


def test_a_trial_that_has_drawn_nothing_or_something_else(tmp_path: Path, study_file: str) -> None:
    before = changed(tmp_path, study_file)
    assert carry(before, before, {}, {}).why is None
    assert "plain Optuna" in str(carry(before, before, {"x": 1.0}, {}).why)


def test_what_every_trial_shares_may_not_change(tmp_path: Path, study_file: str) -> None:
    before = changed(tmp_path, study_file)
    size = ("image_size = 32", "image_size = 64")
    after = changed(tmp_path, study_file, size, ("trials = 6", "trials = 6\nmetric = 'log_loss'"))
    assert incomparable(before, after) == [
        "search.metric was validation_accuracy, is log_loss",
        "image_size was 32, is 64",
    ]
