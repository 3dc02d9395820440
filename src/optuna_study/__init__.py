"""Hyperparameter search for image classifiers, on Optuna and PyTorch."""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    # Looking the version up when it is asked for spares every command a fifth of its start.
    if name == "__version__":
        from importlib.metadata import version

        return version("optuna-study")
    raise AttributeError(f"module 'optuna_study' has no attribute '{name}'")
