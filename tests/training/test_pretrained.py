"""Weights as torchvision saves them; random ones, since nothing is downloaded here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from optuna_study.config.settings import ModelSettings
from optuna_study.errors import DataError, UsageError
from optuna_study.training.build_model import build_model, check_model, initialised_model
from optuna_study.training.pretrained import FILES, weights_file

if TYPE_CHECKING:
    from pathlib import Path


def settings(pretrained: str, **changes: Any) -> ModelSettings:
    values = {"name": "alexnet", "variant": "torchvision", **changes}
    return ModelSettings(pretrained=pretrained, **values)


def made(pretrained: str, size: int = 224, classes: int = 5, **changes: Any) -> nn.Module:
    return initialised_model(
        settings(pretrained, **changes), channels=3, image_size=size, classes=classes, seed=3
    )


def layers(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    from torchvision.models import alexnet

    torch.manual_seed(8)
    model: nn.Module = alexnet(weights=None, num_classes=7).eval()
    return model


@pytest.fixture(scope="module")
def weights(reference: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the reference's weights, 228 MB that tests only read."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(reference.state_dict(), path)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.slow
def test_weights_of_the_cache_make_torchvisions_model(
    reference: nn.Module, weights: Path, cache: Path
) -> None:
    (cache / "alexnet-owt-7be5be79.pth").symlink_to(weights)
    model = made("imagenet", classes=7).eval()
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(images), reference(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_dense_layers_that_do_not_fit_keep_their_drawn_weights(
    reference: nn.Module, weights: Path
) -> None:
    tuned, drawn = made(str(weights), size=128), made("none", size=128)
    triples = list(zip(layers(tuned), layers(drawn), layers(reference), strict=True))
    for place, (got, before, theirs) in enumerate(triples):
        expected = before if place in (5, 7) else theirs  # smaller maps, other classes
        assert got.weight.equal(expected.weight)
        assert got.bias is not None
        assert expected.bias is not None
        assert got.bias.equal(expected.bias)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "size"), [({"width": 0.5}, 224), ({"activation": "maxout"}, 224), ({}, 64)]
)
def test_convolutions_must_fit(weights: Path, changes: dict[str, Any], size: int) -> None:
    with pytest.raises(UsageError, match=r"conv1\.weight has the shape .* take width 1"):
        made(str(weights), size=size, **changes)


@pytest.mark.slow
def test_weights_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(UsageError, match="holds 2 tensors, alexnet torchvision has 16"):
        made(str(path))


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04broken"])
@pytest.mark.slow
def test_a_file_that_holds_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.pth: damaged, or more than weights") as caught:
        made(str(path))
    assert str(caught.value).endswith("save the model's state_dict() with torch.save")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_whole_model_is_not_run_and_told_in_our_words(
    reference: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "whole.pth"
    torch.save(reference, path)
    with pytest.raises(DataError) as caught:
        made(str(path))
    assert str(caught.value) == (
        f"{path}: damaged, or more than weights, such as a whole model; save the model's "
        "state_dict() with torch.save"
    )


@pytest.mark.slow
def test_a_changed_bit_of_a_weight_is_noticed(tmp_path: Path) -> None:
    """torch compares no checksums: it would begin from another number."""
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(64)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(64).numpy().tobytes()) + 130] ^= 1
    path.write_bytes(content)
    assert not torch.load(path, weights_only=True)["weight"].equal(torch.ones(64))
    with pytest.raises(DataError, match=r"weights\.pth: damaged, or more than weights"):
        made(str(path))


@pytest.mark.slow
def test_weights_within_a_checkpoint_are_found(reference: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "light.pth"
    torch.save({"epoch": 3, "state_dict": reference.state_dict()}, path)
    tuned = made(str(path), classes=7)
    for ours, theirs in zip(layers(tuned), layers(reference), strict=True):
        assert ours.weight.equal(theirs.weight)


@pytest.mark.slow
def test_weights_are_read_and_compared_before_any_trial(weights: Path, tmp_path: Path) -> None:
    sizes = {"channels": 3, "image_size": 128, "classes": 5}
    counted = check_model(settings(str(weights)), **sizes)
    assert counted == check_model(settings("none"), **sizes)
    with pytest.raises(UsageError, match=r"weights\.pth: features\.conv1\.weight has the shape"):
        check_model(settings(str(weights), width=0.5), **sizes)
    path = tmp_path / "weights.pth"
    path.write_bytes(b"junk")
    with pytest.raises(DataError, match=r"weights\.pth: damaged"):
        check_model(settings(str(path)), **sizes)


@pytest.mark.slow
def test_layers_below_a_head_keep_no_drawn_weights(weights: Path) -> None:
    """Features are computed with one seed, the whole model is built with another."""
    head = settings(str(weights), train_layers="head")
    with pytest.raises(UsageError, match=r"'head': classifier\.linear1\.weight of alexnet"):
        check_model(head, channels=3, image_size=128, classes=5)
    check_model(head, channels=3, image_size=224, classes=5)


@pytest.mark.slow
def test_more_than_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"epoch": 3}, path)
    with pytest.raises(DataError, match="save the model's state_dict"):
        made(str(path))


def test_absent_weights_are_told_before_anything_is_built(cache: Path, tmp_path: Path) -> None:
    sizes = {"channels": 3, "image_size": 224, "classes": 5}
    with torch.device("meta"):
        with pytest.raises(UsageError, match=r"no .*alexnet-owt-7be5be79\.pth; put torchvision's"):
            build_model(settings("imagenet"), **sizes)
        with pytest.raises(UsageError, match="no such file; name one"):
            build_model(settings(str(tmp_path / "none.pth")), **sizes)
        with pytest.raises(UsageError, match="torchvision has no weights for vgg small"):
            build_model(settings("imagenet", name="vgg", variant="small"), **sizes)


def test_the_names_are_torchvisions() -> None:
    from torchvision import models

    for (name, variant, norm), file in FILES.items():
        stem = "alexnet" if name == "alexnet" else variant + ("_bn" if norm == "batch" else "")
        weights = models.get_model_weights(stem)
        assert weights["IMAGENET1K_V1"].url.endswith(f"/{file}")


def test_files_may_be_named_from_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "weights.pth").touch()
    assert weights_file(settings("~/weights.pth")) == tmp_path / "weights.pth"
