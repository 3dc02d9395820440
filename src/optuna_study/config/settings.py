"""What a training run is given; free of torch, so that everyone may read it.

Vocabulary: a *setting* is one named value of a configuration; setting names are unique over the
three sections (`data`, `model`, `train`), so a search space, a baseline and an exported file speak
of `lr` or `dropout` alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna_study.config.setting import Field as Field
from optuna_study.config.setting import Pairs as Pairs
from optuna_study.config.setting import Scalar as Scalar
from optuna_study.config.setting import Setting as Setting
from optuna_study.config.setting import setting as setting
from optuna_study.config.train_settings import TrainSettings as TrainSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class DataSettings:
    """Which pictures, at which size, changed how."""

    name: str = setting(
        "rendered",
        "Data set: built-in, fetched, or `folder` for pictures of one's own.",
        choices="DATASETS",
    )
    image_size: int = setting(
        64,
        "Side of the square a model sees, in pixels; of a timm model, unless it is set, what its "
        "own configuration says. The points of `spiral` need only 1.",
        low=1,
        high=1024,
    )
    fit: str = setting(
        "crop",
        "How a picture of a folder becomes a square: crop, its middle; pad, the whole of it with "
        "black at the sides; stretch, each side scaled for itself.",
        choices=("crop", "pad", "stretch"),
        late="0.2.0",
    )
    group: str = setting(
        "none",
        "What a folder's pictures have in common that must not fall into different parts: none; "
        "folder, the first folder below the class folder; a column of the table of labels; or a "
        "regular expression of file names with the group in parentheses, as `(patient[0-9]+)`.",
        late="0.2.0",
    )
    augmentation: str = setting(
        "none",
        "Training-picture changes joined by `+`: crop; resized_crop, in its place, 35 % of the "
        "picture's area or more, at any place; flip, color_jitter, pca_jitter; "
        "vertical_flip, rotation by up to 15 degrees, trivial_augment (Müller and Hutter 2021), "
        "rand_augment (Cubuk et al. 2020) and random_erasing (Zhong et al. 2020) as torchvision "
        "has them; or none.",
        choices="AUGMENTATIONS",
    )
    training_size: int = setting(
        0,
        "Side of the square that resized_crop makes of training pictures, 0 for image_size. "
        "Somewhat smaller ones than those that are evaluated cost nothing in accuracy, since such "
        "a crop shows things larger (Touvron et al. 2019), and a step takes less time. For timm's "
        "models that take pictures of any size.",
        low=0,
        high=1024,
        late="0.2.0",
    )
    views: int = setting(
        1,
        "Where only a pretrained model's head learns: versions of each training picture that it "
        "learns from, an epoch each by turns; the first is the picture as it is, the others are "
        "changed by the augmentation, once for all epochs and trials.",
        low=1,
        high=1000,
        late="0.2.0",
    )
    subset: float = setting(
        1.0,
        "Fraction of the training pictures used, of those that picture_limit leaves; stratified.",
        low=0.01,
        high=1.0,
    )
    picture_limit: int = setting(
        0, "Training pictures used at most, stratified; 0 means all.", low=0, high=10**9
    )
    pixels: str = setting(
        "plain",
        "Order of the pixels: plain, or permuted by one permutation that is the same for every "
        "picture and follows from the data's fingerprint.",
        choices=("plain", "permuted"),
    )
    scaling: str = setting(
        "standardised",
        "Pixel values a model sees: standardised by the training pictures' mean and deviation per "
        "channel, imagenet, by those of ImageNet, unit, from 0 to 1, symmetric, from -1 to 1, or "
        "model, as a timm model's own configuration says, standardised for any other.",
        choices=("standardised", "imagenet", "unit", "symmetric", "model"),
    )
    evaluation: str = setting(
        "centre",
        "Validation and test pictures: their centre; flip, the mean probabilities of the centre "
        "and its mirror image; or ten_crop, those of four corners and the centre, each also "
        "mirrored.",
        choices=("centre", "flip", "ten_crop"),
    )


@dataclass(frozen=True)
class ModelSettings:
    """The architecture and what it is built from."""

    name: str = setting(
        "alexnet",
        "Architecture, `timm:NAME` for any of timm's classifiers, or `package.module:function` of "
        "one's own. A search or a baseline calls it `model`.",
        choices="MODELS",
    )
    variant: str = setting("default", "Variant of the architecture; each model lists its own.")
    pretrained: str = setting(
        "none",
        "Weights to start from: none, auto (a timm model's own, none for any other model), "
        "imagenet (torchvision's, from torch's cache, for alexnet's torchvision variant and vgg11 "
        'to vgg19, which expect `scaling = "imagenet"`) or a file of them.',
    )
    train_layers: str = setting(
        "all",
        "What of a pretrained model learns: its head, the last dense layer; last_stage, the "
        "last block of layers too; half, the later half of these blocks, which takes half the "
        "time of all; or all. Layers that do not learn keep their weights and their batch norm's "
        "statistics.",
        choices=("all", "half", "last_stage", "head"),
        late="0.2.0",
    )
    head_weights: str = setting(
        "drawn",
        "What a pretrained model's head begins with: weights that are drawn, some of timm's so "
        "large that their first steps spoil the layers below; zeros; or fitted, those of a "
        "logistic regression on the features of the training pictures (Kumar et al. 2022).",
        choices=("drawn", "zeros", "fitted"),
        late="0.2.0",
    )
    norm_statistics: str = setting(
        "trained",
        "Mean and deviation of batch norm in layers that learn: trained, taken from each batch, "
        "or frozen, as a pretrained model has them, which a few epochs of small batches would "
        "only blur.",
        choices=("trained", "frozen"),
        late="0.2.0",
    )
    width: float = setting(1.0, "Factor on every hidden channel count.", low=0.01, high=8.0)
    activation: str = setting(
        "relu",
        "Activation function, or `package.module:function` of one's own.",
        choices="ACTIVATIONS",
    )
    slope: float = setting(
        0.01, "Slope of leaky_relu below zero; only leaky_relu reads it.", low=0.0, high=1.0
    )
    normalisation: str = setting(
        "default",
        "Normalisation of hidden layers; `default` is the variant's own.",
        choices=("default", "none", "lrn", "batch", "layer", "group"),
    )
    normalisation_place: str = setting(
        "default",
        "Where batch, layer and group norm stand: before or after the activation; `default` is "
        "the variant's own.",
        choices=("default", "before", "after"),
    )
    lrn_formula: str = setting(
        "torch",
        "Local response norm: torch divides alpha, 1e-4, by the five channels that it sums over, "
        "the formula of AlexNet's article does not; only lrn reads it.",
        choices=("torch", "article"),
        late="0.2.0",
    )
    pooling: str = setting(
        "default",
        "Windows of the max-pools, whose steps are two pixels: plain, 2x2, or overlapping, 3x3; "
        "`default` is the model's own, overlapping in alexnet.",
        choices=("default", "plain", "overlapping"),
        late="0.1.0",
    )
    initialisation: str = setting(
        "he",
        "Distribution of initial weights; biases start at zero. `default` is torch's own, uniform "
        "by the number of inputs, biases too.",
        choices=("zeros", "normal", "truncated_normal", "xavier", "he", "default"),
    )
    initialisation_std: float = setting(
        0.02,
        "Standard deviation of normal and truncated_normal; only they read it.",
        low=1e-8,
        high=1.0,
    )
    dropout: float = setting(
        0.5,
        "Probability that a hidden unit of a dense layer is dropped; of a timm model, a feature "
        "that its head reads.",
        low=0.0,
        high=0.95,
    )


@dataclass(frozen=True)
class TrainConfig:
    """One complete, reproducible training run."""

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    train: TrainSettings = field(default_factory=TrainSettings)


OWN_SIZE = 0
"""The `image_size` of a timm model where nobody sets it, until timm is asked what it was."""

SECTIONS: Mapping[str, type] = {
    "data": DataSettings,
    "model": ModelSettings,
    "train": TrainSettings,
}
"""The sections of a configuration, in the order in which they are written."""

MODEL = "model"
"""The setting that is `name` in its section: `data` has another of that name."""

SETTINGS: Mapping[str, Field] = {
    entry.name if entry.name != "name" else MODEL: entry
    for cls in SECTIONS.values()
    for entry in dataclasses.fields(cls)
    if entry.name != "name" or cls is ModelSettings
}
"""Every searchable setting; the data's `name` is none."""

SECTION_OF: Mapping[str, str] = {
    name: section
    for name, entry in SETTINGS.items()
    for section, cls in SECTIONS.items()
    if entry in dataclasses.fields(cls)
}
"""The section of every searchable setting."""


def get_setting(config: TrainConfig, name: str) -> Setting:
    """The value of a setting by its bare name."""
    value: Setting = getattr(getattr(config, SECTION_OF[name]), SETTINGS[name].name)
    return value


def with_settings(config: TrainConfig, settings: Mapping[str, Setting]) -> TrainConfig:
    """The configuration with some settings replaced, by their bare names."""
    sections = {}
    for section in SECTIONS:
        changes = {
            SETTINGS[key].name: value
            for key, value in settings.items()
            if SECTION_OF[key] == section
        }
        sections[section] = dataclasses.replace(getattr(config, section), **changes)
    return TrainConfig(**sections)


def config_to_dict(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """The configuration as plain nested dictionaries and lists, ready for TOML, YAML or JSON."""
    plain = dataclasses.asdict(config)
    plain["train"]["breakpoints"] = [list(pair) for pair in config.train.breakpoints]
    return plain
