from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.report.notes import study_note, trial_note
from optuna_study.report.summary import summarise
from optuna_study.store.importances import Importance
from optuna_study.store.records import (
    Counts,
    EndKind,
    StudyRecord,
    StudyState,
    TrialState,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.store.records import TrialRecord

    MakeTrial = Callable[..., TrialRecord]


def study(**changes: Any) -> StudyRecord:
    values: dict[str, Any] = {
        "uuid": "u",
        "study_id": 1,
        "name": "alexnet_pokemon@cpu",
        "direction": "maximize",
        "metric": "validation_accuracy",
        "definition": {"title": "AlexNet on Pokémon", "source": "an article", "baselines": []},
        "definition_hash": "h",
        "fingerprint": "f",
        "data_source": "pokemon",
        "environment": {},
        "seed": 0,
        "budget": 24,
        "state": StudyState.ACTIVE,
        "created": 0.0,
    }
    return StudyRecord(**{**values, **changes})


def test_a_trials_note_says_how_it_ended_and_what_it_was(trial: MakeTrial) -> None:
    config = with_settings(
        TrainConfig(), {"lr": 0.01, "breakpoints": ((18, 0.005), (30, 0.001)), "optimizer": "adam"}
    )
    text = trial_note(
        trial(7, baseline="strategy-2", reason="all 4 epochs", worked=12.4), config, study()
    )
    assert text.splitlines()[0] == "## Trial 7 · baseline **strategy-2**"
    assert "**completed**: all 4 epochs" in text
    assert "| breakpoints | after 18: 0.005, after 30: 0.001 |" in text
    assert "| optimizer | adam |" in text
    assert "seed 1, 4 epochs, 12 s of training" in text
    assert "`optuna-study export alexnet_pokemon@cpu --trial 7 -o trial.toml`" in text
    assert "other hardware" not in text
    assert "other hardware" in trial_note(trial(resumed_elsewhere=True), config, study())


def test_a_studys_note_puts_the_best_beside_its_baselines(trial: MakeTrial) -> None:
    baselines = [
        trial(0, baseline="final", group="batch", value=0.81),
        trial(
            1,
            baseline="reverse",
            group="lr",
            value=0.2,
            end=EndKind.DIVERGED,
            state=TrialState.PRUNED,
            reason="exploding: loss 9 | at step 3",
        ),
        trial(2, baseline="longer", group="batch", value=None, end=None, state=TrialState.WAITING),
    ]
    counts = Counts(1, 0, {EndKind.COMPLETED: 2, EndKind.DIVERGED: 1}, {})
    record = study(
        measured_importances={"lr": Importance(20, 0.7, 0.6, 0.8), "slope": Importance(3)}
    )
    text = study_note(summarise(record, counts, trial(9, value=0.9), baselines, None))
    assert text.splitlines()[0] == "## AlexNet on Pokémon"
    assert "**3 of 24** trials have ended: 2 completed, 1 diverged." in text
    assert "Best: trial 9, validation accuracy 90.0 %" in text
    assert "Best baseline: final (trial 0), 81.0 %; the best is 9.0 points better." in text
    assert "| baseline | group | accuracy | end |" in text
    assert "| final | batch | 81.0 % | completed |" in text
    assert "| reverse | lr |  | diverged: exploding: loss 9 \\| at step 3 |" in text
    assert "| longer | batch |  | waiting |" in text
    assert "| lr | 70.0 % | 60 to 80 % | 20 |" in text
    assert "`optuna-study export alexnet_pokemon@cpu -o best.toml`" in text


def test_a_study_that_has_just_begun_has_a_note(trial: MakeTrial) -> None:
    text = study_note(summarise(study(), Counts(0, 0, {}, {}), None, [], None))
    assert "**0 of 24** trials have ended: none yet." in text
    assert "No trial has completed." in text
    assert "Best" not in text
