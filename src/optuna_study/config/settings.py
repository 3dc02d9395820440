"""What a training run is given and what it yields; free of torch, so that everyone may read it.

Vocabulary: a *setting* is one named value of a configuration; setting names are unique over the
three sections (`data`, `model`, `train`), so a search space, a baseline and an exported file speak
of `lr` or `dropout` alone.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.config.reasons import Divergence

Scalar: TypeAlias = bool | int | float | str
Pairs: TypeAlias = tuple[tuple[int, float], ...]
Setting: TypeAlias = Scalar | Pairs
Field: TypeAlias = "dataclasses.Field[Any]"


def setting(
    default: Any,
    doc: str,
    *,
    choices: str | tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    legal: str = "",
    late: str | None = None,
) -> Any:
    """Declare a setting: its default, the sentence that documents it, and its legal values.

    `choices` is a tuple of names, or the name of a table of the catalogue; `low` and `high` are
    inclusive, and `legal` says in words what lies between them. `late` is the version
    that brought one when studies had been made without it: its default is what they did, and does
    not set later ones apart from them.
    """
    bounds = {"low": low, "high": high, "legal": legal}
    metadata = {"doc": doc, "choices": choices, **bounds, "late": late}
    return field(default=default, metadata=metadata)


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
        "Side of the square a model sees, in pixels; the points of `spiral` need only 1.",
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
        "Training-picture changes joined by `+`: crop, flip, color_jitter, pca_jitter; or none.",
        choices="AUGMENTATIONS",
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
        "channel, imagenet, by those of ImageNet, unit, from 0 to 1, or symmetric, from -1 to 1.",
        choices=("standardised", "imagenet", "unit", "symmetric"),
    )
    evaluation: str = setting(
        "centre",
        "Validation and test pictures: their centre, or ten_crop, the mean probabilities of four "
        "corners and the centre, each also mirrored.",
        choices=("centre", "ten_crop"),
    )


@dataclass(frozen=True)
class ModelSettings:
    """The architecture and what it is built from."""

    name: str = setting(
        "alexnet", "Architecture, or `package.module:function` of one's own.", choices="MODELS"
    )
    variant: str = setting("default", "Variant of the architecture; each model lists its own.")
    pretrained: str = setting(
        "none",
        "Weights to start from: none, imagenet (torchvision's, from torch's cache) or a file of "
        "them; for alexnet's torchvision variant and vgg11 to vgg19. They expect pictures scaled "
        'as theirs were: set `scaling = "imagenet"` too.',
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
        0.5, "Probability that a hidden unit of a dense layer is dropped.", low=0.0, high=0.95
    )


@dataclass(frozen=True)
class TrainSettings:
    """How the weights are found."""

    objective: str = setting(
        "default",
        "What trains an epoch: `default` is the loop here, with the settings below; or a function "
        "of one's own as package.module:function.",
        choices=("default",),
        late="0.1.0",
    )
    epochs: int = setting(10, "Passes over the training pictures.", low=1, high=100_000)
    batch_size: int = setting(
        32,
        "Pictures per step; of gd, whose step takes all pictures, those worked on at once.",
        low=1,
        high=65_536,
    )
    loss: str = setting(
        "cross_entropy",
        "Loss; mse and bce are taken on one-hot targets.",
        choices=("cross_entropy", "mse", "bce"),
    )
    mse_of: str = setting(
        "sigmoid",
        "What mse compares with the targets: the outputs' sigmoid, or their activation, the "
        "model's own; only mse reads it.",
        choices=("sigmoid", "activation"),
        late="0.1.0",
    )
    optimizer: str = setting("sgd", "Optimizer.", choices="OPTIMIZERS")
    lr: float = setting(0.01, "Learning rate at the start.", low=1e-8, high=100.0)
    breakpoints: Pairs = setting(
        (),
        "Learning-rate changes as [epoch, lr] pairs: from the end of that epoch on, that rate; "
        "ordered by epoch.",
    )
    schedule: str = setting(
        "breakpoints",
        "Learning rate over time: piecewise constant by breakpoints, or cosine down to zero.",
        choices=("breakpoints", "cosine"),
    )
    warmup_epochs: float = setting(
        0.0,
        "Epochs over which the learning rate first rises linearly from zero.",
        low=0.0,
        high=1000.0,
    )
    momentum: float = setting(
        0.9,
        "Momentum of momentum, nesterov and rmsprop; only they read it. RMSProp as it was "
        "published, and torch's own default, has none: that is momentum 0.",
        low=0.0,
        high=0.9999,
    )
    beta1: float = setting(
        0.9, "First-moment decay of adam and adamw; only they read it.", low=0.0, high=0.9999
    )
    beta2: float = setting(
        0.999, "Second-moment decay of adam and adamw; only they read it.", low=0.0, high=0.999999
    )
    smoothing: float = setting(
        0.99, "Decay of rmsprop's squared gradients; only it reads it.", low=0.0, high=0.999999
    )
    weight_decay: float = setting(
        0.0, "L2 penalty on weights, not on biases and normalisation.", low=0.0, high=1.0
    )
    seed: int = setting(
        0,
        "Seed of weights, order, augmentation and dropout; a search derives one per trial.",
        low=0,
        high=2**63 - 1,
    )
    shuffle: str = setting(
        "every_epoch",
        "When training pictures are shuffled: before every epoch, or once, so that all epochs "
        "take them in one order and never those that whole batches leave over at its end.",
        choices=("every_epoch", "once"),
        late="0.1.0",
    )
    threads: int = setting(
        0,
        "CPU threads of one run; 0 means all cores, pinned when a study is made.",
        low=0,
        high=1024,
    )
    memory_format: str = setting(
        "contiguous",
        "Memory layout of pictures and convolutions.",
        choices=("contiguous", "channels_last"),
    )
    evaluation_batch_size: int = setting(
        256, "Pictures per evaluation step; pinned, since sums depend on it.", low=1, high=65_536
    )


@dataclass(frozen=True)
class TrainConfig:
    """One complete, reproducible training run."""

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    train: TrainSettings = field(default_factory=TrainSettings)


SECTIONS: Mapping[str, type] = {
    "data": DataSettings,
    "model": ModelSettings,
    "train": TrainSettings,
}
"""The sections of a configuration, in the order in which they are written."""

SETTINGS: Mapping[str, Field] = {
    entry.name: entry
    for cls in SECTIONS.values()
    for entry in dataclasses.fields(cls)
    if entry.name != "name"
}
"""Every searchable setting; `name` stands in two sections and is never searched."""

SECTION_OF: Mapping[str, str] = {
    name: section for name in SETTINGS for section, cls in SECTIONS.items() if hasattr(cls, name)
}
"""The section of every searchable setting."""


def get_setting(config: TrainConfig, name: str) -> Setting:
    """The value of a setting by its bare name."""
    value: Setting = getattr(getattr(config, SECTION_OF[name]), name)
    return value


def with_settings(config: TrainConfig, settings: Mapping[str, Setting]) -> TrainConfig:
    """The configuration with some settings replaced, by their bare names."""
    sections = {}
    for section in SECTIONS:
        changes = {key: value for key, value in settings.items() if SECTION_OF[key] == section}
        sections[section] = dataclasses.replace(getattr(config, section), **changes)
    return TrainConfig(**sections)


def config_to_dict(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """The configuration as plain nested dictionaries and lists, ready for TOML, YAML or JSON."""
    plain = dataclasses.asdict(config)
    plain["train"]["breakpoints"] = [list(pair) for pair in config.train.breakpoints]
    return plain


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave.

    Losses are means over pictures, accuracies fractions in [0, 1], `lr` the rate at the epoch's
    last step, `gradient_norm` the mean L2 norm over the epoch's steps, `seconds` the epoch's
    duration.
    Of the validation pictures, `balanced_accuracy` is the mean recall of the classes, `macro_f1`
    the mean over the classes of precision's and recall's harmonic mean, `log_loss` the mean
    negative logarithm of the true class's probability (`training.losses.log_likelihood`).
    After a divergence within the epoch the validation figures are NaN.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    gradient_norm: float
    seconds: float
    balanced_accuracy: float = math.nan
    macro_f1: float = math.nan
    log_loss: float = math.nan
    divergence: Divergence | None = None
