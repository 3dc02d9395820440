"""Hyperparameter search for image classifiers, on Optuna and PyTorch."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("optuna-study")
