from __future__ import annotations

import json

from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.space.dimensions import Breakpoints, FloatRange
from optuna_study.space.space import Space, build, freeze

BASE = with_settings(TrainConfig(), {"epochs": 150, "lr": 0.01})
SPACE = Space.of([FloatRange("dropout", 0.0, 0.6), Breakpoints("breakpoints", 1, 0.01, 1.0)], BASE)


def test_fixed_settings_stand_beside_parameters() -> None:
    parameters = {
        "dropout": 0.2,
        "breakpoints": 1,
        "breakpoint_1_after": 18,
        "breakpoint_1_factor": 0.3,
    }
    config = build(BASE, SPACE, parameters, {"epochs": 200, "lr": 0.02})
    assert config == with_settings(
        BASE, {"dropout": 0.2, "epochs": 200, "lr": 0.02, "breakpoints": ((18, 0.006),)}
    )


def test_a_shorter_fixed_run_leaves_out_changes_after_its_end() -> None:
    parameters = {
        "dropout": 0.2,
        "breakpoints": 1,
        "breakpoint_1_after": 18,
        "breakpoint_1_factor": 0.3,
    }
    assert build(BASE, SPACE, parameters, {"epochs": 18}).train.breakpoints == ()


def test_a_trial_without_parameters_is_its_fixed_settings() -> None:
    fixed = json.loads(json.dumps({"lr": 0.01, "breakpoints": ((16, 0.8),)}))
    config = build(BASE, SPACE, {}, fixed)
    assert config == with_settings(BASE, {"breakpoints": ((16, 0.8),)})
    assert isinstance(config.train.breakpoints[0], tuple)


def test_json_lists_become_pairs() -> None:
    assert freeze([[18, 1]]) == ((18, 1.0),)
    assert freeze(0.5) == 0.5
