from __future__ import annotations

import pytest
import torch

from optuna_study.config.training_errors import is_gpu_lost, is_out_of_memory


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation",
    ],
)
def test_libraries_of_a_gpu_want_memory_in_words_of_their_own(words: str) -> None:
    assert is_out_of_memory(RuntimeError(words))


def chained(first: Exception, then: Exception) -> Exception:
    then.__context__ = first
    return then


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: device-side assert triggered\nCompile with ..."), True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (chained(RuntimeError("CUDA error: unspecified launch failure"), KeyError("x")), True),
        (RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED at ..."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error: a model's own words"), False),
        (chained(ValueError("a"), KeyError("b")), False),
    ],
)
def test_errors_that_cost_a_process_its_gpu(error: Exception, lost: object) -> None:
    assert is_gpu_lost(error) is lost
