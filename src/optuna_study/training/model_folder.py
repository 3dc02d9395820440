"""The folder that hands a model out, read back as what a model's file holds."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.config.settings import SECTIONS
from optuna_study.errors import DataError, NotFoundError
from optuna_study.training import checkpoint

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "model.pt"  # of a folder that `train -o` wrote
WEIGHTS, PROGRAM, ONNX = "model.safetensors", "model.pt2", "model.onnx"
CONFIG, CLASSES, PREPROCESSING = "config.toml", "classes.json", "preprocessing.json"
_DAMAGE = ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError
"""What readers of JSON, TOML and tensors raise of damaged ones."""


def read_folder(folder: Path) -> dict[str, Any]:
    """What the folder of `train -o` or of `export --model` holds, unchecked, as a model's file.

    Raises:
        NotFoundError: neither of them wrote it.
        DataError: one of its files is damaged.
    """
    if (folder / MODEL).is_file():
        return checkpoint.load(folder / MODEL)
    for name in (WEIGHTS, CONFIG, CLASSES, PREPROCESSING):
        if not (folder / name).is_file():
            raise NotFoundError(
                f"{folder}: no model, since it lacks {name}; give a folder that `optuna-study "
                "export --model` or `train -o` wrote, or its model.pt"
            )
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        known = json.loads((folder / PREPROCESSING).read_bytes())
        config = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
        order = known.get("permutation")
        return {
            "kind": "model",
            "version": 1,
            "config": {section: config.get(section) for section in SECTIONS},
            "classes": json.loads((folder / CLASSES).read_bytes()),
            "channels": known["channels"],
            "cache_size": known["decoded_side"],
            "mean": torch.tensor(known["mean"], dtype=torch.float32),
            "std": torch.tensor(known["std"], dtype=torch.float32),
            "permutation": None if order is None else torch.tensor(order, dtype=torch.int64),
            "grey_ranges": known["grey_ranges"],
            "weights": load((folder / WEIGHTS).read_bytes()),
        }
    except (SafetensorError, *_DAMAGE) as error:
        raise DataError(f"{folder}: its model is damaged ({type(error).__name__})") from error
