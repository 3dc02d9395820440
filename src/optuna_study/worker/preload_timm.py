"""Imported once by the server that workers of a study with timm's models are forked from."""

from __future__ import annotations

from optuna_study.training.backbone.without_compiler import without_compiler
from optuna_study.worker.forking import preloading

with preloading(), without_compiler():
    import timm  # noqa: F401 - importing it is all this is for
