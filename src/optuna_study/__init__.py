"""Hyperparameter search for image classifiers, on Optuna and PyTorch."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna_study.api.launching import launch
    from optuna_study.api.study import Study, load
    from optuna_study.api.trained_model import load_model

    __version__: str

__all__ = ["Study", "__version__", "launch", "load", "load_model"]

_PLACES = {
    "Study": "optuna_study.api.study",
    "launch": "optuna_study.api.launching",
    "load": "optuna_study.api.study",
    "load_model": "optuna_study.api.trained_model",
}


def __getattr__(name: str) -> Any:
    # Looking names up when they are asked for spares every command most of its start.
    if name == "__version__":
        from importlib.metadata import version

        return version("optuna-study")
    if name in _PLACES:
        return _find(name)
    raise AttributeError(f"module 'optuna_study' has no attribute '{name}'")


def _find(name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _LaunchPackage(ModuleType):
    """The package `launch`, which can be called as the function whose name it takes."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What `optuna_study.api.launching.launch` does."""
        return _find("launch")(*arguments, **options)


class _Package(ModuleType):
    """This package: importing a package below it puts that in the place of `launch`."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "launch" and isinstance(value, ModuleType):
            value.__class__ = _LaunchPackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
