"""timm's classifiers: built, trained and frozen as timm itself and torch have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional

from optuna_study.config.reader import Node, Problems, read_config
from optuna_study.config.settings import ModelSettings, TrainConfig, with_settings
from optuna_study.errors import DataError, UsageError
from optuna_study.training import loop
from optuna_study.training.backbone import timm_weights
from optuna_study.training.backbone.timm_models import (
    build_timm,
    check_training_size,
    own_scale,
    with_own_size,
)
from optuna_study.training.build_model import (
    build_model,
    check_model,
    check_models,
    initialised_model,
)
from optuna_study.training.device_data import load_data
from optuna_study.training.optimizers import set_lr
from optuna_study.training.pretrained import weights_of
from optuna_study.training.steps import step as steps

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from optuna_study.paths import Workspace

LITE = "timm:tf_efficientnet_lite0"
SIZES = {"channels": 3, "image_size": 32, "classes": 5}
CPU = torch.device("cpu")
pytestmark = pytest.mark.slow  # the first imports timm


def settings(name: str = LITE, **changes: Any) -> ModelSettings:
    return ModelSettings(name=name, **{"pretrained": "auto", "dropout": 0.0, **changes})


def config_of(raw: dict[str, Any]) -> TrainConfig:
    problems = Problems()
    config = read_config(Node(raw, "", problems))
    assert not problems.noted
    return config


def run_of(workspace: Workspace, **train: Any) -> loop.Run:
    """A run over the rendered pictures with a model of timm's."""
    config = config_of(
        {
            "data": {"name": "rendered", "image_size": 32, "picture_limit": 40},
            "model": {"name": LITE, **train.pop("model", {})},
            "train": {"threads": 1, "batch_size": 8, "epochs": 1, "seed": 3, **train},
        }
    )
    data = load_data(config.data, None, workspace, CPU, scale=own_scale(config))
    return loop.prepare(config, data, CPU)


def step(run: loop.Run, pictures: torch.Tensor) -> float:
    loss, _, _ = steps.step(run, pictures, torch.Generator())
    return float(loss)


def test_three_steps_are_timms_own_to_the_last_bit(shared_workspace: Workspace) -> None:
    import timm
    from timm.optim._optim_factory import create_optimizer_v2

    run = run_of(shared_workspace, optimizer="momentum", lr=0.05, weight_decay=0.01)
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=len(run.data.classes))
    theirs.load_state_dict(run.model.state_dict())
    optimizer = create_optimizer_v2(
        theirs, opt="momentum", lr=0.05, weight_decay=0.01, momentum=0.9, fused=True
    )
    run.model.train()
    theirs.train()
    for first in (0, 8, 16):
        batch = torch.arange(first, first + 8)
        optimizer.zero_grad()
        middle = run.data.train_images[batch, :, 2:34, 2:34].contiguous().float()  # kept at 36 px
        loss = functional.cross_entropy(
            theirs((middle / 255 - 0.5) / 0.5), run.data.train_labels[batch]
        )
        torch.autograd.backward(loss)
        optimizer.step()
        assert step(run, batch) == loss.item()
    for name, value in theirs.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], value), name


def test_three_steps_with_frozen_statistics_are_timms_but_for_rounding(
    shared_workspace: Workspace,
) -> None:
    import timm

    run = run_of(
        shared_workspace,
        optimizer="momentum",
        lr=0.01,
        model={"train_layers": "half", "norm_statistics": "frozen"},
    )
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=len(run.data.classes))
    theirs.load_state_dict(run.model.state_dict())
    learning = {name for name, each in run.model.named_parameters() if each.requires_grad}
    assert 0 < len(learning) < len(list(theirs.parameters()))
    chosen = [each for name, each in theirs.named_parameters() if name in learning]
    optimizer = torch.optim.SGD(chosen, lr=0.01, momentum=0.9)
    run.model.train()
    theirs.eval()  # its dropout is zero
    for first in (0, 8, 16):
        batch = torch.arange(first, first + 8)
        optimizer.zero_grad()
        middle = run.data.train_images[batch, :, 2:34, 2:34].float()
        loss = functional.cross_entropy(
            theirs((middle / 255 - 0.5) / 0.5), run.data.train_labels[batch]
        )
        torch.autograd.backward(loss)
        optimizer.step()
        assert step(run, batch) == pytest.approx(loss.item(), rel=1e-4)
    ours = run.model.state_dict()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4, msg=name)
        if name not in learning:
            assert torch.equal(ours[name], value), name


def test_an_own_objective_may_want_gradients_of_gradients(shared_workspace: Workspace) -> None:
    run = run_of(shared_workspace, objective="own:way", model={"norm_statistics": "frozen"})
    logits = run.model(run.training_input(torch.arange(2), torch.Generator()))
    slopes = torch.autograd.grad(logits.square().sum(), run.parameters, create_graph=True)
    torch.autograd.backward(torch.stack([slope.square().sum() for slope in slopes]).sum())
    assert all(each.grad is not None for each in run.parameters)


LAST = ("blocks.6.", "conv_head.", "bn2.", "classifier.")
HALF = tuple(f"blocks.{number}." for number in (3, 4, 5))


@pytest.mark.parametrize(
    ("model", "learning", "kept"),
    [
        ({"train_layers": "last_stage"}, LAST, ("nothing",)),
        (
            {"train_layers": "half", "norm_statistics": "frozen"},
            HALF + LAST,
            ("running_mean", "running_var", "num_batches_tracked"),
        ),
    ],
)
def test_frozen_layers_do_not_move_and_the_others_do(
    shared_workspace: Workspace,
    model: dict[str, str],
    learning: tuple[str, ...],
    kept: tuple[str, ...],
) -> None:
    run = run_of(
        shared_workspace,
        optimizer="adamw",
        lr=0.01,
        weight_decay=0.1,
        backbone_lr_factor=0.1,
        model=model,
    )
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    rates = {group.get("lr_factor", 1.0) for group in run.optimizer.param_groups}
    assert rates == {0.1, 1.0}
    run.evaluate(run.data.validation_images[:8], run.data.validation_labels[:8])
    assert [result.epoch for result in loop.epochs(run)] == [1]
    for name, value in run.model.state_dict().items():
        moves = name.startswith(learning) and not name.endswith(kept)
        assert torch.equal(value, before[name]) is not moves, name


def test_the_rate_of_the_backbone_is_a_share_of_the_heads(shared_workspace: Workspace) -> None:
    run = run_of(
        shared_workspace, optimizer="sgd", lr=0.5, backbone_lr_factor=0.0, weight_decay=0.0
    )
    before = {name: value.clone() for name, value in run.model.named_parameters()}
    run.model.train()
    set_lr(run.optimizer, 0.5)
    step(run, torch.arange(8))
    by_head = {
        name for name, value in run.model.named_parameters() if not value.equal(before[name])
    }
    assert by_head == {"classifier.weight", "classifier.bias"}


def test_the_packages_weights_are_found_without_a_network_and_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = timm_weights.timm_weights(settings())
    assert found.source == f"the package {timm_weights.PACKAGE}"
    assert weights_of([settings()]) == {"weights": f"{LITE} sha256:{found.digest}"}
    made = initialised_model(settings(), **SIZES, seed=1).state_dict()
    assert all(
        torch.equal(made[name], value)
        for name, value in found.state.items()
        if not name.startswith("classifier.")
    )
    monkeypatch.setattr(timm_weights, "ANSWER", (0.0,) * 6)
    timm_weights._of_package.cache_clear()
    with pytest.raises(DataError, match="does not answer with them as it should"):
        timm_weights.timm_weights(settings())
    timm_weights._of_package.cache_clear()


def test_files_and_caches_come_before_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    packaged = timm_weights.timm_weights(settings())
    save_file(dict(packaged.state), tmp_path / "lite.safetensors")
    named = timm_weights.timm_weights(settings(pretrained=str(tmp_path / "lite.safetensors")))
    assert named.digest == packaged.digest  # of the tensors, whatever file they are in
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "tf_efficientnet_lite0-0aa007d2.pth"
    cached.parent.mkdir(parents=True)
    changed = {**packaged.state, "classifier.bias": packaged.state["classifier.bias"] + 1}
    torch.save(changed, cached)
    found = timm_weights.timm_weights(settings())
    assert found.source == str(cached)
    assert found.digest != packaged.digest


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match="the weights are of another architecture"):
        check_model(settings(pretrained=str(tmp_path / "other.pth")), **SIZES)
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"junk\.safetensors: damaged"):
        check_model(settings(pretrained=str(tmp_path / "junk.safetensors")), **SIZES)
    with pytest.raises(UsageError, match="no such file; name one, or write auto"):
        check_model(settings(pretrained=str(tmp_path / "none.pth")), **SIZES)


def test_absent_weights_without_a_network_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    def unreachable(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(requests, "head", unreachable)
    with pytest.raises(UsageError) as caught:
        check_model(settings("timm:resnet18.tv_in1k"), **SIZES)
    assert str(caught.value) == (
        "pretrained 'auto': the weights of timm:resnet18.tv_in1k are not here and cannot be "
        "downloaded (ConnectionError: no network); at hand without a network: "
        "timm:tf_efficientnet_lite0, or name a file of them"
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "timm:resnt18"}, "timm has no 'resnt18', did you mean resnet18"),
        ({"name": "timm:resnet18.nobodys"}, "timm has no weights 'nobodys' of it, did you mean"),
        ({"train_layers": "head"}, "train_layers 'head': the weights of timm:resnet18 are drawn"),
        ({"norm_statistics": "frozen"}, "norm_statistics 'frozen': the weights of timm:resnet18"),
        ({"name": "timm:inception_v3"}, "was shown a picture of 32 pixels; set image_size"),
    ],
)
def test_models_that_cannot_be_are_refused(changes: dict[str, Any], sentence: str) -> None:
    bad = settings(**{"name": "timm:resnet18", "pretrained": "none", **changes})
    with pytest.raises(UsageError, match=sentence):
        check_model(bad, **SIZES)
    with pytest.raises(UsageError, match=sentence):
        check_models([settings(), bad], **SIZES)


def test_a_model_of_two_heads_is_refused_where_one_is_to_begin_with_zeros(tmp_path: Path) -> None:
    distilled, weights = "timm:deit_tiny_distilled_patch16_224", tmp_path / "weights.pth"
    drawn = settings(distilled, pretrained="none")
    torch.save(build_model(drawn, **SIZES).state_dict(), weights)
    zeros = settings(distilled, pretrained=str(weights), head_weights="zeros")
    for check in (check_model, lambda each, **sizes: check_models([each], **sizes)):
        with pytest.raises(UsageError, match=r'does not end in one dense layer.* "drawn"'):
            check(zeros, **SIZES)


def test_training_pictures_of_their_own_size_are_for_models_that_take_any() -> None:
    def config(model: str, **data: object) -> TrainConfig:
        raw = {"data": {"image_size": 32, **data}, "model": {"name": model}}
        return read_config(Node(raw, "", Problems()))

    smaller: dict[str, object] = {"augmentation": "resized_crop+flip", "training_size": 24}
    check_training_size(config(LITE, **smaller))
    check_training_size(config("alexnet", augmentation="crop", training_size=24))
    for refused in (
        config("alexnet", **smaller),
        config("timm:vit_tiny_patch16_224", **smaller),
        config(LITE, pixels="permuted", **smaller),
    ):
        with pytest.raises(UsageError, match=r"training_size 24: .* pictures of one size alone"):
            check_training_size(refused)


def test_a_network_is_shown_a_picture_once_whatever_of_it_learns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[ModelSettings] = []

    def counted(model: ModelSettings, **sizes: Any) -> nn.Module:
        built.append(model)
        return build_timm(model, **sizes)

    monkeypatch.setattr("optuna_study.training.build_model.build_timm", counted)
    heads = [settings(train_layers="head", dropout=dropout) for dropout in (0.0, 0.5)]
    check_models([*heads, settings(train_layers="last_stage")], **SIZES)
    assert [model.dropout for model in built] == [0.5]
    check_models([heads[0], settings("timm:resnet18", pretrained="none")], **SIZES)
    assert [model.name for model in built[1:]] == [LITE, "timm:resnet18"]


def test_a_model_of_timms_sets_what_nobody_named() -> None:
    config = config_of({"model": {"name": LITE}})
    assert (with_own_size(config).data.image_size, config.data.scaling) == (224, "model")
    larger = config_of({"model": {"name": "timm:tf_efficientnet_b1"}})
    assert with_own_size(larger).data.image_size == 240
    assert (config.model.pretrained, config.model.dropout) == ("auto", 0.0)
    assert own_scale(config) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    named = config_of(
        {"data": {"scaling": "unit", "image_size": 96}, "model": {"name": LITE, "dropout": 0.3}}
    )
    assert (named.data.scaling, named.model.dropout) == ("unit", 0.3)
    assert with_own_size(named) == named
    assert own_scale(named) is None
    scratch = with_settings(config, {"model": "alexnet", "lr": 0.1})
    assert (scratch.model.name, scratch.data.name) == ("alexnet", config.data.name)
    assert own_scale(scratch) is None


def test_a_head_reads_as_many_features_as_dropout_leaves(shared_workspace: Workspace) -> None:
    model: nn.Module = initialised_model(settings(dropout=0.9), **SIZES, seed=1).train()
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(model(pictures), model(pictures))
