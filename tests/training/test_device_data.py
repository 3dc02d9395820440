from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from optuna_study.config.catalogue import augmentation_names
from optuna_study.config.settings import DataSettings, ModelSettings, TrainConfig, TrainSettings
from optuna_study.data.datasets import rendered as drawn
from optuna_study.data.load import cache_size, open_pictures
from optuna_study.data.pictures import Pictures, Request, computed
from optuna_study.errors import DataError, UsageError
from optuna_study.paths import Workspace
from optuna_study.training import device_data, loop
from optuna_study.training.augment import augment
from optuna_study.training.device_data import (
    DeviceData,
    load_data,
    to_model_input,
    view,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = torch.device("cpu")


def stripes(request: Request) -> Pictures:
    """A data set of one's own, as a reference names it: not stored, in whatever order."""
    random = np.random.RandomState(1)
    images = random.randint(0, 256, (50, 12, 12, 3), dtype=np.uint8)
    return computed(images, np.arange(50, dtype=np.int64) % 2, ("a", "b"), request.cache_size)


def no_pictures(request: Request) -> int:
    return request.image_size


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace of its own, whose `rendered` are noise: to draw them takes four seconds."""
    noise = np.random.RandomState(0).randint(0, 256, (1000, 96, 96, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "render", lambda: (noise, np.arange(1000, dtype=np.int64) % 5))
        yield Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def rendered(workspace: Workspace) -> DeviceData:
    return load_data(DataSettings(name="rendered", image_size=32), None, workspace, CPU)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module that holds this file's functions."""
    (tmp_path / "own_pictures.py").write_text(Path(__file__).read_text(encoding="utf-8"))
    monkeypatch.syspath_prepend(tmp_path)
    return "own_pictures"


def test_the_data_set_is_on_the_device_as_bytes(rendered: DeviceData) -> None:
    assert rendered.train_images.shape == (640, 3, 36, 36)
    assert rendered.validation_images.shape == (160, 3, 36, 36)
    assert rendered.test_images.shape == (200, 3, 36, 36)
    assert rendered.train_images.dtype == torch.uint8
    assert rendered.train_labels.dtype == torch.int64
    assert (rendered.image_size, rendered.cache_size, rendered.channels) == (32, 36, 3)
    assert rendered.device == CPU
    for labels in (rendered.train_labels, rendered.validation_labels, rendered.test_labels):
        assert len(set(labels.bincount().tolist())) == 1


def test_on_the_cpu_all_sides_lie_in_one_mapped_file(
    rendered: DeviceData, workspace: Workspace
) -> None:
    """Views one behind the other: nothing was copied."""
    images = rendered.train_images, rendered.validation_images, rendered.test_images
    starts = [side.data_ptr() for side in images]
    lengths = [side.numel() for side in images]
    assert starts[1] - starts[0] == lengths[0]
    assert starts[2] - starts[1] == lengths[1]
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    ranges = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in maps
        if str(workspace.root) in line and "images.npy" in line
    ]
    assert any(low <= starts[0] and starts[2] + lengths[2] <= high for low, high in ranges)


def test_statistics_are_those_of_the_training_pictures(rendered: DeviceData) -> None:
    values = rendered.train_images.double().permute(1, 0, 2, 3).reshape(3, -1) / 255
    torch.testing.assert_close(rendered.mean.double(), values.mean(dim=1), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        rendered.std.double(), values.std(dim=1, correction=0), rtol=0, atol=1e-6
    )
    covariance = torch.cov(values, correction=0)
    # The columns are eigenvectors times eigenvalues, so their lengths are the eigenvalues.
    eigenvalues = rendered.principal.double().norm(dim=0)
    torch.testing.assert_close(eigenvalues, torch.linalg.eigvalsh(covariance), rtol=0, atol=1e-6)
    directions = rendered.principal.double() / eigenvalues
    torch.testing.assert_close(
        directions @ torch.diag(eigenvalues) @ directions.T, covariance, rtol=0, atol=1e-6
    )


def test_input_is_the_centre_normalised(rendered: DeviceData) -> None:
    result = to_model_input(rendered.test_images[:7], rendered)
    assert result.shape == (7, 3, 32, 32)
    assert result.is_contiguous()
    middle = rendered.test_images[:7, :, 2:34, 2:34].float() / 255
    expected = (middle - rendered.mean.view(3, 1, 1)) / rendered.std.view(3, 1, 1)
    torch.testing.assert_close(result, expected)


def test_channels_last_is_passed_on(workspace: Workspace) -> None:
    settings = DataSettings(name="rendered", image_size=32)
    data = load_data(settings, None, workspace, CPU, "channels_last")
    result = to_model_input(data.test_images[:4], data)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_a_subset_is_the_beginning_of_the_training_side(
    rendered: DeviceData, workspace: Workspace
) -> None:
    settings = DataSettings(name="rendered", image_size=32, subset=0.25)
    part = load_data(settings, None, workspace, CPU)
    assert torch.equal(part.train_images, rendered.train_images[:160])
    assert part.train_labels.bincount().tolist() == [32] * 5
    assert torch.equal(part.validation_images, rendered.validation_images)
    assert torch.equal(part.test_images, rendered.test_images)


@pytest.mark.parametrize(
    "changes",
    [
        {"subset": 0.25},
        {"picture_limit": 70},
        {"subset": 0.5, "picture_limit": 500, "pixels": "permuted"},
        {"scaling": "unit"},
        {"scaling": "imagenet"},
    ],
)
def test_a_view_is_what_loading_by_its_settings_gives(
    rendered: DeviceData, workspace: Workspace, changes: dict[str, Any]
) -> None:
    settings = DataSettings(name="rendered", image_size=32, **changes)
    loaded = load_data(settings, None, workspace, CPU)
    seen = view(view(rendered, DataSettings(subset=0.1, pixels="permuted")), settings)
    for name in ("train_images", "train_labels", "validation_images", "test_labels"):
        assert torch.equal(getattr(seen, name), getattr(loaded, name))
    for name in ("mean", "std", "principal"):
        assert torch.equal(getattr(seen, name), getattr(loaded, name))
    assert (seen.permutation is None) == (loaded.permutation is None)
    assert view(seen, settings) is seen


def test_colours_are_those_of_the_pictures_used(rendered: DeviceData) -> None:
    part = view(rendered, DataSettings(picture_limit=70))
    pixels = rendered.train_images[:70].permute(0, 2, 3, 1).reshape(-1, 3).double() / 255
    torch.testing.assert_close(part.mean.double(), pixels.mean(dim=0), rtol=1e-5, atol=1e-6)
    deviation = pixels.std(dim=0, correction=0)
    torch.testing.assert_close(part.std.double(), deviation, rtol=1e-5, atol=1e-6)
    assert not torch.equal(part.mean, rendered.mean)


def test_a_limit_is_stratified_and_leaves_every_class(rendered: DeviceData) -> None:
    assert view(rendered, DataSettings(picture_limit=50)).train_labels.bincount().tolist() == (
        [10] * 5
    )
    assert view(rendered, DataSettings(picture_limit=1)).train_labels.bincount().tolist() == (
        [1] * 5
    )
    assert len(view(rendered, DataSettings(picture_limit=10**6)).train_labels) == 640


def test_permuted_pixels_are_those_of_numpy(rendered: DeviceData) -> None:
    data = view(rendered, DataSettings(pixels="permuted"))
    random = np.random.RandomState(int(rendered.fingerprint[:8], 16))
    order = random.permutation(32 * 32)
    assert sorted(order.tolist()) == list(range(32 * 32))
    plain = to_model_input(rendered.test_images[:5], rendered).numpy()
    expected = plain.reshape(5, 3, -1)[:, :, order].reshape(plain.shape)
    assert np.array_equal(to_model_input(data.test_images[:5], data).numpy(), expected)
    random_free = torch.Generator()
    augmented = augment(data.test_images[:5], (), data, random_free)
    assert np.array_equal(augmented.numpy(), expected)


def test_pixels_are_permuted_after_cropping_and_mirroring(rendered: DeviceData) -> None:
    data = view(rendered, DataSettings(pixels="permuted"))
    assert data.permutation is not None
    seeds = [torch.Generator().manual_seed(9) for _ in range(2)]
    plain = augment(data.train_images[:6], ("crop", "flip"), rendered, seeds[0])
    permuted = augment(data.train_images[:6], ("crop", "flip"), data, seeds[1])
    expected = plain.flatten(2)[:, :, data.permutation].view(plain.shape)
    assert torch.equal(permuted, expected)


def test_unit_scaling_leaves_pixels_from_0_to_1(rendered: DeviceData) -> None:
    data = view(rendered, DataSettings(scaling="unit"))
    found = to_model_input(data.test_images[:3], data)
    torch.testing.assert_close(found, data.test_images[:3, :, 2:34, 2:34].float() / 255)


def test_symmetric_scaling_reaches_from_minus_1_to_1(rendered: DeviceData) -> None:
    data = view(rendered, DataSettings(scaling="symmetric"))
    bytes_ = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    images = bytes_.expand(3, 3, data.image_size, data.image_size)
    levels = to_model_input(images, data)[:, :, 0, 0]
    torch.testing.assert_close(levels, torch.tensor([[-1.0], [-0.6], [1.0]]).expand(3, 3))


def test_imagenets_scaling_is_that_of_torchvisions_weights(rendered: DeviceData) -> None:
    from torchvision.models import AlexNet_Weights, VGG16_Weights
    from torchvision.transforms.functional import normalize

    data = view(rendered, DataSettings(scaling="imagenet"))
    found = to_model_input(data.test_images[:3], data)
    for weights in (AlexNet_Weights.IMAGENET1K_V1, VGG16_Weights.IMAGENET1K_V1):
        theirs = weights.transforms()
        plain = data.test_images[:3, :, 2:34, 2:34].float() / 255
        torch.testing.assert_close(found, normalize(plain, theirs.mean, theirs.std))


def test_grey_pictures_have_the_mean_of_imagenets_colours(workspace: Workspace) -> None:
    settings = DataSettings(name="digits", image_size=16, scaling="imagenet")
    grey = load_data(settings, None, workspace, CPU)
    assert (grey.channels, grey.mean.shape) == (1, (1,))
    assert (grey.mean.item(), grey.std.item()) == pytest.approx((0.449, 0.226), abs=1e-6)


def test_sizes_do_not_change_the_split(rendered: DeviceData, workspace: Workspace) -> None:
    larger = load_data(DataSettings(name="rendered", image_size=48), None, workspace, CPU)
    assert larger.fingerprint == rendered.fingerprint
    assert torch.equal(larger.train_labels, rendered.train_labels)
    assert torch.equal(larger.test_labels, rendered.test_labels)


@pytest.mark.parametrize(("image_size", "kept"), [(227, 256), (64, 72), (32, 36), (8, 9)])
def test_kept_size_follows_the_article(image_size: int, kept: int) -> None:
    assert cache_size(image_size) == kept


def test_a_function_of_one_s_own_is_a_data_set(own_module: str, workspace: Workspace) -> None:
    settings = DataSettings(name=f"{own_module}:stripes", image_size=16)
    data = load_data(settings, None, workspace, CPU)
    assert data.classes == ("a", "b")
    assert [len(side) for side in (data.train_labels, data.validation_labels)] == [32, 8]
    everything = torch.cat([data.train_images, data.validation_images, data.test_images])
    assert len({picture.numpy().tobytes() for picture in everything}) == 50


def test_a_function_that_gives_no_pictures_is_refused(
    own_module: str, workspace: Workspace
) -> None:
    settings = DataSettings(name=f"{own_module}:no_pictures")
    with pytest.raises(DataError, match="gave int, not Pictures"):
        open_pictures(settings, None, workspace)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rendred", "data set 'rendred': not known, did you mean 'rendered'"),
        ("folder", "no folder given; say which with --data DIR"),
        ("pokemon", "'optuna-study data fetch pokemon' downloads it"),
        ("flower", "'optuna-study data fetch flower' downloads it"),
    ],
)
def test_absent_data_says_what_to_do(name: str, message: str, workspace: Workspace) -> None:
    with pytest.raises(DataError, match=message):
        open_pictures(DataSettings(name=name), None, workspace)


def test_a_folder_goes_before_the_name(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(DataError, match="missing: no such folder"):
        open_pictures(DataSettings(name="rendered"), tmp_path / "missing", workspace)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("none", ()),
        ("crop", ("crop",)),
        ("pca_jitter+flip + crop", ("crop", "flip", "pca_jitter")),
    ],
)
def test_augmentation_names_are_put_in_order(text: str, names: tuple[str, ...]) -> None:
    assert augmentation_names(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop+flp", "no 'flp' to join with others, did you mean 'flip'"),
        ("crop+crop", "'crop' stands twice"),
        ("crop+none", "no 'none' to join"),
        ("resized_crop+flip+crop", "resized_crop takes the place of crop"),
        ("", "no '' to join"),
    ],
)
def test_wrong_augmentations_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        augmentation_names(text)


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", ["rendered", "digits"])
@pytest.mark.slow
def test_kept_inputs_are_what_each_batch_would_be(
    name: str, memory_format: str, workspace: Workspace
) -> None:
    settings = DataSettings(name=name, image_size=32, pixels="permuted")
    data = load_data(settings, None, workspace, CPU, memory_format)
    batch = torch.tensor([7, 300, 7, 0])
    assert data.train_inputs is not None
    kept, made = data.train_inputs.select(batch), to_model_input(data.train_images[batch], data)
    assert torch.equal(kept, made)
    assert kept.stride() == made.stride()


def test_inputs_that_are_too_many_are_not_kept(
    rendered: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_data, "INPUT_BYTES", rendered.train_images.numel())
    assert view(rendered, DataSettings(scaling="unit")).train_inputs is None


def test_pictures_without_room_on_the_device_come_from_the_host(
    rendered: DeviceData, workspace: Workspace
) -> None:
    config = TrainConfig(
        DataSettings(name="rendered", image_size=32, augmentation="crop+flip", picture_limit=100),
        ModelSettings(name="mlp"),
        TrainSettings(epochs=2, batch_size=16, accumulate=2, threads=1),
    )
    size = sum(
        images.numel()
        for images in (rendered.train_images, rendered.validation_images, rendered.test_images)
    )
    enough = load_data(config.data, None, workspace, CPU, room=size)
    short = load_data(config.data, None, workspace, CPU, room=size - 1)
    assert (enough.stays_on_host, short.stays_on_host) == (False, True)
    assert not enough.notes
    assert re.search("the pictures take .* they stay on the host", "".join(short.notes))
    curves = []
    for data in (enough, short):
        run = loop.prepare(config, data, CPU)
        results = [replace(each, seconds=0.0) for each in loop.epochs(run)]
        curves.append((results, run.test().loss))
    assert curves[0] == curves[1]
