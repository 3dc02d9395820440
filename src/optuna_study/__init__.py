"""Hyperparameter search for image classifiers, on Optuna and PyTorch."""

from __future__ import annotations

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
        from importlib import import_module

        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'optuna_study' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
