from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from optuna_study.config.settings import DataSettings
from optuna_study.data.datasets import spiral
from optuna_study.data.load import open_pictures
from optuna_study.paths import Workspace

if TYPE_CHECKING:
    from pathlib import Path


def test_arms_run_from_the_middle_outwards_over_two_thirds_of_a_turn() -> None:
    points, labels = spiral.points_of_arms()
    assert labels.tolist() == [0] * 1000 + [1] * 1000 + [2] * 1000
    x, y = (points.astype(float) / 127.5 - 1).T
    radius = np.hypot(x, y).reshape(3, 1000)
    assert np.abs(radius - np.linspace(0, 1, 1000)).max() < 0.01
    angle = np.arctan2(x, y).reshape(3, 1000)
    for arm in range(3):
        expected = 2 * math.pi * (arm / 3 + 2 / 3 * np.linspace(0, 1, 1000))
        error = np.angle(np.exp(1j * (angle[arm] - expected)))[200:]
        assert abs(error.mean()) < 0.03
        assert error.std() == pytest.approx(0.2, rel=0.1)


def test_the_points_never_change() -> None:
    points, _ = spiral.points_of_arms(5)
    assert points[:3].tolist() == spiral.points_of_arms(5)[0][:3].tolist()
    assert points[[0, 5, 10]].tolist() == [[128, 128]] * 3


@pytest.mark.slow
def test_points_are_pictures_of_any_size(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    single = open_pictures(DataSettings(name="spiral", image_size=1), None, workspace)
    assert single.images.shape == (3000, 1, 1, 2)
    assert single.sides == (1920, 480, 600)
    larger = open_pictures(DataSettings(name="spiral", image_size=8), None, workspace)
    assert (larger.images == single.images).all()
    assert larger.fingerprint == single.fingerprint


@pytest.mark.slow
def test_points_on_the_same_step_stay_on_one_side(tmp_path: Path) -> None:
    found = open_pictures(DataSettings(name="spiral", image_size=1), None, Workspace(tmp_path))
    assert found.sides is not None
    side = np.repeat(np.arange(3), found.sides)
    places: dict[bytes, set[int]] = {}
    for image, where in zip(found.images, side, strict=True):
        places.setdefault(image.tobytes(), set()).add(int(where))
    assert len(places) < 3000
    assert all(len(sides) == 1 for sides in places.values())
