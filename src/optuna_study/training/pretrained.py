"""Fine-tuning: weights that torchvision trained on ImageNet, put into our AlexNet or VGG.

They are taken from torch's own cache (`TORCH_HOME`, else `~/.cache/torch`), where torchvision puts
what it downloads, or from a file. Nothing is downloaded here. Convolutions and their norms must
all fit. A dense layer that does not, such as the last one or the first one behind smaller
pictures, keeps its drawn weights. The weights expect pictures scaled as ImageNet's were, which is
a setting of the data.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from optuna_study.config.catalogue import is_timm, starts_pretrained
from optuna_study.errors import UsageError
from optuna_study.paths import given_path
from optuna_study.training.backbone.timm_weights import digest, read_weights, timm_weights
from optuna_study.training.backbone.trained_layers import find_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from optuna_study.config.settings import ModelSettings

IMAGENET = "imagenet"

WEIGHTS = "weights"
"""What a record of where something ran calls the digests of pretrained weights."""

FILES: Mapping[tuple[str, str, str], str] = {  # by model, variant and kind of normalisation
    ("alexnet", "torchvision", "none"): "alexnet-owt-7be5be79.pth",
    ("vgg", "vgg11", "none"): "vgg11-8a719046.pth",
    ("vgg", "vgg13", "none"): "vgg13-19584684.pth",
    ("vgg", "vgg16", "none"): "vgg16-397923af.pth",
    ("vgg", "vgg19", "none"): "vgg19-dcbb9e9d.pth",
    ("vgg", "vgg11", "batch"): "vgg11_bn-6002323d.pth",
    ("vgg", "vgg13", "batch"): "vgg13_bn-abd245e5.pth",
    ("vgg", "vgg16", "batch"): "vgg16_bn-6c64b313.pth",
    ("vgg", "vgg19", "batch"): "vgg19_bn-c79401a0.pth",
}
"""The names under which torchvision keeps its weights, which end with the file's own checksum."""


def weights_file(settings: ModelSettings) -> Path:
    """The file that the settings' pretrained weights are in.

    Raises:
        UsageError: a model that torchvision has no weights of, or the file is not there.
    """
    where = f"pretrained '{settings.pretrained}'"
    if settings.pretrained != IMAGENET:
        path = given_path(settings.pretrained)
        if not path.is_file():
            raise UsageError(
                f"{where}: no such file; name one, or write imagenet for those in torch's cache"
            )
        return path
    norm = "none" if settings.normalisation == "default" else settings.normalisation
    name = FILES.get((settings.name, settings.variant, norm))
    if name is None:
        raise UsageError(
            f"{where}: torchvision has no weights for {settings.name} {settings.variant} with "
            f"normalisation {norm}; take alexnet's variant torchvision, or vgg11 to vgg19 with "
            "none or batch"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise UsageError(
            f"{where}: no {path}; put torchvision's {name} there, or name the file in pretrained"
        )
    return path


def weights_of(models: Iterable[ModelSettings]) -> dict[str, str]:
    """Each pretrained model with its weights' digest, as a record has it: one entry, or none.

    Raises:
        UsageError: weights that are not there.
        DataError: they cannot be read.
    """
    digests = {
        each.name: weights_digest(each)
        for each in models
        if starts_pretrained(each.name, each.pretrained)
    }
    said = "; ".join(f"{name} sha256:{found}" for name, found in sorted(digests.items()))
    return {WEIGHTS: said} if said else {}


def weights_digest(settings: ModelSettings) -> str:
    """The SHA-256 of a pretrained model's weights, of their tensors by name.

    Raises:
        UsageError: they are not there.
        DataError: they cannot be read.
    """
    if is_timm(settings.name):
        return timm_weights(settings).digest
    path = weights_file(settings)
    return _digest(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _digest(path: Path, _written: int) -> str:
    """The digest of a file's weights, which a process remembers until it is written anew."""
    return digest(read_weights(path).items())


def load_pretrained(model: nn.Module, settings: ModelSettings) -> None:
    """Put the pretrained weights into a model on the CPU, layer by layer.

    Raises:
        UsageError: the weights are not there, or of another architecture.
        DataError: the file cannot be read.
    """
    model.load_state_dict(fitting_weights(model, settings), strict=False)


def fitting_weights(model: nn.Module, settings: ModelSettings) -> dict[str, torch.Tensor]:
    """The pretrained weights that fit a model, which may be one without memory, by its names.

    Raises:
        UsageError: the weights are not there, of another architecture, or do not fit a layer that
            is to keep them.
        DataError: the file cannot be read.
    """
    path = weights_file(settings)
    theirs = list(read_weights(path).items())
    own = _owners(model)
    if len(theirs) != len(own):
        raise UsageError(
            f"{path}: holds {len(theirs)} tensors, {settings.name} {settings.variant} has "
            f"{len(own)}; these are weights of another architecture"
        )
    taken: dict[str, torch.Tensor] = {}
    fits: dict[int, bool] = {}
    for (name, layer, value), (_, given) in zip(own, theirs, strict=True):
        # A layer is taken as a whole: its bias belongs to its weights, which come first.
        fits[id(layer)] = fits.get(id(layer), True) and given.shape == value.shape
        if fits[id(layer)]:
            taken[name] = given
        elif not isinstance(layer, nn.Linear):
            raise UsageError(
                f"{path}: {name} has the shape {tuple(given.shape)} there and "
                f"{tuple(value.shape)} here; take width 1, colour pictures of 128 pixels or more "
                "and the variant that the weights are of"
            )
    if settings.train_layers != "all":
        _require_below_head(model, settings, taken, path)
    return taken


def _require_below_head(
    model: nn.Module, settings: ModelSettings, taken: Mapping[str, torch.Tensor], path: Path
) -> None:
    """Refuse to keep drawn weights: those of frozen layers would be of another seed elsewhere."""
    head = find_head(model)
    drawn = [name for name, layer, _ in _owners(model) if name not in taken and layer is not head]
    if drawn:
        raise UsageError(
            f"train_layers '{settings.train_layers}': {drawn[0]} of {settings.name} does not have "
            f"the shape it has in {path}, so it is drawn and nothing is to be kept of it; set "
            'image_size = 224, which the weights are for, or train_layers = "all"'
        )


def _owners(model: nn.Module) -> list[tuple[str, nn.Module, torch.Tensor]]:
    """Each tensor of a model's state with its name and the layer it belongs to."""
    return [
        (name, model.get_submodule(name.rpartition(".")[0]), value)
        for name, value in model.state_dict().items()
    ]
