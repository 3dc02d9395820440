from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import sys
import types
from typing import TYPE_CHECKING

import pytest
import torch

from optuna_study.errors import DeviceError
from optuna_study.training import device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


class StubbedCuda:
    """What `device.CudaGraphs` asks of torch.cuda, noted in order, where there is no CUDA."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> None:
        self.calls: list[str] = []
        self.fails = fails
        default = types.SimpleNamespace(graphsafe_set_state=self._note("default put right"))
        for name, value in {
            "Stream": lambda _device: types.SimpleNamespace(wait_stream=self._note("side waits")),
            "current_stream": lambda _device: types.SimpleNamespace(
                wait_stream=self._note("main waits")
            ),
            "stream": lambda _stream: contextlib.nullcontext(),
            "get_sync_debug_mode": lambda: 0,
            "set_sync_debug_mode": self._note("sync debug"),
            "set_stream": self._note("stream put back"),
            "CUDAGraph": lambda: types.SimpleNamespace(
                register_generator_state=self._note("registered"), replay=self._note("replay")
            ),
            "graph": self._graph,
            "default_generators": (default,),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch, "Generator", lambda _device: None)

    def _note(self, what: str) -> Callable[..., None]:
        def note(*given: object) -> None:
            told = [str(each) for each in given if isinstance(each, (int, str))]
            self.calls.append(" ".join([what, *told]))

        return note

    @contextlib.contextmanager
    def _graph(self, _graph: object, *, stream: object, capture_error_mode: str) -> Iterator[None]:
        assert stream is not None
        self.calls.append(f"begin {capture_error_mode}")
        try:
            yield
        finally:
            if self.fails:
                raise RuntimeError("CUDA error: operation failed due to a previous error")
        self.calls.append("end")


def test_a_capture_asks_torch_for_what_its_notes_say(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = StubbedCuda(monkeypatch)
    monkeypatch.setenv(device.GRAPHS_VARIABLE, "1")
    graphs = device.cuda_graphs(torch.device("cuda", 0))
    assert graphs is not None
    graphs.warm_up(lambda: cuda.calls.append("call"), 2)
    replay = graphs.capture(lambda: cuda.calls.append("captured"), [torch.Generator("cpu")])
    replay()
    assert cuda.calls == [
        "side waits",
        *("call", "sync debug error", "call", "sync debug error", "sync debug 0"),
        "main waits",
        *("registered", "begin thread_local", "captured", "end", "replay"),
    ]


def test_a_capture_that_fails_says_why_and_puts_torch_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = StubbedCuda(monkeypatch, fails=True)
    noise = types.SimpleNamespace(graphsafe_set_state=lambda _: cuda.calls.append("noise, too"))

    def call() -> None:
        raise RuntimeError("it waits for the device")

    with pytest.raises(RuntimeError, match="it waits for the device"):
        device.CudaGraphs(torch.device("cuda", 0)).capture(call, [noise])  # type: ignore[list-item]
    assert cuda.calls == [
        *(
            "registered",
            "begin thread_local",
            "stream put back",
            "default put right",
            "noise, too",
        )
    ]
    with pytest.raises(RuntimeError, match="operation failed due to a previous error"):
        device.CudaGraphs(torch.device("cuda", 0)).capture(lambda: None, [noise])  # type: ignore[list-item]


def test_a_workers_gpu_is_torchs_own_and_its_memory_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", called.append)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: called.append("empty_cache"))
    device.use_device(torch.device("cpu"))
    device.use_device(torch.device("cuda", 1))
    device.release_memory(torch.device("cuda", 1))
    assert called == [torch.device("cuda", 1), "empty_cache"]


def test_graphs_are_used_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    StubbedCuda(monkeypatch)
    gpu = torch.device("cuda", 0)
    monkeypatch.delenv(device.GRAPHS_VARIABLE, raising=False)
    assert device.cuda_graphs(gpu) is None
    monkeypatch.setenv(device.GRAPHS_VARIABLE, "0")
    assert device.cuda_graphs(gpu) is None
    monkeypatch.setenv(device.GRAPHS_VARIABLE, "1")
    assert device.cuda_graphs(gpu) is not None
    assert device.cuda_graphs(torch.device("cpu")) is None


def test_a_gpu_that_is_lost_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    device.require_usable(torch.device("cpu"))

    def lost(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch, "rand", lost)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        device.require_usable(torch.device("cpu"))


def test_what_is_recorded_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = types.SimpleNamespace(name="H200", total_memory=139 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92400)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv(device.GRAPHS_VARIABLE, "1")
    told = device.environment(torch.device("cuda", 0), 1)
    assert json.loads(json.dumps(told)) == told
    of_gpu = {name: told[name] for name in ("cuda", "cudnn", "cudnn_benchmark", "cuda_graphs")}
    assert of_gpu == {
        "cuda": "13.0",
        "cudnn": 92400,
        "cudnn_benchmark": False,
        "cuda_graphs": True,
    }
    assert (told["device"], told["memory"]) == ("cuda (H200)", 139.0)
