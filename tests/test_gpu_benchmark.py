"""The script that waits for a GPU: its pieces work on a CPU, and without a GPU it says so."""

from __future__ import annotations

import importlib
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def gpu() -> Any:
    """The script, imported where one of its tests begins: it imports torchvision."""
    return importlib.import_module("gpu")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [gpu.__file__])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "torch finds no CUDA device here: nothing was measured\n"


@pytest.mark.slow
def test_its_pieces_work_on_a_cpu(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = (gpu.bandwidth, gpu.steps, gpu.turnaround, gpu.precisions)
    monkeypatch.setattr(gpu, "PIECES", pieces)
    threads = torch.get_num_threads()
    bench = gpu.Bench(torch.device("cpu"), quick=True, until=time.perf_counter() + 600)
    lines = list(gpu.table(bench, tmp_path))
    torch.set_num_threads(threads)
    assert lines[1:4] == ["", "| what | figure |", "|---|---|"]
    assert [line.split(" | ")[0] for line in lines[4:]] == [
        "| bandwidth of a copy",
        "| a step, spiral",
        "| a step, LeNet",
        "| next run to its first step, LeNet, called",
        "| next run to its first step, LeNet, a graph taken over",
        "| LeNet in fp32, 1 epochs",
        "| LeNet in bf16, 1 epochs",
    ]
    assert not [line for line in lines if "failed" in line]
    late = gpu.Bench(torch.device("cpu"), quick=True, until=0.0)
    assert list(gpu.table(late, tmp_path))[-1] == "| precisions | no time left |"
