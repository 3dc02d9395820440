"""Pictures on the device, as uint8, ready to be batched: all that training sees of the data.

Pictures are kept at the size of the article's 256 : 227: the shorter side is scaled to
`cache_size(image_size)` and the centre square kept, training takes a random crop from it (when
`crop` is an augmentation) and evaluation the centre or ten crops.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from optuna_study.data.load import open_pictures
from optuna_study.data.split import split, used_pictures
from optuna_study.data.statistics import colour_statistics, picture_moments
from optuna_study.training.device import free_memory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from optuna_study.config.settings import DataSettings
    from optuna_study.data.grey import GreyRanges
    from optuna_study.paths import Workspace

Scale: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of pixel values per colour, in [0, 1]."""

ROOM_SHARE = 0.5  # the other half is for models, and for other workers' pictures

INPUT_BYTES = 256 * 2**20
"""The most memory for training pictures as a model's input; 48,000 of MNIST take 150 MB."""


@dataclass(frozen=True)
class DeviceData:
    """A data set on a device.

    Images are uint8 of shape (N, channels, cache_size, cache_size), labels int64. On a CPU, and
    where a GPU has no room for them, images are views of the shared cache file, memory-mapped,
    with the channels innermost: the system keeps of it what fits into the host's memory. `mean`
    and `std` are per channel of the training pictures, in [0, 1]. The columns of `principal` are
    the principal components of the training pictures' colours, each multiplied by its eigenvalue.
    `permutation`, where there is one, holds for each pixel that a model sees its index in the
    picture. `grey_ranges` are those that deep grey pictures were scaled by,
    `moments` those of the training pictures (`data.statistics`). `source` is the whole
    data that became these by `view_settings`.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    validation_images: torch.Tensor
    validation_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    principal: torch.Tensor
    classes: tuple[str, ...]
    image_size: int
    cache_size: int
    fingerprint: str
    memory_format: torch.memory_format
    notes: tuple[str, ...] = ()
    grey_ranges: GreyRanges = field(default_factory=dict)
    moments: NDArray[np.int64] | None = None
    permutation: torch.Tensor | None = None
    view_settings: tuple[float, int, str, Scale | None, int] | None = None
    source: DeviceData | None = None
    stays_on_host: bool = False  # the images, which come to the device a batch at a time
    training_size: int = 0  # of resized crops, where it is not `image_size`
    workspace: Workspace | None = None  # where what is computed of all pictures is kept

    @property
    def channels(self) -> int:
        """Colour channels of a picture."""
        return self.train_images.shape[1]

    @property
    def device(self) -> torch.device:
        """Where it is computed, and where all but the images of a set too large for it are."""
        return self.mean.device

    def fetch(self, pictures: torch.Tensor) -> torch.Tensor:
        """The training images at some indices, on the device.

        From the host they are copied through pinned memory, without waiting for the device: given
        indices on the host, a batch is on its way while the device still works on those before.
        """
        if not self.stays_on_host:
            return self.train_images[pictures]
        chosen = self.train_images.permute(0, 2, 3, 1)[pictures.cpu()]
        if self.device.type == "cuda":
            chosen = chosen.pin_memory()
        return chosen.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    @cached_property
    def train_inputs(self) -> Inputs | None:
        """All training pictures as a model sees them, where they fit into INPUT_BYTES."""
        count = len(self.train_images) * self.channels * self.image_size**2
        if count * 4 > INPUT_BYTES:
            return None
        chunks = [to_model_input(chunk, self) for chunk in torch.split(self.train_images, 256)]
        innermost = self.memory_format is torch.channels_last
        if innermost:
            chunks = [chunk.permute(0, 2, 3, 1) for chunk in chunks]
        return Inputs(
            torch.cat([chunk.flatten(1) for chunk in chunks]), chunks[0].shape[1:], innermost
        )


@dataclass(frozen=True)
class Inputs:
    """Pictures as a model sees them, a row each, which becomes a picture of `shape`, float32."""

    rows: torch.Tensor
    shape: torch.Size
    channels_last: bool

    def select(self, pictures: torch.Tensor) -> torch.Tensor:
        """Those at some indices: (B, channels, side, side)."""
        chosen = self.rows.index_select(0, pictures).view(-1, *self.shape)
        return chosen.permute(0, 3, 1, 2) if self.channels_last else chosen


def load_data(
    settings: DataSettings,
    folder: Path | None,
    workspace: Workspace,
    device: torch.device,
    memory_format: str = "contiguous",
    scale: Scale | None = None,
    room: int | None = None,
) -> DeviceData:
    """Split pictures on a device, as the settings want them seen.

    The test side, too, which a search leaves alone. `view` shows the same pictures by other
    settings; `scale` is as there. Images that take more than `room` bytes, by default ROOM_SHARE
    of a GPU's free memory, stay on the host, and a note says so.

    Raises:
        DataError: see `open_pictures`.
    """
    pictures = open_pictures(settings, folder, workspace)
    parts = split(pictures)
    training, moments = parts.train, pictures.moments
    moments = picture_moments(pictures.images[training]) if moments is None else moments[training]
    mean, std, principal = _colours(moments, pictures.images.shape[1], device)
    size = pictures.images.nbytes
    if room is None:
        room = free_memory(device)
        room = None if room is None else int(ROOM_SHARE * room)
    stays = room is not None and size > room
    place = torch.device("cpu") if stays else device
    notes = pictures.notes
    if stays:
        notes += (
            f"the pictures take {size / 2**30:.1f} GiB and {device} has room for "
            f"{(room or 0) / 2**30:.1f}: they stay on the host, and each batch is copied ahead",
        )

    def images(indices: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(_select(pictures.images, indices)).to(place).permute(0, 3, 1, 2)

    def labels(indices: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(pictures.labels[indices]).to(device)

    whole = DeviceData(
        train_images=images(training),
        train_labels=labels(training),
        validation_images=images(parts.validation),
        validation_labels=labels(parts.validation),
        test_images=images(parts.test),
        test_labels=labels(parts.test),
        mean=mean,
        std=std,
        principal=principal,
        classes=pictures.classes,
        image_size=settings.image_size,
        cache_size=pictures.images.shape[1],
        fingerprint=pictures.fingerprint,
        memory_format=_FORMATS[memory_format],
        notes=notes,
        grey_ranges=pictures.grey_ranges,
        moments=moments,
        stays_on_host=stays,
        workspace=workspace,
    )
    return view(whole, settings, scale)


def view(data: DeviceData, settings: DataSettings, scale: Scale | None = None) -> DeviceData:
    """The same data by other settings of subset, limit, pixel order and scaling.

    Trials of one study may differ in these; only what a fraction of the pictures has of its own,
    mean, deviation and components, is computed anew. `scale` is what scaling by the model itself
    stands for, the training pictures' own where it is None.
    """
    scale = _SCALES.get(settings.scaling, scale)
    wanted = (
        *(settings.subset, settings.picture_limit, settings.pixels),
        *(scale, settings.training_size),
    )
    if data.view_settings == wanted:
        return data
    whole = data if data.source is None else data.source
    changes: dict[str, Any] = {"training_size": settings.training_size}
    if settings.subset < 1 or settings.picture_limit:
        changes |= _take_first(whole, settings.subset, settings.picture_limit)
    if scale is not None:
        mean, std = scale
        changes |= {"mean": _by_channel(mean, whole), "std": _by_channel(std, whole)}
    if settings.pixels == "permuted":
        order = torch.from_numpy(pixel_permutation(whole.fingerprint, whole.image_size**2))
        changes["permutation"] = order.to(whole.device)
    return dataclasses.replace(whole, **changes, view_settings=wanted, source=whole)


def _by_channel(values: tuple[float, ...], data: DeviceData) -> torch.Tensor:
    """Values per colour for the data's channels; grey pictures have the colours' mean."""
    if data.channels != len(values):
        return torch.full_like(data.mean, sum(values) / len(values))
    return torch.tensor(values, dtype=data.mean.dtype, device=data.device)


def pixel_permutation(fingerprint: str, pixels: int) -> NDArray[np.int64]:
    """Each seen pixel's index in the picture, in NumPy's legacy order: the same anywhere."""
    random = np.random.RandomState(int(fingerprint[:8], 16))
    return random.permutation(pixels).astype(np.int64)


def _take_first(whole: DeviceData, subset: float, limit: int) -> dict[str, torch.Tensor]:
    """The first of the training pictures, whose every prefix is stratified, and their colours."""
    present = int(torch.bincount(whole.train_labels).count_nonzero())
    used = used_pictures(len(whole.train_labels), present, subset, limit)
    images, moments = whole.train_images[:used], whole.moments
    if moments is None:
        moments = picture_moments(images.permute(0, 2, 3, 1).cpu().numpy())
    mean, std, principal = _colours(moments[:used], whole.cache_size, whole.device)
    return {
        "train_images": images,
        "train_labels": whole.train_labels[:used],
        "mean": mean,
        "std": std,
        "principal": principal,
    }


def _colours(
    moments: NDArray[np.int64], side: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, deviation and components of square pictures, in single precision."""
    mean, std, principal = (
        torch.from_numpy(values.astype(np.float32)).to(device)
        for values in colour_statistics(moments, side * side)
    )
    return mean, std, principal


def to_model_input(images: torch.Tensor, data: DeviceData) -> torch.Tensor:
    """A model's input from uint8 pictures (B, channels, side, side): float32, normalised.

    Of pictures larger than a model sees, their centre; pixels in the order that the data asks for.
    """
    images = centre_crop(images, data.image_size).to(data.device, non_blocking=True)
    images = permute_pixels(images, data)
    return normalise_(to_floats(images, data), data)


def permute_pixels(images: torch.Tensor, data: DeviceData) -> torch.Tensor:
    """Pictures of the size a model sees with their pixels permuted, where the data asks for it."""
    if data.permutation is None:
        return images
    return images.flatten(2).index_select(2, data.permutation).view(images.shape)


def centre_crop(images: torch.Tensor, size: int) -> torch.Tensor:
    """The middle square of pictures (B, channels, side, side), a view."""
    margin = (images.shape[-1] - size) // 2
    return images[..., margin : margin + size, margin : margin + size]


def to_floats(images: torch.Tensor, data: DeviceData) -> torch.Tensor:
    """New float32 pictures in [0, 1] from uint8 ones, in the memory format of the data.

    Copying bytes into floats of the final layout takes an eighth of the time of converting first
    and laying out afterwards (0.28 ms against 2.4 ms for 32 pictures of 64 pixels on one core).
    """
    floats = torch.empty(
        images.shape,
        dtype=torch.float32,
        device=images.device,
        memory_format=data.memory_format,
    )
    return floats.copy_(images).div_(255)


def normalise_(images: torch.Tensor, data: DeviceData) -> torch.Tensor:
    """Take the mean off pictures in [0, 1] and divide by the deviation, in place."""
    shape = (1, -1, 1, 1)
    normalised = images.sub_(data.mean.view(shape)).div_(data.std.view(shape))
    return normalised.contiguous(memory_format=data.memory_format)


def _select(images: NDArray[np.uint8], indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The pictures at `indices`; a view where these are consecutive, as in stored data sets."""
    start, stop = int(indices[0]), int(indices[-1]) + 1
    if stop - start == len(indices) and (np.diff(indices) == 1).all():
        return images[start:stop]
    return images[indices]


# Mean and deviation per channel where they are not those of the pictures.
_SCALES: dict[str, Scale] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # as torchvision's models were
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
