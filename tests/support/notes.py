"""Notes as the dashboard keeps them; its package, which imports scikit-learn, only when called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna


def save_note(of: optuna.Study | optuna.Trial | optuna.trial.FrozenTrial, text: str) -> None:
    """Write a study's or a trial's note as a person at the dashboard does."""
    import optuna_dashboard

    optuna_dashboard.save_note(of, text)


def get_note(of: optuna.Study | optuna.Trial | optuna.trial.FrozenTrial) -> str:
    """A study's or a trial's note as the dashboard shows it."""
    import optuna_dashboard

    text: str = optuna_dashboard.get_note(of)
    return text


def note_version(attributes: dict[str, Any]) -> int:
    """The number in a study's system attributes that the dashboard counts a note's changes by."""
    from optuna_dashboard import _note

    found: int = _note.get_note_from_system_attrs(attributes, None)["version"]
    return found
