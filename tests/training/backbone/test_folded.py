"""Batch norms in the weights of convolutions: the same answers, or the network as it was."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from optuna_study.training.backbone.folded import (
    fold_batch_norms,
    fold_frozen_norms,
    with_norms,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)


@pytest.fixture(autouse=True)
def drawn() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Branches(nn.Module):
    """One convolution before a norm alone, one whose output is also read beside it, one shared."""

    def __init__(self) -> None:
        super().__init__()
        self.alone, self.read_twice, self.shared = (
            nn.Conv2d(channels, 4, 3, padding=1, bias=biased)
            for channels, biased in ((3, False), (4, True), (4, True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(4))
        for norm in self.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        seen = self.norms[0](self.alone(pictures)).relu()
        skipped = self.read_twice(seen)
        seen = self.norms[1](skipped) + skipped
        seen = self.norms[2](self.shared(seen))
        answer: torch.Tensor = self.norms[3](self.shared(seen).relu_())
        return answer


def test_a_norm_is_folded_where_it_is_all_that_reads_its_convolution() -> None:
    chain = nn.Sequential(
        nn.Conv2d(3, 4, 3, groups=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, groups=4)
    )
    folded = fold_batch_norms(chain.eval(), PICTURE)
    assert isinstance(folded, nn.Sequential)
    assert [type(layer).__name__ for layer in folded] == ["Conv2d", "Identity", "ReLU", "Conv2d"]
    with torch.inference_mode():
        torch.testing.assert_close(folded(PICTURE), chain(PICTURE), rtol=1e-5, atol=1e-5)
    assert isinstance(chain[1], nn.BatchNorm2d), "the model that was given stays as it was"


def test_a_network_whose_answers_would_change_stays_as_it_is() -> None:
    model = Branches().eval()
    assert fold_batch_norms(model, PICTURE) is model


def test_a_norm_behind_two_convolutions_is_none_of_either() -> None:
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Conv2d(4, 4, 3), norm).eval()
    assert fold_batch_norms(model, PICTURE) is model


def test_a_network_without_batch_norms_stays_as_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    assert fold_batch_norms(model, PICTURE) is model


def learning() -> tuple[nn.Sequential, nn.Sequential]:
    """A network twice whose first two norms keep their statistics, and whose third does not."""
    first, second, third = (nn.BatchNorm2d(channels) for channels in (4, 4, 8))
    for norm in (first, second, third):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, bias=False), first, nn.ReLU6()),
        *(nn.Conv2d(4, 4, 5, padding=2, groups=4), second, nn.Hardswish()),
        *(nn.Conv2d(4, 8, 3, stride=2), third, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ).double()
    first.requires_grad_(requires_grad=False)
    for norm in (first, second):
        freeze(norm)
    other = copy.deepcopy(model)
    for place in (1, 4):
        freeze(other[place])
    return model, other


def freeze(norm: nn.Module) -> None:
    norm.eval()
    norm.train = lambda mode=True: norm  # type: ignore[method-assign]


def test_gradients_flow_through_folded_norms_as_through_norms() -> None:
    model, plain = learning()
    names = list(model.state_dict())
    fold_frozen_norms(model, PICTURE.double())
    assert model.training
    assert [place for place, layer in enumerate(model) if "forward" in vars(layer)] == [0, 1, 3, 4]
    assert list(model.state_dict()) == names
    pictures = torch.randn(6, 3, 16, 16, dtype=torch.float64)
    for net in (model, plain):
        torch.autograd.backward(net(pictures).square().sum())
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        if theirs.grad is None:
            assert ours.grad is None, name
        else:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)
    for kept, same in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(kept, same)


def test_a_copy_of_a_folded_network_computes_with_its_own_weights() -> None:
    model, plain = learning()
    fold_frozen_norms(model, PICTURE.double())
    copied = copy.deepcopy(model).eval()
    before = model.eval()(PICTURE.double())
    with torch.no_grad():
        for net in (copied, plain):
            for parameter in net.parameters():
                parameter.mul_(0.5)
    torch.testing.assert_close(copied(PICTURE.double()), plain.eval()(PICTURE.double()))
    assert torch.equal(model(PICTURE.double()), before)


@pytest.mark.parametrize("head", ["none", "zeros"])
def test_a_learning_network_whose_answers_would_change_stays_as_it_is(head: str) -> None:
    model = Branches()
    for norm in model.norms:
        freeze(norm)
    whole: nn.Module = model
    if head == "zeros":  # whose answers say nothing of what is below
        last = nn.Linear(4 * 16 * 16, 2)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        whole = nn.Sequential(model, nn.Flatten(), last)
    fold_frozen_norms(whole, PICTURE)
    assert not any("forward" in vars(module) for module in whole.modules())


@pytest.fixture
def tf32() -> Iterator[None]:
    """As a run of that precision leaves torch, on a GPU."""
    multiply, convolve = torch.backends.cuda.matmul, torch.backends.cudnn
    before = multiply.allow_tf32, convolve.allow_tf32
    multiply.allow_tf32 = convolve.allow_tf32 = True
    yield
    multiply.allow_tf32, convolve.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
def test_what_is_shown_is_multiplied_in_single_precision() -> None:
    seen = []

    def look(*_: object) -> None:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))

    model, _ = learning()
    model.register_forward_pre_hook(look)
    fold_frozen_norms(model, PICTURE.double())
    assert seen == [(False, False)] * 2
    look()
    assert seen[-1] == (True, True)


def test_a_copy_with_its_norms_is_the_network_that_was() -> None:
    model, plain = learning()
    assert with_norms(model) is model
    fold_frozen_norms(model, PICTURE.double())
    copied = with_norms(model)
    assert not any("forward" in vars(module) for module in copied.modules())
    assert any("forward" in vars(module) for module in model.modules())
    assert torch.equal(copied.eval()(PICTURE.double()), plain.eval()(PICTURE.double()))
