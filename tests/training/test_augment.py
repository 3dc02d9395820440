from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from optuna_study.training.augment import (
    AREA,
    ASPECT,
    JITTER,
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    augment,
    color_jitter,
    crop_and_flip,
    draw_boxes,
    pca_jitter,
    resize_boxes,
)
from optuna_study.training.device_data import to_model_input

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.training.device_data import DeviceData

SIDE, SIZE = 18, 16
ALL = ("crop", "flip", "color_jitter", "pca_jitter")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 8, channels: int = 3, side: int = SIDE) -> torch.Tensor:
    shape = (count, channels, side, side)
    return torch.randint(0, 256, shape, generator=generator(9), dtype=torch.uint8)


@pytest.fixture
def data(tiny_data: DeviceData) -> DeviceData:
    """Data whose pictures are kept two pixels larger than the model sees."""
    return replace(tiny_data, image_size=SIZE, cache_size=SIDE)


# --- places ----------------------------------------------------------------------------------


def windows(picture: torch.Tensor) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of a picture, and of its mirror image, by its bytes."""
    found = {}
    for top in range(SIDE - SIZE + 1):
        for left in range(SIDE - SIZE + 1):
            square = picture[:, top : top + SIZE, left : left + SIZE]
            for flipped in (False, True):
                seen = square.flip(-1) if flipped else square
                found[seen.contiguous().numpy().tobytes()] = (top, left, flipped)
    return found


@pytest.mark.parametrize("flip", [True, False])
def test_crops_are_windows_of_their_own_picture(flip: bool) -> None:
    images = batch(1).expand(200, -1, -1, -1)
    known = windows(images[0])
    cropped = crop_and_flip(images, SIZE, generator(), crop=True, flip=flip)
    assert cropped.dtype == torch.uint8
    places = [known[each.contiguous().numpy().tobytes()] for each in cropped]
    # Every place of the nine comes up, mirrored or not.
    assert len(set(places)) == (18 if flip else 9)


def test_each_picture_keeps_its_place_in_the_batch() -> None:
    images = batch(6)
    for image, crop in zip(
        images, crop_and_flip(images, SIZE, generator(), crop=True, flip=True), strict=True
    ):
        assert crop.contiguous().numpy().tobytes() in windows(image)


def test_flip_alone_takes_the_centre() -> None:
    images = batch(40)
    centre = images[..., 1:17, 1:17]
    flipped = crop_and_flip(images, SIZE, generator(), crop=False, flip=True)
    mirrored = [
        bool((one == two.flip(-1)).all()) for one, two in zip(flipped, centre, strict=True)
    ]
    straight = [bool((one == two).all()) for one, two in zip(flipped, centre, strict=True)]
    assert all(one != two for one, two in zip(mirrored, straight, strict=True))
    assert 8 < sum(mirrored) < 32


def test_pictures_without_a_margin_are_moved_over_their_repeated_border() -> None:
    images = batch(100, side=SIZE)
    moved = crop_and_flip(images, SIZE, generator(), crop=True, flip=False)
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="replicate").byte()
    for image, result in zip(padded, moved, strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(image[:, top : top + SIZE, left : left + SIZE], result)
        ]
        assert len(places) == 1
    assert not torch.equal(moved, images)


@pytest.mark.parametrize("channels", [1, 3])
def test_resized_boxes_agree_with_torchvision(channels: int) -> None:
    images = batch(4, channels, side=40)
    boxes = torch.tensor([[0, 0, 40, 40], [3, 5, 20, 30], [20, 1, 17, 16], [7, 8, 16, 16]])
    ours = resize_boxes(images, boxes.float(), 16)
    assert ours.dtype == torch.uint8
    for picture, (left, top, width, height), resized in zip(images, boxes, ours, strict=True):
        box = (int(top), int(left), int(height), int(width))
        expected = reference.resized_crop(picture.float(), *box, [16, 16], antialias=False)
        # Only at a box's border may they differ: torchvision repeats it, we look beyond.
        inner = (resized.float() - expected).abs()[:, 1:-1, 1:-1]
        assert inner.max() <= 0.51
    assert torch.equal(ours[3], images[3, :, 8:24, 7:23]), "of its own size nothing changes"


def test_boxes_lie_within_the_picture_and_are_drawn_as_torchvision_draws() -> None:
    left, top, width, height = draw_boxes(4000, 100, generator(), torch.device("cpu")).unbind(1)
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + width <= 100.001).all()
    assert (top + height <= 100.001).all()
    area, aspect = width * height / 100**2, width / height
    assert AREA[0] * 0.86 < area.min() < 0.36
    assert 0.99 < area.max() <= 1
    assert ASPECT[0] - 0.001 <= aspect.min() < 0.76
    assert 1.32 < aspect.max() <= ASPECT[1] + 0.001
    free = width < 60  # what the square does not cut
    assert left[free].std() > 10


def test_resized_crops_may_be_smaller_than_what_is_evaluated(data: DeviceData) -> None:
    images, names = batch(5), ("resized_crop", "flip")
    assert augment(images, names, data, generator()).shape[-1] == SIZE
    smaller = replace(data, training_size=12)
    assert augment(images, names, smaller, generator()).shape[-1] == 12
    assert augment(images, ("crop", "flip"), smaller, generator()).shape[-1] == SIZE
    one, two = (augment(images, names, smaller, generator(each)) for each in (1, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, augment(images, names, smaller, generator(2)))


# --- colours ---------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adjust_brightness, reference.adjust_brightness),
        (adjust_contrast, reference.adjust_contrast),
        (adjust_saturation, reference.adjust_saturation),
    ],
)
def test_colour_changes_agree_with_torchvision(
    ours: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    theirs: Callable[[torch.Tensor, float], torch.Tensor],
    factor: float,
) -> None:
    images = batch().float() / 255
    expected = theirs(images, factor)
    torch.testing.assert_close(ours(images, torch.tensor(factor)), expected, rtol=0, atol=2e-6)


def test_each_picture_has_its_own_factors_within_the_limits() -> None:
    images = torch.full((500, 3, 2, 2), 0.5)
    # A grey picture has no contrast and no saturation: what changes is brightness.
    factors = color_jitter(images, generator())[:, 0, 0, 0] / 0.5
    assert len(set(factors.tolist())) > 400
    assert 1 - JITTER - 1e-6 <= factors.min() < 1 - 0.9 * JITTER
    assert 1 + 0.9 * JITTER < factors.max() <= 1 + JITTER + 1e-6


def test_saturation_leaves_grey_pictures_alone() -> None:
    grey = batch(channels=1).float() / 255
    torch.testing.assert_close(adjust_saturation(grey, torch.tensor(0.3)), grey)


def test_pca_jitter_is_the_article_s() -> None:
    """The same as plain NumPy: to each pixel, components times eigenvalues times draws."""
    random = np.random.default_rng(0)
    pixels = random.random((5000, 3)) @ np.array([[0.5, 0.4, 0.1], [0, 0.3, 0.2], [0, 0, 0.1]])
    eigenvalues, vectors = np.linalg.eigh(np.cov(pixels.T))
    images = batch(4).float() / 255
    principal = torch.from_numpy(vectors * eigenvalues).float()
    jittered = pca_jitter(images, principal, generator(3))
    draws = torch.randn((4, 3), generator=generator(3)).numpy() * 0.1
    for number in range(4):
        step = vectors @ (draws[number] * eigenvalues)
        expected = images[number].numpy() + step[:, None, None]
        np.testing.assert_allclose(jittered[number].numpy(), expected, atol=1e-6)


# --- all together ----------------------------------------------------------------------------


def test_without_augmentation_training_sees_what_evaluation_sees(data: DeviceData) -> None:
    images = batch()
    assert torch.equal(augment(images, (), data, generator()), to_model_input(images, data))


@pytest.mark.parametrize("names", [(), ("crop",), ("flip",), ("pca_jitter",), ALL])
@pytest.mark.slow
def test_the_result_is_a_normalised_batch(data: DeviceData, names: tuple[str, ...]) -> None:
    images = batch(64)
    result = augment(images, names, data, generator())
    assert result.shape == (64, 3, SIZE, SIZE)
    assert result.dtype == torch.float32
    assert result.is_contiguous()
    back = result * data.std.view(1, 3, 1, 1) + data.mean.view(1, 3, 1, 1)
    assert back.mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("names", [(name,) for name in ALL] + [ALL])
def test_the_generator_decides_everything(data: DeviceData, names: tuple[str, ...]) -> None:
    images = batch()
    before = images.clone()
    one, same, other = (augment(images, names, data, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(images, before)


def test_channels_last_is_kept(data: DeviceData) -> None:
    result = augment(batch(), ALL, replace(data, memory_format=torch.channels_last), generator())
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_grey_pictures_are_augmented_too(data: DeviceData) -> None:
    grey = replace(
        data, mean=torch.tensor([0.5]), std=torch.tensor([0.2]), principal=torch.tensor([[0.04]])
    )
    result = augment(batch(channels=1), ALL, grey, generator())
    assert result.shape == (8, 1, SIZE, SIZE)
    assert torch.isfinite(result).all()


@pytest.mark.cuda
def test_the_device_s_generator_is_used(data: DeviceData) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    there = replace(
        data,
        mean=data.mean.to(device),
        std=data.std.to(device),
        principal=data.principal.to(device),
    )
    one, same = (
        augment(batch().to(device), ALL, there, torch.Generator(device).manual_seed(1))
        for _ in range(2)
    )
    assert one.device.type == "cuda"
    assert torch.equal(one, same)
