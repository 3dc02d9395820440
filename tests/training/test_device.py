from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest
import torch

from optuna_study.errors import DeviceError
from optuna_study.training import device

HAS_CUDA = torch.cuda.is_available()


@pytest.fixture(autouse=True)
def _threads_put_back() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_cpu_is_always_there() -> None:
    assert device.pick_device("cpu") == torch.device("cpu")


def test_auto_is_the_best_there_is() -> None:
    assert device.pick_device("auto").type == ("cuda" if HAS_CUDA else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "mps", "", "CPU"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(DeviceError, match="use auto, cpu, cuda or cuda:INDEX"):
        device.pick_device(name)


@pytest.mark.skipif(HAS_CUDA, reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_cuda_without_cuda(name: str) -> None:
    with pytest.raises(DeviceError, match="this machine has no CUDA device; use auto or cpu"):
        device.pick_device(name)


@pytest.mark.cuda
@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")
def test_an_index_beyond_the_last() -> None:
    with pytest.raises(DeviceError, match=r"only \d+ CUDA device"):
        device.pick_device("cuda:99")


def test_threads() -> None:
    device.use_threads(1)
    assert torch.get_num_threads() == 1
    device.use_threads(0)
    assert torch.get_num_threads() == device.all_cores() >= 1


def test_environment_is_plain() -> None:
    told = device.environment(torch.device("cpu"), 1)
    assert set(told) == {"torch", "device", "threads", "instruction_set", "processor", "memory"}
    assert json.loads(json.dumps(told)) == told
    assert told["torch"] == torch.__version__
    assert (told["device"], told["threads"]) == ("cpu", 1)
    assert told["memory"] > 0


def test_all_cores_are_counted_in_the_environment() -> None:
    assert device.environment(torch.device("cpu"), 0)["threads"] == device.all_cores()


def test_a_limit_on_instructions_is_part_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    free = device.instruction_set()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert device.instruction_set() == f"{free}, oneDNN limited to AVX2"


def test_a_random_stream_follows_from_its_seed_and_leaves_no_trace() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with device.random_stream(torch.device("cpu"), 9):
        first = torch.rand(4)
    assert torch.rand(3).equal(expected)
    with device.random_stream(torch.device("cpu"), 9):
        assert torch.rand(4).equal(first)
    with device.random_stream(torch.device("cpu"), 10):
        assert not torch.rand(4).equal(first)


def test_numbers_are_read_in_order() -> None:
    assert device.read_numbers(torch.tensor([1.5, -2.0])) == [1.5, -2.0]


FREED_PAGES = """
import resource, torch
from optuna_study.training import device
size = 16 * 2**20  # of four bytes

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

device.keep_freed_pages()
for _ in range(3):  # until a place is found that no small block lies in
    faults()
pages = 4 * size // resource.getpagesize()
assert faults() < pages  # of the four times that many
device.release_memory(torch.device("cpu"))
assert faults() >= pages // 512  # in pages of 2 MiB, where the system has such
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_pages_are_kept_until_they_are_given_back() -> None:
    """In a process of its own: blocks that other tests left at the heap's end let pages go."""
    done = subprocess.run(
        [sys.executable, "-c", FREED_PAGES], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
