"""Everything that figures and reports show of a study, read from its store in a few statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from optuna_study.definition.serialise import from_json
from optuna_study.report import values
from optuna_study.report.figures.losses import Losses, find_losses
from optuna_study.report.figures.predictions import Predictions, find_predictions
from optuna_study.report.load import load_summary
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.records import EndKind, EpochRecord, StudyRecord, TrialRecord, TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.paths import Workspace
    from optuna_study.report.summary import Summary
    from optuna_study.space.dimensions import Leaf
    from optuna_study.store.engine.connection import Store


@dataclass(frozen=True)
class StudyData:
    """One study at one moment, as figures take it.

    `focus` is the number of the trial that figures of a single trial show, None where no trial
    has completed; `predictions` and `losses` are what its worker left of it.
    """

    summary: Summary
    trials: tuple[TrialRecord, ...]
    curves: Mapping[int, Sequence[EpochRecord]]
    focus: int | None = None
    predictions: Predictions | None = None
    losses: Losses | None = None
    leaves: tuple[Leaf, ...] = field(default=())  # of the searched space

    @property
    def study(self) -> StudyRecord:
        """The study's own record."""
        return self.summary.study

    @property
    def is_accuracy(self) -> bool:
        """Whether the metric is a fraction that people read in per cent."""
        return self.study.metric in values.SHARES

    @property
    def label(self) -> str:
        """The metric's name for people."""
        return self.study.metric.replace("_", " ")

    def shown(self, value: float | None) -> str:
        """A value of the metric for people."""
        return values.metric(self.study.metric, value)

    @cached_property
    def ranked(self) -> tuple[TrialRecord, ...]:
        """The completed trials, the best first, without confirmation runs and excluded ones."""
        sign = -1 if self.study.direction == "maximize" else 1
        done = [
            (sign * trial.value, trial.number, trial)
            for trial in self.trials
            if trial.state is TrialState.COMPLETE
            and trial.value is not None
            and trial.confirms is None
            and trial.excluded is None
        ]
        return tuple(trial for _, _, trial in sorted(done, key=lambda entry: entry[:2]))

    @cached_property
    def comparable(self) -> tuple[TrialRecord, ...]:
        """Those of `ranked` that differ in nothing but what is searched.

        A baseline of another model, say, would tell of its model where its rate is drawn.
        """
        return tuple(trial for trial in self.ranked if not trial.fixed)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The searched parameters that trials have: by importance, else as they are searched."""
        present = {name for trial in self.comparable for name in trial.parameters}
        known = [leaf.name for leaf in self.leaves if leaf.name in present]
        names = known + sorted(present - set(known))
        shares = self.study.importances or {}
        return tuple(sorted(names, key=lambda name: -shares.get(name, 0.0)))

    def leaf(self, name: str) -> Leaf | None:
        """The parameter of a name; None where plain Optuna suggested it."""
        return next((leaf for leaf in self.leaves if leaf.name == name), None)


def load_study_data(
    store: Store, study: StudyRecord, workspace: Workspace, focus: int | None = None
) -> StudyData:
    """A study's records for its figures; `focus` is the winner when None.

    Raises:
        NotFoundError: the study has no trial `focus`.
        StoreError: the store fails.
    """
    summary = load_summary(store, study)
    if focus is not None:
        reads.trial(store, study, focus)
    elif summary.winner is not None:
        focus = summary.winner.number
    trials = tuple(reads.trials(store, study))
    predictions = losses = None
    if focus is not None:
        trial_id = next(trial.trial_id for trial in trials if trial.number == focus)
        predictions = find_predictions(store, workspace, trial_id)
        losses = find_losses(store, workspace, trial_id)
    space = from_json(study.definition).space
    return StudyData(
        summary=summary,
        trials=trials,
        curves=aggregates.curves(store, study),
        focus=focus,
        predictions=predictions,
        losses=losses,
        leaves=space.leaves(),
    )


def group_name(trial: TrialRecord) -> str:
    """What a trial is drawn as: how it ended, or that it still runs."""
    if trial.end is not None:
        return trial.end.value
    if trial.state is TrialState.COMPLETE:
        return EndKind.COMPLETED.value
    return {TrialState.PRUNED: EndKind.PRUNED.value, TrialState.FAIL: EndKind.FAILED.value}.get(
        trial.state, trial.state.value.lower()
    )
