"""A study looked at again and again, for a live view."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.report.load import load_summary
from optuna_study.report.summary import Running, Summary, held_up, seconds_left
from optuna_study.store.reads import reads
from optuna_study.store.reads.aggregates import ended_numbers, mean_seconds
from optuna_study.store.studies.studies import find_study
from optuna_study.text import pasteable

if TYPE_CHECKING:
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import RunningTrial, StudyRecord, TrialRecord


@dataclass(frozen=True)
class Look:
    """A study at one look: `ended` are the trials that ended since the look before."""

    summary: Summary
    running: list[Running]
    ended: list[TrialRecord]


class Follower:
    """A study looked at again and again.

    Each look costs a few statements: what an ended trial changes is read when one has ended, what
    a running one is trained with is read once.
    """

    def __init__(self, store: Store, study: StudyRecord) -> None:
        self.store = store
        self.study = study
        self._summary = load_summary(store, study)
        self._mean = mean_seconds(store, study)
        self._seen = set(ended_numbers(store, study))
        self._known: dict[int, TrialRecord] = {}

    @property
    def ended(self) -> int:
        """The trials that had ended at the last look."""
        return self._summary.counts.ended

    @property
    def unfinished(self) -> bool:
        """Whether trials were left to end at the last look."""
        return not self.study.is_done(self.ended)

    def look(self) -> Look:
        """What the study has come to by now.

        Raises:
            StoreError: the store fails.
        """
        counts = reads.counts(self.store, self.study)
        at_work = reads.progress(self.store, self.study)
        running = [Running(self._trial(each), each) for each in at_work]
        ended: list[TrialRecord] = []
        study = find_study(self.store, self.study.name) or self.study  # its state and budget
        if counts.ended != self._summary.counts.ended:
            summary, mean = load_summary(self.store, study), mean_seconds(self.store, study)
            ended = self._newly_ended()
            # Nothing is kept before all could be read: the store may be away in between.
            self._summary, self._mean = summary, mean
        self.study = study
        self._summary = dataclasses.replace(
            self._summary,
            study=study,
            counts=counts,
            seconds_left=seconds_left(counts, study.total, self._mean, at_work),
        )
        return Look(self._summary, running, ended)

    def _newly_ended(self) -> list[TrialRecord]:
        new = [n for n in ended_numbers(self.store, self.study) if n not in self._seen]
        found = [reads.trial(self.store, self.study, number) for number in new]
        self._seen.update(new)
        return found

    def _trial(self, progress: RunningTrial) -> TrialRecord:
        trial = self._known.get(progress.number)
        if trial is None:
            trial = reads.trial(self.store, self.study, progress.number)
            # Parameters are drawn one by one after the claim; an epoch comes after all of them.
            if progress.last is not None:
                self._known[progress.number] = trial
        return trial


class StoreFollower:
    """All studies of a store, for a line a trial that ends; one that is done costs nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._followers: dict[str, Follower] = {}
        self.look()

    def held_up(self, place: str) -> list[str]:
        """A sentence for each study whose rest plain Optuna runs.

        Raises:
            StoreError: the store fails.
        """
        studies = [each.study for each in self._followers.values() if each.unfinished]
        found = [(each, held_up(each, reads.counts(self.store, each))) for each in studies]
        return [f"{study.name} {pasteable(waits, place)}" for study, waits in found if waits]

    def look(self) -> list[tuple[Summary, TrialRecord]]:
        """The trials that have ended since the last look, each with its study.

        Raises:
            StoreError: the store fails.
        """
        found = []
        for row in reads.list_studies(self.store):
            follower = self._followers.get(row.uuid)
            if follower is None:
                study = find_study(self.store, row.name)
                if study is not None and row.ended < row.total:
                    self._followers[row.uuid] = Follower(self.store, study)
            elif row.ended != follower.ended:
                look = follower.look()
                found += [(look.summary, trial) for trial in look.ended]
        return found
