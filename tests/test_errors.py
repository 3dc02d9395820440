from __future__ import annotations

import inspect
import signal

import pytest

from optuna_study import errors


def test_every_error_is_drawn_in_the_tree_with_its_exit_code() -> None:
    tree = errors.__doc__ or ""
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.OptunaStudyError):
            assert name in tree
            assert kind.exit_code in (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_has_the_exit_code_of_shells(number: int, code: int) -> None:
    assert errors.InterruptedBySignalError(number).exit_code == code


def test_all_problems_of_a_file_are_told_at_once() -> None:
    error = errors.StudyFileError("cats.toml", ["train.lr: too large", "space: empty"])
    assert str(error) == "cats.toml: train.lr: too large; space: empty"
