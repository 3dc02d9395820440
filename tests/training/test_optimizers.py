from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from optuna_study.config.catalogue import OPTIMIZERS
from optuna_study.config.settings import TrainSettings
from optuna_study.errors import UsageError
from optuna_study.training.backbone.without_compiler import without_compiler
from optuna_study.training.optimizers import build_optimizer, restore, set_lr

if TYPE_CHECKING:
    from collections.abc import Callable

LR, DECAY = 0.01, 0.1
PLAIN: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "gd": lambda groups: torch.optim.SGD(groups, LR, foreach=False),
    "sgd": lambda groups: torch.optim.SGD(groups, LR, foreach=False),
    "momentum": lambda groups: torch.optim.SGD(groups, LR, 0.8, foreach=False),
    "nesterov": lambda groups: torch.optim.SGD(groups, LR, 0.8, nesterov=True, foreach=False),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, LR, foreach=False),
    "rmsprop": lambda groups: torch.optim.RMSprop(
        groups, LR, alpha=0.95, momentum=0.8, foreach=False
    ),
    "adam": lambda groups: torch.optim.Adam(groups, LR, (0.85, 0.99), foreach=False),
    "adamw": lambda groups: torch.optim.AdamW(groups, LR, (0.85, 0.99), foreach=False),
    "lamb": lambda groups: timms_lamb()(groups, LR, betas=(0.85, 0.99), max_grad_norm=None),
}


def timms_lamb() -> Callable[..., torch.optim.Optimizer]:
    with without_compiler():
        from timm.optim.lamb import Lamb
    return Lamb


def settings(name: str, **changes: Any) -> TrainSettings:
    values = {
        "optimizer": name,
        "lr": LR,
        "weight_decay": DECAY,
        "momentum": 0.8,
        "beta1": 0.85,
        "beta2": 0.99,
        "smoothing": 0.95,
    }
    return TrainSettings(**{**values, **changes})


def small_model() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.GroupNorm(1, 4), nn.PReLU(), nn.Flatten(), nn.Linear(36, 2)
    )


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 20) -> None:
    generator = torch.Generator().manual_seed(7)
    for _ in range(steps):
        optimizer.zero_grad()
        images = torch.randn(6, 3, 5, 5, generator=generator)
        loss = nn.functional.cross_entropy(model(images), torch.tensor([0, 1] * 3))
        torch.autograd.backward(loss)
        optimizer.step()


def test_every_name_of_the_catalogue_is_compared() -> None:
    assert set(PLAIN) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", PLAIN)
def test_twenty_steps_are_those_of_torch(name: str) -> None:
    ours, theirs = small_model(), small_model()
    weights = [theirs[0].weight, theirs[4].weight]
    others = [p for p in theirs.parameters() if all(p is not weight for weight in weights)]
    plain = PLAIN[name](
        [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    )
    train(ours, build_optimizer(settings(name), ours))
    train(theirs, plain)
    for got, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_rmsprop_without_momentum_is_torchs_own() -> None:
    """The article's; its setting's default is that of momentum and nesterov."""
    ours, theirs = small_model(), small_model()
    chosen = TrainSettings(optimizer="rmsprop", lr=LR, momentum=0.0)
    train(ours, build_optimizer(chosen, ours))
    train(theirs, torch.optim.RMSprop(theirs.parameters(), LR))
    for got, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_weight_decay_falls_on_weights_alone() -> None:
    model = small_model()
    decayed, rest = build_optimizer(settings("sgd"), model).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3, 3, 3), (2, 36)]
    assert [p.ndim for p in rest["params"]] == [1] * 5
    assert (decayed["weight_decay"], rest["weight_decay"]) == (DECAY, 0.0)


def test_a_penalty_on_squared_weights_is_half_its_decay() -> None:
    """The articles' L2 of 2e-4 on every kernel is a weight decay of 4e-4."""
    ours, theirs = small_model(), small_model()
    optimizer = build_optimizer(settings("sgd", weight_decay=4e-4, lr=10.0), ours)
    images = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(7))
    labels = torch.tensor([0, 1] * 3)
    torch.autograd.backward(nn.functional.cross_entropy(ours(images), labels))
    optimizer.step()
    kernels = [parameter for parameter in theirs.parameters() if parameter.ndim > 1]
    penalty = 2e-4 * torch.stack([kernel.square().sum() for kernel in kernels]).sum()
    torch.autograd.backward(nn.functional.cross_entropy(theirs(images), labels) + penalty)
    for got, before in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(got.detach(), (before - 10.0 * before.grad).detach())


def test_frozen_parameters_are_left_out() -> None:
    model = small_model()
    model[0].requires_grad_(False)
    groups = build_optimizer(settings("sgd"), model).param_groups
    assert sum(len(group["params"]) for group in groups) == 5


def test_the_learning_rate_of_every_group_is_set() -> None:
    optimizer = build_optimizer(settings("adam"), small_model())
    set_lr(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


@pytest.mark.parametrize("name", PLAIN)
def test_a_restored_optimizer_goes_on_bit_for_bit(name: str) -> None:
    model = small_model()
    optimizer = build_optimizer(settings(name), model)
    train(model, optimizer, steps=3)
    other = copy.deepcopy(model)
    resumed = build_optimizer(settings(name), other)
    restore(resumed, copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer, steps=3)
    train(other, resumed, steps=3)
    for got, expected in zip(other.parameters(), model.parameters(), strict=True):
        assert got.equal(expected)


def test_a_state_does_not_bring_its_implementation() -> None:
    model = small_model()
    optimizer = build_optimizer(settings("adagrad"), model)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["fused"] = None
    restore(optimizer, state)
    assert [group["fused"] for group in optimizer.param_groups] == [True, True]


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"optimizer 'adm': unknown, did you mean 'adam'\?"):
        build_optimizer(settings("adm"), small_model())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", PLAIN)
def test_every_optimizer_works_on_cuda(name: str) -> None:
    model = small_model().cuda()
    optimizer = build_optimizer(settings(name), model)
    torch.autograd.backward(model(torch.randn(4, 3, 5, 5, device="cuda")).sum())
    optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_hooks_on_a_step_run() -> None:
    optimizer = build_optimizer(settings("adam"), small_model())
    called: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    optimizer.step()
    assert called == ["before", "after"]


def test_an_optimizer_calls_itself_by_torchs_name() -> None:
    optimizer = build_optimizer(settings("adam"), small_model())
    assert repr(optimizer).startswith("Adam (")
    assert isinstance(optimizer, torch.optim.Adam)
