"""Train the nets whose loss curves `test_diagnosis.py` reads, and keep the curves.

    python tests/support/record_curves.py    # writes tests/report/curves/recorded_curves.json

A curve is kept with the settings and the class counts that it is held against.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from optuna_study.config.settings import DataSettings, TrainConfig, with_settings
from optuna_study.paths import Workspace
from optuna_study.search.objective import to_record
from optuna_study.training import loop
from optuna_study.training.device_data import load_data

if TYPE_CHECKING:
    from optuna_study.config.settings import Setting

    Settings = dict[str, Setting]

RECORDED = Path(__file__).parents[1] / "report/curves/recorded_curves.json"

LINEAR = """
from torch import nn

def build(settings, *, channels, image_size, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))
"""
SMALL: Settings = {
    **{"width": 0.1, "epochs": 8, "batch_size": 8, "dropout": 0.0, "threads": 1},
    "normalisation": "none",
}
# A convex problem of 34 pictures, which any machine learns by heart in the same way.
FEW: Settings = {"subset": 0.03, "optimizer": "adam"}
DIGITS = DataSettings(name="digits", image_size=16, subset=0.5)
DRAWN = DataSettings(name="rendered", image_size=24, picture_limit=40)

# name: data, model, settings
CASES: dict[str, tuple[DataSettings, str, Settings]] = {
    "zeros, cross_entropy": (DIGITS, "alexnet", {"initialisation": "zeros"}),
    "zeros, bce": (DIGITS, "alexnet", {"initialisation": "zeros", "loss": "bce"}),
    "zeros, mse": (DIGITS, "alexnet", {"initialisation": "zeros", "loss": "mse"}),
    "zeros, mse of the activation": (
        DIGITS,
        "alexnet",
        {
            **{"initialisation": "zeros", "loss": "mse", "mse_of": "activation"},
            "activation": "leaky_relu",
        },
    ),
    "saturated, cross_entropy": (DIGITS, "alexnet", {"activation": "sigmoid", "lr": 0.01}),
    "saturated, cross_entropy, fast": (DIGITS, "alexnet", {"activation": "sigmoid", "lr": 0.1}),
    "saturated, bce": (DIGITS, "alexnet", {"activation": "sigmoid", "loss": "bce", "lr": 0.01}),
    "saturated, mse": (DIGITS, "alexnet", {"activation": "sigmoid", "loss": "mse", "lr": 0.01}),
    "saturated, biases that settle": (
        DRAWN,
        "convnet",
        {
            **{"width": 0.25, "activation": "sigmoid", "optimizer": "sgd", "lr": 0.01},
            "epochs": 12,
        },
    ),
    "small weights": (DIGITS, "alexnet", {"initialisation": "normal", "initialisation_std": 0.01}),
    "flat, then a drop": (
        DIGITS,
        "mlp",
        {
            **{"variant": "128-64", "width": 1.0, "activation": "sigmoid", "epochs": 20},
            **{"initialisation": "normal", "initialisation_std": 0.001},
            **{"optimizer": "momentum", "lr": 0.02, "batch_size": 16},
        },
    ),
    "thrown away": (DIGITS, "alexnet", {"lr": 0.8}),
    "thrown away later": (DIGITS, "alexnet", {"breakpoints": ((3, 0.8),)}),
    "slow": (DIGITS, "alexnet", {"lr": 1e-4, "epochs": 5}),
    "large weights": (
        DIGITS,
        "mlp",
        {
            **{"variant": "100", "width": 1.0, "lr": 1e-3, "batch_size": 32},
            **{"initialisation": "normal", "initialisation_std": 0.4},
        },
    ),
    "healthy": (DIGITS, "alexnet", {"batch_size": 16, "optimizer": "adam", "lr": 1e-3}),
    # Full-batch descent on a convex problem: a rate too large swings whatever the machine.
    "swinging": (
        DIGITS,
        "only_linear:build",
        {"optimizer": "gd", "lr": 0.3, "epochs": 15, "seed": 1},
    ),
    "a gap": (DIGITS, "only_linear:build", {**FEW, "lr": 0.003, "epochs": 15}),
    "rising": (DIGITS, "only_linear:build", {**FEW, "lr": 0.1, "epochs": 30}),
}


def configure(name: str) -> TrainConfig:
    """The configuration of a case."""
    data, model, settings = CASES[name]
    # Half of the digits are loaded; a case may take a share of those.
    config = with_settings(TrainConfig(replace(data, subset=1.0)), {**SMALL, **settings})
    return replace(config, model=replace(config.model, name=model))


def train(name: str, workspace: Workspace) -> dict[str, object]:
    """The curve of a case, and the pictures of each class that it was trained on."""
    config = configure(name)
    (workspace.root / "only_linear.py").write_text(LINEAR)
    sys.path.insert(0, str(workspace.root))
    try:
        device = torch.device("cpu")
        run = loop.prepare(config, load_data(CASES[name][0], None, workspace, device), device)
        curve = [asdict(to_record(each, "validation_accuracy")) for each in loop.epochs(run)]
    finally:
        sys.path.remove(str(workspace.root))
    return {"counts": torch.bincount(run.data.train_labels).tolist(), "curve": curve}


def main() -> None:
    """Train all cases and write what came of them; the seconds an epoch took are left out."""
    with tempfile.TemporaryDirectory() as folder:
        cases = {name: train(name, Workspace(Path(folder))) for name in CASES}
    for case in cases.values():
        for epoch in case["curve"]:  # type: ignore[attr-defined]
            epoch["seconds"] = 0.0
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    RECORDED.write_text("{" + lines + "}\n")


if __name__ == "__main__":
    main()
