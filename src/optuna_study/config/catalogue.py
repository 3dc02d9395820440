"""The names a configuration may use, each with the function it stands for; free of torch.

A value is a reference `package.module:attribute`, resolved when used; a study file names a
function of one's own in the same form. Adding an activation or an optimizer that torch has is one
line here. Models and data sets are found by their files.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna_study.errors import OptunaStudyError, UsageError
from optuna_study.text import did_you_mean, in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Entry:
    """One name of a table.

    `fixed` are keyword arguments always given; `settings` maps the function's keyword arguments to
    the settings of the configuration that they take their values from. `widening` is the number of
    channels an activation takes for each one that it gives.
    """

    reference: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    widening: int = 1


ACTIVATIONS: Mapping[str, Entry] = {
    "sigmoid": Entry("torch.nn:Sigmoid"),
    "tanh": Entry("torch.nn:Tanh"),
    "relu": Entry("torch.nn:ReLU"),
    "leaky_relu": Entry("torch.nn:LeakyReLU", settings={"negative_slope": "slope"}),
    "elu": Entry("torch.nn:ELU"),
    "maxout": Entry("optuna_study.training.layers:Maxout", widening=2),
    "prelu": Entry("torch.nn:PReLU"),
    "gelu": Entry("torch.nn:GELU"),
    "silu": Entry("torch.nn:SiLU"),
}

NOT_PRETRAINED = "none"
"""What a model's `pretrained` says where its weights are drawn."""

AUTO = "auto"
"""What it says for a timm model's own weights; models of ours and of one's own have none."""

TIMM = "timm:"
"""What the name of one of timm's classifiers begins with."""

FULL_BATCH = frozenset({"gd"})
"""Optimizers that take one step an epoch, by the mean gradient over all training pictures."""

OPTIMIZERS: Mapping[str, Entry] = {
    "gd": Entry("torch.optim:SGD"),
    "sgd": Entry("torch.optim:SGD"),
    "momentum": Entry("torch.optim:SGD", settings={"momentum": "momentum"}),
    "nesterov": Entry(
        "torch.optim:SGD", fixed={"nesterov": True}, settings={"momentum": "momentum"}
    ),
    "adagrad": Entry("torch.optim:Adagrad"),
    "rmsprop": Entry(
        "torch.optim:RMSprop", settings={"momentum": "momentum", "alpha": "smoothing"}
    ),
    "adam": Entry("torch.optim:Adam", settings={"betas": "beta1,beta2"}),
    "adamw": Entry("torch.optim:AdamW", settings={"betas": "beta1,beta2"}),
    # You et al. 2020; timm's own clipping is left to the setting.
    "lamb": Entry(
        "timm.optim:Lamb", fixed={"max_grad_norm": None}, settings={"betas": "beta1,beta2"}
    ),
}

AUGMENTATIONS: tuple[str, ...] = (
    *("crop", "resized_crop", "flip"),
    *("vertical_flip", "rotation", "trivial_augment", "rand_augment"),
    *("color_jitter", "pca_jitter", "random_erasing"),
)
"""Changes to training pictures, in the order in which `training.augment` makes them."""

MODELS = "training/models"
DATASETS = "data/datasets"

TABLES: Mapping[str, Mapping[str, Entry]] = {"ACTIVATIONS": ACTIVATIONS, "OPTIMIZERS": OPTIMIZERS}


def is_reference(name: str) -> bool:
    """Whether a name is a `package.module:attribute` reference to somebody's own function."""
    return ":" in name and not is_timm(name)


def is_timm(name: str) -> bool:
    """Whether a name is one of timm's classifiers, `timm:NAME`."""
    return name.startswith(TIMM)


def starts_pretrained(model: str, pretrained: str) -> bool:
    """Whether a model's weights are read, not drawn.

    >>> starts_pretrained("timm:resnet18", "auto"), starts_pretrained("alexnet", "auto")
    (True, False)
    """
    return is_timm(model) if pretrained == AUTO else pretrained != NOT_PRETRAINED


def augmentation_names(text: str) -> tuple[str, ...]:
    """The augmentations of a setting such as `crop+flip`, in the order in which they are made.

    >>> augmentation_names("flip + crop")
    ('crop', 'flip')
    >>> augmentation_names("none")
    ()

    Raises:
        UsageError: an unknown name, one that stands twice, `none` beside others, or both crops.
    """
    names = [name.strip() for name in text.split("+")]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in AUGMENTATIONS:
            hint = did_you_mean(name, [*AUGMENTATIONS, "none"])
            raise UsageError(f"augmentation '{text}': no '{name}' to join with others, {hint}")
        if names.count(name) > 1:
            raise UsageError(f"augmentation '{text}': '{name}' stands twice; name it once")
    if {"crop", "resized_crop"} <= set(names):
        raise UsageError(
            f"augmentation '{text}': resized_crop takes the place of crop; leave one of them out"
        )
    return tuple(name for name in AUGMENTATIONS if name in names)


def model_names() -> list[str]:
    """The architectures that `training.models` holds."""
    return _files(MODELS)


def dataset_names() -> list[str]:
    """The data sets that `data.datasets` holds."""
    return _files(DATASETS)


def known_names(choices: str | tuple[str, ...] | None) -> list[str]:
    """The names that a text setting with these `choices` may have; empty where any text will do.

    >>> known_names(("plain", "permuted"))
    ['plain', 'permuted']
    """
    if choices == "MODELS":
        return model_names()
    if choices == "DATASETS":
        return dataset_names()
    if choices == "AUGMENTATIONS":
        return ["none", *AUGMENTATIONS]
    return list(TABLES[choices] if isinstance(choices, str) else choices or ())


DEFAULT = "default"
"""What a setting says that is left to the model."""

OWN_VALUES: Mapping[str, str] = {
    "normalisation": "none",
    "normalisation_place": "before",
    "pooling": "plain",
}
"""Settings that are left to the model, with what they are where its file says nothing else."""


def variants(model: str) -> tuple[str, ...]:
    """The variants that a model's file names in its `VARIANTS`; empty when it names none."""
    return tuple(map(str, _written(model, "VARIANTS") or ()))


def own_value(name: str, model: str, variant: str) -> str | None:
    """What `default` stands for in a variant of a model: by its file's `DEFAULTS`.

    None of another setting, and of models whose files are not ours.

    >>> own_value("normalisation", "alexnet", "original"), own_value("pooling", "lenet", "default")
    ('lrn', 'plain')
    """
    if name not in OWN_VALUES or model not in model_names():
        return None
    return chosen(_written(model, "DEFAULTS") or {}, name, variant)


def chosen(defaults: Mapping[str, Mapping[str, str]], name: str, variant: str) -> str:
    """A variant's own value of a setting, by a model's `DEFAULTS`, where "" is any variant."""
    values = defaults.get(name, {})
    return values.get(variant, values.get("", OWN_VALUES[name]))


def _written(model: str, constant: str) -> Any:
    """A literal that a model's file assigns to a name; None where there is none.

    Read from the source text: importing a model loads torch, which takes seconds.
    """
    if model not in model_names():
        return None
    file = Path(__file__).parents[1] / MODELS / f"{model}.py"
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
            try:
                return ast.literal_eval(getattr(node, "value", "None"))
            except (TypeError, ValueError):  # made by a call; what it holds shows when it runs
                return None
    return None


def import_reference(reference: str) -> Any:
    """The function or class behind a reference.

    Raises:
        UsageError: the module cannot be imported or has no such attribute.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module of one's own may raise anything
        raise UsageError(
            f"'{reference}': module '{module_name}' cannot be imported ({in_one_line(error)}); "
            "write package.module:function, and install the package or name its folder in "
            "PYTHONPATH"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        hint = did_you_mean(attribute, [name for name in vars(module) if not name.startswith("_")])
        raise UsageError(f"'{reference}': module has no '{attribute}', {hint}") from None


@contextmanager
def explain_failure(
    kind: str, reference: str, asked: str, refusal: type[UsageError] = UsageError
) -> Iterator[None]:
    """Tell of what somebody's own function raises in the block, and what is asked of it.

    Raises:
        UsageError: or another refusal: it raised; known errors pass as they are.
    """
    try:
        yield
    except OptunaStudyError:
        raise
    except Exception as error:
        raise refusal(
            f"{kind} '{reference}' cannot be used: {in_one_line(error)}; {asked}"
        ) from error


def _files(folder: str) -> list[str]:
    path = str(Path(__file__).parents[1] / folder)
    return sorted(module.name for module in pkgutil.iter_modules([path]))
