from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from optuna_study.config.settings import DataSettings
from optuna_study.data.load import open_pictures
from optuna_study.data.statistics import colour_statistics, picture_moments

if TYPE_CHECKING:
    from optuna_study.paths import Workspace


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_moments_are_exact_sums(channels: int) -> None:
    images = np.random.default_rng(1).integers(0, 256, (70, 9, 7, channels), dtype=np.uint8)
    values = images.reshape(70, -1, channels).astype(int)
    moments = picture_moments(images)
    assert moments.dtype == np.int64
    assert np.array_equal(moments[:, 0], values.sum(axis=1))
    assert np.array_equal(moments[:, 1:], np.einsum("npc,npd->ncd", values, values))


def test_statistics_are_those_of_all_pixels_together() -> None:
    images = np.random.default_rng(2).integers(0, 200, (30, 8, 8, 3), dtype=np.uint8)
    images[..., 1] += 50
    mean, deviation, components = colour_statistics(picture_moments(images[:20]), 64)
    values = images[:20].reshape(-1, 3) / 255
    assert mean == pytest.approx(values.mean(axis=0))
    assert deviation == pytest.approx(values.std(axis=0))
    eigenvalues = np.linalg.norm(components, axis=0)
    directions = components / eigenvalues
    covariance = np.cov(values.T, bias=True)
    assert directions @ np.diag(eigenvalues) @ directions.T == pytest.approx(covariance)


def test_a_constant_picture_does_not_divide_by_zero() -> None:
    moments = picture_moments(np.full((4, 8, 8, 1), 200, dtype=np.uint8))
    mean, deviation, components = colour_statistics(moments, 64)
    assert mean == pytest.approx([200 / 255])
    assert deviation[0] > 0
    assert np.isfinite(components).all()


def test_the_cache_keeps_moments_in_the_order_of_its_pictures(shared_workspace: Workspace) -> None:
    kept = open_pictures(DataSettings(name="digits", image_size=16), None, shared_workspace)
    assert kept.moments is not None
    assert np.array_equal(kept.moments, picture_moments(kept.images))
