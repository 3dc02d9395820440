"""What an error that training raised says of memory and GPU; free of torch, judged by its words.

torch has a class of its own for a GPU's memory only, a RuntimeError, as all the others are.
"""

from __future__ import annotations

_NO_MEMORY = (  # the GPU's and the CPU's allocators; cuBLAS and cuDNN, in words of their own
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "unable to find an engine to execute this computation",
)
_LOST = (  # most come from a kernel that ran long before
    "CUDA error",
    "device-side assert",
    "ECC error",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "captures_underway",  # of torch's assertion that no capture goes on, after one that failed
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was asked for and not there."""
    return isinstance(error, MemoryError) or _says(error, _NO_MEMORY)


def is_gpu_lost(error: BaseException) -> bool:
    """Whether an error, or one it arose from, leaves this process without a usable GPU.

    After a failed kernel every later call of the process's CUDA context fails, too; other
    processes have contexts of their own.
    """
    cause: BaseException | None = error
    while cause is not None:
        if _says(cause, _LOST):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _says(error: BaseException, phrases: tuple[str, ...]) -> bool:
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)
