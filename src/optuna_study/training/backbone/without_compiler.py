"""torchvision and timm without torch's compiler, which neither needs and both import."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPILER = "torch._dynamo"


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within it, an import of torchvision or timm does not import torch's compiler.

    They want two functions of it: torchvision's `roi_align` one that tells where it can compile,
    timm a mark for what is not to be compiled. The compiler takes 3.5 of the 7.6 CPU seconds of
    `import timm` (torch 2.14, torchvision 0.29, timm 1.0). Nothing here compiles; whoever does,
    imports the real one afterwards.
    """
    if COMPILER in sys.modules:
        yield
        return
    import torch  # noqa: F401 - what is put beside it must not be taken for a half-made part of it

    stand_ins = {COMPILER: ModuleType(COMPILER), f"{COMPILER}.utils": ModuleType("utils")}
    compiler, utils = stand_ins.values()
    vars(compiler).update(__path__=[], utils=utils, disable=_unmarked)
    vars(utils).update(is_compile_supported=_can_compile)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


def _unmarked(function: Any = None, recursive: bool = True, **_: Any) -> Any:
    """In place of the mark for what is not to be compiled: the function as it is."""
    return (lambda given: given) if function is None else function


def _can_compile(device_type: str) -> bool:
    """What torch's own function says, which is imported when somebody asks."""
    from torch._dynamo.utils import is_compile_supported

    ask: Callable[[str], bool] = is_compile_supported
    return ask(device_type)
