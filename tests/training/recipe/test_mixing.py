"""mixup and CutMix against plain NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from optuna_study.config.settings import TrainSettings
from optuna_study.training import loop
from optuna_study.training.recipe.mixing import Mixer, mixer_of
from optuna_study.training.steps.step import step

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

CPU = torch.device("cpu")


def test_mixup_is_the_weighted_mean_of_pairs() -> None:
    inputs = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    mixer = Mixer(0.4, 0.0, np.random.default_rng(3))
    shares = [mixer.mix(inputs)[1] for _ in range(400)]
    mixed, share, _ = mixer.mix(inputs)
    raw = inputs.double().numpy()
    expected = share * raw + (1 - share) * raw[::-1]
    assert np.allclose(mixed.numpy(), expected, atol=1e-6)
    # Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
    assert abs(np.mean(shares) - 0.5) < 0.06
    assert abs(np.var(shares) - 1 / (4 * 1.8)) < 0.03


def test_cutmix_takes_a_box_whose_area_is_the_partners_share() -> None:
    inputs = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 2, 6, 8).clone()
    mixer = Mixer(0.0, 1.0, np.random.default_rng(2))
    seen = set()
    for _ in range(50):
        mixed, share, _ = mixer.mix(inputs)
        own = mixed == inputs
        assert own.double().mean().item() == share or np.isclose(own.double().mean(), share)
        replaced = ~own[0, 0].numpy()
        rows, columns = replaced.any(axis=1), replaced.any(axis=0)
        assert replaced.sum() == rows.sum() * columns.sum(), "it is a box"
        assert torch.equal(mixed[~own], inputs.flip(0)[~own])
        seen.add(share)
    assert len(seen) > 10
    assert (inputs[1] == 1).all(), "the batch itself stays"


def test_both_alternate_and_what_is_no_picture_is_averaged() -> None:
    mixer = mixer_of(TrainSettings(mixup=1.0, cutmix=1.0, seed=4), 1)
    assert mixer is not None
    pictures = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    whole = [float(mixer.mix(pictures)[0][0].frac().abs().max()) > 0 for _ in range(60)]
    assert 15 < sum(whole) < 45
    features, share, rest = mixer.mix(torch.tensor([[0.0], [1.0]]))
    assert np.isclose(features[1, 0].item(), share)
    assert share + rest == 1
    assert mixer_of(TrainSettings(), 1) is None


def test_a_steps_loss_is_mixed_as_its_pictures_are(
    tiny_data: DeviceData, config: Callable[..., TrainConfig]
) -> None:
    settings = config(epochs=1, mixup=0.5, dropout=0.0, batch_size=90, optimizer="sgd")
    run = loop.prepare(settings, tiny_data, CPU)
    pictures = torch.arange(90)
    model, mixer = run.model, mixer_of(settings.train, 1)
    inputs = run.training_input(pictures, torch.Generator())
    assert mixer is not None
    mixed, share, _ = mixer.mix(inputs)
    with torch.no_grad():
        chances = model(mixed).double().log_softmax(dim=1).numpy()
    labels = tiny_data.train_labels.numpy()
    targets = np.eye(3)[labels] * share + np.eye(3)[labels[::-1]] * (1 - share)
    expected = -(targets * chances).sum(axis=1).mean()
    loss, _, _ = step(run, pictures, torch.Generator(), mixer_of(settings.train, 1))
    assert np.isclose(loss.item(), expected, rtol=1e-5)
