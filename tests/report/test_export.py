from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.config.reasons import Reused
from optuna_study.definition.config_file import read_config_file
from optuna_study.errors import NotFoundError
from optuna_study.report.export import export_trial, trial_config
from optuna_study.store.reads import aggregates, reads

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.config.text import Format

BEST = {"activation": "tanh", "lr": 0.003, "dropout": 0.25}


@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
def test_what_is_exported_reads_back_as_the_trials_configuration(
    form: Format, stored_study: Any, tmp_path: Path
) -> None:
    third = 1 / 3
    for accuracy in (0.5, 0.25):
        stored_study.run([accuracy])
    stored_study.run([third, 0.75], parameters=BEST)
    path = tmp_path / f"best.{form}"
    text = export_trial(stored_study.store, stored_study.study, None, form)
    path.write_text(text, encoding="utf-8")
    config, origin = read_config_file(path)
    trial = reads.trial(stored_study.store, stored_study.study, 2)
    assert config == trial_config(stored_study.study, trial)
    assert config.train.seed == trial.seed
    assert origin.recorded is not None
    assert origin.recorded.curve["validation_accuracy"] == (third, 0.75)
    assert origin.environment["torch"] == "2.14.1"
    assert origin.fingerprint == "f" * 16
    assert origin.folder is None


def test_a_trial_that_was_not_trained_is_exported_as_the_one_that_was(stored_study: Any) -> None:
    for accuracy in (0.5, 0.25):
        stored_study.run([accuracy])
    stored_study.run([0.5, 0.75], parameters=BEST)
    reason = Reused(2, "all 3 epochs")
    stored_study.run([0.5, 0.75], parameters=BEST, reason=reason)
    store, study = stored_study.store, stored_study.study
    assert export_trial(store, study, 3, "toml") == export_trial(store, study, 2, "toml")
    assert aggregates.values_at(store, study, 1) == [0.5, 0.25, 0.5]  # a curve counts once
    best = reads.best(store, study)
    assert best is not None
    assert (best.number, [*reads.best_few(store, study, 9)]) == (2, [2, 0, 1])
    assert [trial.reuses for trial in reads.trials(store, study)] == [None, None, None, 2]


def test_every_setting_stands_under_its_sentence(stored_study: Any) -> None:
    stored_study.run([0.5])
    text = export_trial(stored_study.store, stored_study.study, 0, "toml")
    assert "# Learning rate at the start.\nlr = 0.01\n" in text
    assert tomllib.loads(text)["provenance"]["baseline"] == "plain"


def test_a_trial_that_has_not_started_has_no_configuration(stored_study: Any) -> None:
    stored_study.run([0.5])
    stored_study.run([0.5])
    stored_study.start([])
    with pytest.raises(NotFoundError, match="trial 2 of 'small' has no configuration yet"):
        export_trial(stored_study.store, stored_study.study, 2, "toml")
