"""The training core: a configuration in, one result per epoch out.

Modules of one's own, named by study files and stores, may import what the README of 0.1.0 told
them to. Those names lead to where the things are now.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

MOVED = {
    f"{__name__}.config": "optuna_study.config.settings",
    f"{__name__}.data": f"{__name__}.device_data",
    f"{__name__}.pictures": "optuna_study.data.pictures",
}


class _Moved(MetaPathFinder, Loader):
    """Finds a module by its old name, with what stands in the new one."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        there = vars(importlib.import_module(MOVED[module.__name__]))
        vars(module).update({name: value for name, value in there.items() if name[:2] != "__"})


sys.meta_path.append(_Moved())
