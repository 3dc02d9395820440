"""Which device trains, and everything a run asks of it; the only place that knows about CUDA."""

from __future__ import annotations

import os
import platform
import re
import resource
import warnings
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_NAME = re.compile(r"cuda(?::(\d+))?")


def pick_device(name: str) -> torch.device:
    """The device of a name: `auto` (CUDA when there is one), `cpu`, `cuda` or `cuda:INDEX`.

    Raises:
        DeviceError: no such device, here or at all.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    match = _NAME.fullmatch(name)
    if match is None:
        raise DeviceError(f"device '{name}': unknown; use auto, cpu, cuda or cuda:INDEX")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise DeviceError(f"device '{name}': this machine has no CUDA device; use auto or cpu")
    index = int(match.group(1) or 0)
    if index >= count:
        raise DeviceError(
            f"device '{name}': this machine has only {count} CUDA device(s), numbered from 0"
        )
    return torch.device("cuda", index)


def use_device(device: torch.device) -> None:
    """Make a GPU the one that whatever names none goes to, such as a model's own function."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def read_numbers(values: torch.Tensor) -> list[float]:
    """Copy a flat tensor to the host, which waits for the device; runs read through this alone."""
    numbers: list[float] = values.tolist()
    return numbers


def peak_memory(device: torch.device) -> int:
    """The most bytes this process has taken of a device; on a CPU, of the machine's memory.

    A CUDA context, some hundred megabytes of every process, is not counted.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def free_memory(device: torch.device) -> int | None:
    """Bytes free on a GPU, whoever took the others; None on a CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def all_cores() -> int:
    """How many cores this process may run on."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def use_threads(threads: int) -> None:
    """Let torch compute with so many CPU threads; 0 means all cores this process may use."""
    torch.set_num_threads(threads or all_cores())


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread within the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Within the block models compute in the precision of a name, where it is below single."""
    if precision not in _REDUCED:
        return nullcontext()
    return torch.autocast(device.type, dtype=_REDUCED[precision])


def use_precision(device: torch.device, precision: str) -> None:
    """Let a GPU multiply in TF32 where that is the precision, and nowhere else."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"


@contextmanager
def single_precision() -> Iterator[None]:
    """Multiply in single precision within the block, on a GPU that may use TF32 too."""
    multiply, convolve = torch.backends.cuda.matmul, torch.backends.cudnn
    allowed = multiply.allow_tf32, convolve.allow_tf32
    multiply.allow_tf32 = convolve.allow_tf32 = False
    try:
        yield
    finally:
        multiply.allow_tf32, convolve.allow_tf32 = allowed


def loss_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler | None:
    """What keeps the gradients of half precision from vanishing; None where nothing has to."""
    return torch.amp.GradScaler(device.type) if precision == "fp16" else None


def release_memory(device: torch.device) -> None:
    """Give cached memory back, a GPU's or the C library's, so that others of another size fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif (library := _glibc()) is not None:
        library.malloc_trim(0)


@cache
def keep_freed_pages() -> None:
    """Let the C library keep what a step frees: the next one takes the same again.

    By itself it gives every large block back to the system, which hands the next one out in pages
    of zeros: AlexNet's step of 8 pictures of 227 pixels had 64,600 page faults and took 0.89 CPU
    seconds, and takes 0.78 without (medians of alternating runs; the numbers are the same).
    `release_memory` gives back what is free.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h


@cache
def _glibc() -> Any:
    """The C library where it is glibc, else None."""
    import ctypes

    library = ctypes.CDLL(None) if os.name == "posix" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


_REDUCED = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def random_stream(device: torch.device, seed: int) -> Iterator[None]:
    """Within the block torch's global random numbers on the CPU and on `device` start from `seed`.

    Dropout, and whatever a model of one's own draws, use the global generators. They are put back
    afterwards, so that two runs in one process do not disturb each other or their caller.
    """
    if device.type == "cuda":
        with torch.random.fork_rng(devices=[device]):
            torch.manual_seed(seed)
            yield
        return
    # The same on the CPU alone takes a tenth of the time, which a run of one-step epochs notices.
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)


GRAPHS_VARIABLE = "OPTUNA_STUDY_CUDA_GRAPHS"
"""Of the environment: 1 lets training capture its steps as CUDA graphs, 0 does not."""

GRAPHS_UNLESS_SAID = "0"
"""Until a GPU has run them: `tests/benchmarks/gpu.py` measures both."""


def cuda_graphs(device: torch.device) -> CudaGraphs | None:
    """What captures steps as CUDA graphs; None where there are none, or none are wanted."""
    if device.type != "cuda" or not _wants_graphs():
        return None
    return CudaGraphs(device)


def _wants_graphs() -> bool:
    return os.environ.get(GRAPHS_VARIABLE, GRAPHS_UNLESS_SAID) == "1"


class CudaGraphs:
    """Captures work on a GPU as CUDA graphs (torch's notes on CUDA semantics, "CUDA graphs")."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm_up(self, call: Callable[[], None], times: int) -> None:
        """Call it a few times on a stream of its own; from the second on it may not wait.

        Raises:
            RuntimeError: it waits for the device, which a captured one cannot.
        """
        here, mode = torch.cuda.current_stream(self._device), torch.cuda.get_sync_debug_mode()
        self._stream.wait_stream(here)
        try:
            with torch.cuda.stream(self._stream), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Synchronization debug mode")
                for _ in range(times):
                    call()
                    torch.cuda.set_sync_debug_mode("error")
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            here.wait_stream(self._stream)

    def capture(
        self, call: Callable[[], None], generators: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        """What replays the work of a call; `generators` are those that it draws from.

        Raises:
            Exception: it cannot be captured; torch is usable as before if the GPU is.
        """
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        first: Exception | None = None
        try:
            for generator in generators:
                graph.register_generator_state(generator)
            # Other threads' calls, of which some end a capture, are none of its business.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                try:
                    call()
                except Exception as error:
                    first = error  # the end of the capture raises in its place
                    raise
        except Exception as error:  # noqa: BLE001 - whatever it is, torch is put right
            # Where it fails at its end, torch stays on the stream, and its generators believe
            # that they are still captured ("Offset increment outside graph capture").
            torch.cuda.set_stream(here)
            for generator in (torch.cuda.default_generators[self._index], *generators):
                generator.graphsafe_set_state(torch.Generator(self._device))
            raise first or error from None
        return graph.replay

    @property
    def _index(self) -> int:
        return self._device.index or 0  # `pick_device` names one


def require_usable(device: torch.device) -> None:
    """Refuse a GPU that a failure has left unusable in this process.

    Raises:
        RuntimeError: torch's, of whatever it says to a draw of a number.
    """
    read_numbers(torch.rand(1, device=device))


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """What the last bits of a curve depend on beside the configuration, in plain values.

    Keys: torch, device, threads, instruction_set, processor, and memory (of the device, in GiB).
    Of a GPU also: cuda and cudnn (versions), cudnn_benchmark, and cuda_graphs, whether steps are
    to be captured. Which precision it multiplies in is a setting, and TF32 follows from it.
    """
    of_gpu: dict[str, Any] = {}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, memory = f"cuda ({properties.name})", properties.total_memory
        of_gpu = {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cuda_graphs": _wants_graphs(),
        }
    else:
        name, memory = "cpu", _host_memory()
    return {
        "torch": str(torch.__version__),  # torch's own kind of text needs torch to be unpickled
        "device": name,
        "threads": threads or all_cores(),
        "instruction_set": instruction_set(),
        "processor": _processor(),
        "memory": round(memory / 2**30, 1),
        **of_gpu,
    }


def instruction_set() -> str:
    """The vector instructions in use, and the limit that the environment sets for oneDNN's."""
    limits = [os.environ.get(f"{library}_MAX_CPU_ISA") for library in ("ONEDNN", "DNNL")]
    limit = next((value for value in limits if value), None)
    capability: str = torch.backends.cpu.get_cpu_capability()
    return f"{capability}, oneDNN limited to {limit}" if limit else capability


def _processor() -> str:
    """The processor's name: matrix libraries choose their blocking, and so their sums, by it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    entries = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    if "model name" not in entries:
        return platform.processor() or platform.machine()
    return (
        f"{entries['model name']}, family {entries.get('cpu family')} model {entries.get('model')}"
    )


def _host_memory() -> int:
    """The host's memory in bytes, 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
