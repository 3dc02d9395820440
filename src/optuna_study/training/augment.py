"""Changes to training pictures, a whole batch at a time on its device, from one generator.

Crop and flip are one gather of bytes, a resized crop is sampled between pixels; colours are
changed afterwards in floating point. Nothing but torchvision's changes (`recipe.policies`) waits
for the device, and each function is pure: the same pictures and the same state of the generator
give the same result.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from optuna_study.training.device_data import (
    DeviceData,
    centre_crop,
    normalise_,
    permute_pixels,
    to_floats,
)
from optuna_study.training.recipe.policies import ON_BYTES, ON_FLOATS, change

JITTER = 0.3
"""Brightness, contrast and saturation change by factors from 1 - JITTER to 1 + JITTER."""

PCA_STD = 0.1
"""Deviation of the article's draws along the principal components of the colours."""

AREA = (0.35, 1.0)
"""The share of a picture's area that a resized crop shows. From 0.08 on, as networks are trained
with from nothing (Szegedy et al. 2015), a fine-tuning of few epochs sees too little of each."""

ASPECT = (3 / 4, 4 / 3)
"""Width over height of what a resized crop shows (Szegedy et al. 2015)."""

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601, as torchvision rounds them)."""


def augment(
    images: torch.Tensor,
    names: tuple[str, ...],
    data: DeviceData,
    generator: torch.Generator,
) -> torch.Tensor:
    """A model's training input from uint8 pictures, changed at random: float32, normalised.

    Its side is the data's `image_size`, or that of resized crops where they have their own.

    `images` are (B, channels, cache_size, cache_size). `names` come from
    `catalogue.augmentation_names`; the generator lives on the pictures' device.
    """
    images = images.to(data.device, non_blocking=True)
    if "resized_crop" in names:
        size = data.training_size or data.image_size
        boxes = draw_boxes(len(images), images.shape[-1], generator, images.device)
        images = resize_boxes(images, boxes, size)
        if "flip" in names:
            images = crop_and_flip(images, size, generator, crop=False, flip=True)
    elif "crop" in names or "flip" in names:
        images = crop_and_flip(
            images, data.image_size, generator, crop="crop" in names, flip="flip" in names
        )
    else:
        images = centre_crop(images, data.image_size)
    images = change(images, [name for name in ON_BYTES if name in names], generator)
    colours = to_floats(permute_pixels(images, data), data)
    if "color_jitter" in names:
        colours = color_jitter(colours, generator)
    if "pca_jitter" in names:
        colours = pca_jitter(colours, data.principal, generator)
    inputs = normalise_(colours, data)
    return change(inputs, [name for name in ON_FLOATS if name in names], generator)


def crop_and_flip(
    images: torch.Tensor, size: int, generator: torch.Generator, *, crop: bool, flip: bool
) -> torch.Tensor:
    """Squares of side `size` at random places, half of them mirrored, of the pictures' own type.

    Pictures no larger than `size` are cropped from themselves with an eighth more on each side,
    where the border's pixels are repeated.
    """
    count, side, device = len(images), images.shape[-1], images.device
    steps = torch.arange(size, device=device)
    if crop:
        margin = side - size
        low, high = (0, margin) if margin > 0 else (-(size // 8), size // 8)
        corner = torch.randint(low, high + 1, (2, count, 1), generator=generator, device=device)
    else:
        corner = torch.full((2, count, 1), (side - size) // 2, device=device)
    rows, columns = (corner + steps).clamp_(0, side - 1)
    if flip:
        mirrored = torch.rand((count, 1), generator=generator, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    # Whole pixels by their index in one long row: a quarter of the time of indexing three ways.
    picture = torch.arange(count, device=device).view(-1, 1, 1) * side
    pixel = (picture + rows.unsqueeze(2)) * side + columns.unsqueeze(1)
    pixels = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    cropped = pixels.index_select(0, pixel.view(-1)).view(count, size, size, -1)
    return cropped.permute(0, 3, 1, 2)


def draw_boxes(
    count: int, side: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Rectangles (count, 4) within squares of `side` pixels: left, top, width and height, float32.

    Area and aspect are drawn as by torchvision's RandomResizedCrop, evenly and evenly by
    logarithm; what is then longer than the square is cut.
    """
    drawn = torch.rand((4, count), generator=generator, device=device)
    area = AREA[0] + drawn[0] * (AREA[1] - AREA[0])
    low, high = (math.log(each) for each in ASPECT)
    aspect = torch.exp(low + drawn[1] * (high - low))
    width = (area * aspect).sqrt().clamp(max=1) * side
    height = (area / aspect).sqrt().clamp(max=1) * side
    return torch.stack(
        (drawn[2] * (side - width), drawn[3] * (side - height), width, height), dim=1
    )


def resize_boxes(images: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    """A rectangle of each picture as a square of side `size`, bilinear, of the pictures' own type.

    Images are (B, channels, side, side), boxes (B, 4) as `draw_boxes` gives them.
    """
    side = images.shape[-1]
    left, top, width, height = boxes.unbind(dim=1)
    # In grid_sample's coordinates a picture reaches from -1 to 1 (align_corners=False).
    sampled = torch.zeros((len(images), 2, 3), device=images.device)
    sampled[:, 0, 0], sampled[:, 0, 2] = width / side, (2 * left + width) / side - 1
    sampled[:, 1, 1], sampled[:, 1, 2] = height / side, (2 * top + height) / side - 1
    shape = [len(images), images.shape[1], size, size]
    grid = nn.functional.affine_grid(sampled, shape, align_corners=False)
    floats = images.to(torch.float32, memory_format=torch.channels_last)
    resized = nn.functional.grid_sample(floats, grid, padding_mode="border", align_corners=False)
    return resized.round_().to(images.dtype)


def color_jitter(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures in [0, 1] with brightness, then contrast, then saturation changed at random."""
    shape = (3, len(images), 1, 1, 1)
    draws = torch.rand(shape, generator=generator, device=images.device)
    brightness, contrast, saturation = 1 + JITTER * (2 * draws - 1)
    images = adjust_brightness(images, brightness)
    images = adjust_contrast(images, contrast)
    return adjust_saturation(images, saturation)


def adjust_brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] times a factor, broadcast over them."""
    return (images * factor).clamp_(0, 1)


def adjust_contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] moved away from, or towards, their own mean brightness."""
    mean = luma(images).mean(dim=(-3, -2, -1), keepdim=True)
    return torch.lerp(mean, images, factor).clamp_(0, 1)


def adjust_saturation(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] moved away from, or towards, their grey version; grey ones stay."""
    return torch.lerp(luma(images), images, factor).clamp_(0, 1)


def luma(images: torch.Tensor) -> torch.Tensor:
    """Brightness of pictures (B, channels, height, width), as one channel."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = images.unbind(dim=1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def pca_jitter(
    images: torch.Tensor, principal: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Pictures with a random step along the principal components added to all their colours.

    Steps are normal draws of deviation 0.1. `principal` holds the components, times their
    eigenvalues, as columns (channels x channels).
    """
    shape = (len(images), principal.shape[1])
    draws = torch.randn(shape, generator=generator, device=images.device) * PCA_STD
    return images + (draws @ principal.T).view(len(images), -1, 1, 1)
