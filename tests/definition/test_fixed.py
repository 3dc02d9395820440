from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from optuna_study.definition.read import parse_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import definition_hash, from_json, to_json
from optuna_study.errors import StudyFileError, UsageError
from optuna_study.launch.options import launch_words

if TYPE_CHECKING:
    from optuna_study.store.records import StudyRecord

TEXT = """
title = "Digits"
[data]
name = "digits"
image_size = 16
[train]
epochs = 4
lr = 0.5
[search]
trials = 3
[space]
activation = ["relu", "tanh"]
lr = {low = 1e-4, high = 0.1, log = true}
[profile.cpu]
train = {epochs = 2, batch_size = 8}
"""


def test_a_setting_is_fixed_in_every_profile_and_part_of_the_study() -> None:
    plain = parse_study_file(TEXT, "small")
    file = parse_study_file(TEXT, "small", None, ["epochs=7", "lr=0.01", "optimizer = adam"])
    for profile in ("full", "cpu"):
        config = resolve(file, profile).config.train
        assert (config.epochs, config.lr, config.optimizer) == (7, 0.01, "adam")
        assert definition_hash(resolve(file, profile)) != definition_hash(resolve(plain, profile))
    assert resolve(file, "cpu").config.train.batch_size == 8
    assert [dimension.setting for dimension in file.space] == ["activation"]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("widht=2", UsageError, "--set widht: no such setting, did you mean 'width'?"),
        ("lr", UsageError, "--set lr: give it as NAME=VALUE"),
        ("lr=", UsageError, "--set lr=: give it as NAME=VALUE"),
        ("lr=fast", StudyFileError, "train.lr:"),
        ("epochs=0", StudyFileError, "train.epochs:"),
    ],
)
def test_what_cannot_be_fixed_is_said(given: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=re.escape(said)):
        parse_study_file(TEXT, "small", None, [given])


def test_what_was_fixed_is_remembered_and_said_with_the_command_that_goes_on() -> None:
    file = parse_study_file(TEXT, "cats", fixed=("lr=0.01", "optimizer=adam"))
    plain = parse_study_file(TEXT, "cats")
    made = resolve(file, "cpu", name="mine", threads=1)
    assert from_json(to_json(made)) == made
    assert "fixed" not in to_json(resolve(plain, "cpu", threads=1))
    record = cast("StudyRecord", SimpleNamespace(name=made.name, definition=to_json(made)))
    expected = ["launch", "cats", "--name", "mine", "--profile", "cpu"]
    assert launch_words(record) == [*expected, "--set", "lr=0.01", "--set", "optimizer=adam"]
    otherwise = dataclasses.replace(made, fixed=("optimizer=adam", "lr=1e-2"))
    assert definition_hash(otherwise) == definition_hash(made)
