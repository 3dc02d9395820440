"""Curves stay what they were: to the last bit where the environment is the recorded one."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
import torch
from recorded_curves import CASES, FILE, train

from optuna_study.config.reproducibility import differing
from optuna_study.training.device import environment

if TYPE_CHECKING:
    from optuna_study.training.device_data import DeviceData

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))
LOSSES = ("train_loss", "validation_loss", "lr")
"""What changes smoothly with the last bits; an accuracy jumps by whole pictures."""


@pytest.mark.parametrize("case", CASES)
def test_a_curve_is_the_recorded_one(case: str, tiny_data: DeviceData) -> None:
    before, threads = RECORDED["curves"][case], torch.get_num_threads()
    now = train(case, tiny_data)
    torch.set_num_threads(threads)
    if not differing(RECORDED["environment"], environment(torch.device("cpu"), 1)):
        assert now == before
        return
    assert [epoch["divergence"] for epoch in now] == [epoch["divergence"] for epoch in before]
    for name in LOSSES:
        here, there = (float.fromhex(str(curve[0][name])) for curve in (now, before))
        assert here == pytest.approx(there, rel=1e-5) or math.isnan(there)
