"""Small runs whose curves are kept to the last bit in `tests/training/recorded_curves.json`.

    python tests/support/recorded_curves.py

makes that file anew, which belongs into a change that is meant to move the curves, and says why.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from optuna_study.config.settings import Setting, TrainConfig, with_settings
from optuna_study.training import loop
from optuna_study.training.device import environment
from optuna_study.training.device_data import DeviceData

if TYPE_CHECKING:
    from collections.abc import Mapping

Figures: TypeAlias = dict[str, str | int | None]

FILE = Path(__file__).parents[1] / "training/recorded_curves.json"
SIZE, CLASSES = 16, ("left", "middle", "right")
ALL = "crop+flip+color_jitter+pca_jitter"

BASE: Mapping[str, Setting] = {
    "image_size": SIZE,
    "width": 0.05,
    "dropout": 0.1,
    "epochs": 3,
    "batch_size": 10,
    "optimizer": "momentum",
    "lr": 0.01,
    "normalisation": "group",
    "threads": 1,
}
"""What learns the tiny data in a few epochs."""

CASES: Mapping[str, tuple[str, Mapping[str, Setting]]] = {  # model and what differs from BASE
    "alexnet original": (
        "alexnet",
        {"variant": "original", "normalisation": "lrn", "augmentation": "crop+flip"},
    ),
    "alexnet batch norm": (
        "alexnet",
        {"variant": "batch_norm", "normalisation": "batch", "optimizer": "sgd", "epochs": 5},
    ),
    "cnn colours": ("cnn", {"optimizer": "adam", "lr": 0.002, "augmentation": ALL, "width": 1.0}),
    "mlp single pictures": (
        "mlp",
        {"batch_size": 1, "loss": "bce", "activation": "leaky_relu", "normalisation": "layer"},
    ),
    "mlp outputs": (
        "mlp",
        {
            "loss": "mse",
            "mse_of": "activation",
            "activation": "tanh",
            "optimizer": "nesterov",
            "shuffle": "once",
            "pixels": "permuted",
            "evaluation": "ten_crop",
            "normalisation": "none",
        },
    ),
    "lenet schedule": (
        "lenet",
        {"schedule": "cosine", "warmup_epochs": 0.5, "normalisation": "none", "width": 0.5},
    ),
    "vgg decay": (
        "vgg",
        {"optimizer": "rmsprop", "lr": 1e-3, "weight_decay": 0.01, "normalisation": "batch"},
    ),
    "residual maxout": ("residual", {"optimizer": "adamw", "activation": "maxout", "lr": 0.003}),
    "convnet full batch": (
        "convnet",
        {"optimizer": "gd", "batch_size": 20, "breakpoints": ((1, 0.05), (3, 0.02)), "epochs": 4},
    ),
    "cnn subset": (
        "cnn",
        {
            "optimizer": "adagrad",
            "subset": 0.5,
            "scaling": "unit",
            "loss": "mse",
            "batch_size": 1,
            "normalisation": "none",
        },
    ),
    "diverges": ("alexnet", {"lr": 50.0, "normalisation": "none", "batch_size": 2}),
}


def tiny_side(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright stripe whose place is the class."""
    labels = torch.arange(count) % len(CLASSES)
    images = torch.randint(0, 120, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels, strict=True):
        start = 5 * int(label)
        image[:, :, start : start + 5] += 100
    return images, labels


def make_tiny_data() -> DeviceData:
    """Ninety training pictures of 16 pixels in three classes that a small net can distinguish."""
    generator = torch.Generator().manual_seed(5)
    train, validation, test = (tiny_side(count, generator) for count in (90, 30, 36))
    scaled = train[0].float() / 255
    return DeviceData(
        train_images=train[0],
        train_labels=train[1],
        validation_images=validation[0],
        validation_labels=validation[1],
        test_images=test[0],
        test_labels=test[1],
        mean=scaled.mean(dim=(0, 2, 3)),
        std=scaled.std(dim=(0, 2, 3)),
        principal=torch.eye(3) * 0.01,
        classes=CLASSES,
        image_size=SIZE,
        cache_size=SIZE,
        fingerprint="0123456789abcdef" * 4,
        memory_format=torch.contiguous_format,
    )


def train(case: str, data: DeviceData) -> list[Figures]:
    """The figures of each epoch of a case, floats as hexadecimal text, and how it diverged."""
    model, settings = CASES[case]
    config = with_settings(TrainConfig(), {**BASE, **settings})
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, name=model))
    epochs: list[Figures] = []
    for result in loop.epochs(loop.prepare(config, data, torch.device("cpu"))):
        values = dataclasses.asdict(result)
        del values["seconds"], values["divergence"]
        figures: Figures = {k: v.hex() if isinstance(v, float) else v for k, v in values.items()}
        stopped = result.divergence
        figures["divergence"] = None if stopped is None else f"{stopped.kind} at {stopped.step}"
        epochs.append(figures)
    return epochs


def main() -> None:
    """Write the file."""
    data = make_tiny_data()
    rows = {case: [json.dumps(epoch) for epoch in train(case, data)] for case in CASES}
    curves = ",\n".join(
        f"  {json.dumps(case)}: [\n    " + ",\n    ".join(lines) + "\n  ]"
        for case, lines in rows.items()
    )
    where = json.dumps(environment(torch.device("cpu"), 1))
    FILE.write_text(f'{{"environment": {where},\n"curves": {{\n{curves}\n}}}}\n', "utf-8")


if __name__ == "__main__":
    main()
