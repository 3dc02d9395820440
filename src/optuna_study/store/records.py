"""What the store holds, as frozen values; free of Optuna, torch and SQL.

Times are UTC seconds since 1970. Numbers of trials count from 0 within a study, epochs from 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.config.reasons import Reason
    from optuna_study.store.importances import Importance


class TrialState(StrEnum):
    """Optuna's trial states, spelled as its store and its command line spell them."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


class EndKind(StrEnum):
    """The ways in which a trial ends; each is stored with its reason."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    FAILED = "failed"

    @property
    def state(self) -> TrialState:
        """The Optuna state; an infeasible end is never COMPLETE, which might be called best."""
        if self is EndKind.COMPLETED:
            return TrialState.COMPLETE
        return TrialState.FAIL if self is EndKind.FAILED else TrialState.PRUNED

    @property
    def infeasible(self) -> bool:
        """Whether the end is stored with a violated constraint, so that samplers keep away."""
        return self in (EndKind.DIVERGED, EndKind.OUT_OF_MEMORY)


class StudyState(StrEnum):
    """What a study's workers are told."""

    ACTIVE = "active"
    PAUSED = "paused"
    STOPPING = "stopping"


@dataclass(frozen=True)
class StoredParameter:
    """One parameter as Optuna stores it: the distribution's internal value and its JSON."""

    name: str
    internal_value: float
    distribution_json: str


@dataclass(frozen=True)
class PlannedTrial:
    """A baseline, stored as waiting when its study is made.

    `fixed` are settings that are no parameters: outside the space on purpose, or not searched.
    """

    baseline: str
    group: str
    parameters: tuple[StoredParameter, ...]
    fixed: Mapping[str, Any]


@dataclass(frozen=True)
class Confirmation:
    """A confirmation still to come: so many of the best trials, each with so many fresh seeds."""

    top: int
    seeds: int
    early: bool = False  # once what runs has ended, whatever is left of the budget; then it stops
    again: bool = True  # where it is early: a search that goes on after it is confirmed at its end


@dataclass(frozen=True)
class NewStudy:
    """Everything that is written, in one transaction, when a study is made."""

    name: str
    direction: str  # "maximize" or "minimize"
    metric: str
    definition: Mapping[str, Any]  # the resolved definition as JSON
    definition_hash: str
    fingerprint: str  # of the data
    data_source: str  # folder, or the built-in data set's name; for people
    environment: Mapping[str, Any]  # versions, device, threads, instruction set
    seed: int
    budget: int
    planned: tuple[PlannedTrial, ...]
    priority: int = 0
    beside: int = 0  # of the planned trials, those that the budget does not count
    searched_budget: bool = False  # whether it counts searched trials alone
    confirm: Confirmation | None = None  # what is to be confirmed once the budget is met


@dataclass(frozen=True)
class StudyRecord:
    """A study as stored."""

    uuid: str
    study_id: int
    name: str
    direction: str
    metric: str
    definition: Mapping[str, Any]
    definition_hash: str
    fingerprint: str
    data_source: str
    environment: Mapping[str, Any]
    seed: int
    budget: int
    state: StudyState
    created: float
    measured_importances: Mapping[str, Importance] | None = None  # the largest first
    importances_at: float | None = None
    importances_trials: int | None = None
    priority: int = 0  # among studies that share workers; higher ones come first
    halted: bool = False  # too many trials failed in a row; being set active lets it go on
    going_since: float | None = None  # when it was last set active again
    beside: int = 0  # trials that the budget does not count
    searched_budget: bool = False  # False in studies made when budgets counted baselines
    confirm: Confirmation | None = None  # what is to be confirmed once the budget is met
    unconfirmed: bool = False  # whether `launch --no-confirm` asked for nothing of the kind

    @property
    def total(self) -> int:
        """All trials that are to end, as far as they are known by now."""
        return self.budget + self.beside

    @property
    def importances(self) -> dict[str, float] | None:
        """The shares of the parameters that enough trials had, the largest first."""
        if self.measured_importances is None:
            return None
        measured = self.measured_importances.items()
        return {name: each.share for name, each in measured if each.share is not None}

    @property
    def untold_importances(self) -> list[str]:
        """The parameters that too few trials had to tell how much they mattered."""
        measured = (self.measured_importances or {}).items()
        return [name for name, each in measured if each.share is None]

    def is_done(self, ended: int) -> bool:
        """Whether nothing is left to run once so many trials have ended."""
        return ended >= self.total and self.confirm is None


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a trial as stored.

    `value` is the study's metric, what Optuna calls the intermediate value; the last three are of
    the validation pictures, NaN in curves of earlier versions.
    """

    epoch: int
    value: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    gradient_norm: float
    seconds: float
    balanced_accuracy: float = math.nan
    macro_f1: float = math.nan
    log_loss: float = math.nan


@dataclass(frozen=True)
class TrialRecord:
    """A trial as stored.

    `parameters` are external values, `started` is its first claim, `worked` its seconds of
    training. `reason` is a sentence where the trial waits again, or an earlier version ended it.
    """

    trial_id: int
    number: int
    state: TrialState
    value: float | None
    parameters: Mapping[str, Any]
    fixed: Mapping[str, Any]
    baseline: str | None
    group: str | None
    seed: int | None
    end: EndKind | None
    reason: Reason | str | None
    traceback: str | None
    started: float | None
    completed: float | None
    worked: float
    epochs: int  # reported so far
    claims: int
    strikes: int
    owner: str | None
    lease_until: float | None
    checkpoint_epoch: int
    checkpoint_claim: int | None  # whose checkpoint stands, as `Claim.ordinal`; None: an old one
    resumed_elsewhere: bool  # continued on other hardware, so exempt from bit equality
    confirms: int | None = None  # the number of the trial that this one trains again
    excluded: str | None = None  # why somebody left it out of everything
    second_value: float | None = None  # of a completed one, in a study of two objectives

    @property
    def reuses(self) -> int | None:
        """The number of the trial whose known end it was given, not being trained again."""
        from optuna_study.config.reasons import Reused  # 15 ms that not everybody needs

        return self.reason.trial if isinstance(self.reason, Reused) else None


@dataclass(frozen=True)
class Claim:
    """The right to run one trial; a write without its token, or with a stale one, is refused."""

    study_uuid: str
    study_id: int
    trial_id: int
    number: int
    token: str
    baseline: str | None
    fixed: Mapping[str, Any]
    seed: int
    checkpoint_epoch: int
    ordinal: int = 1  # of the trial's claims; names this owner's files
    checkpoint_claim: int | None = None  # the ordinal of the owner whose checkpoint stands
    confirms: int | None = None  # the number of the trial that it trains again
    retried: int = 0  # times that it was begun anew after an exception

    @property
    def searched(self) -> bool:
        """Whether the budget counts it: it is no baseline and no confirmation run."""
        return self.baseline is None and self.confirms is None

    @property
    def proposed(self) -> bool:
        """Whether a sampler proposes its parameters; one that fine-tunes has all its settings."""
        return self.searched and not self.fixed

    @property
    def resumed(self) -> bool:
        """Whether it was claimed before: a checkpoint may be there."""
        return self.ordinal > 1


@dataclass(frozen=True)
class Artifact:
    """A file in Optuna's artifact store; it belongs to nothing until a trial's end names it."""

    artifact_id: str
    filename: str
    mimetype: str
    encoding: str | None = None


@dataclass(frozen=True)
class ComparedRun:
    """A run of a baseline; accuracies are fractions of its last epoch, None where unknown.

    `end` is None before it has ended; `test_accuracy` is there only in a comparison.
    """

    number: int
    baseline: str
    end: EndKind | None
    reason: Reason | str | None
    train_accuracy: float | None
    validation_accuracy: float | None
    test_accuracy: float | None


@dataclass(frozen=True)
class ConfirmationRun:
    """A run of the trial number `confirms` on a fresh seed.

    `end` is None before it has ended. `value` is the study's metric at its end, `test_accuracy`
    a fraction of the held-out pictures; both are None unless it completed.
    """

    number: int
    confirms: int
    seed: int
    end: EndKind | None
    value: float | None
    test_accuracy: float | None


class NoTrialReason(StrEnum):
    """Why a claim gave nothing."""

    BUDGET_MET = "budget_met"  # the ended trials have reached the budget: the study is done
    BUDGET_TAKEN = "budget_taken"  # its rest is running elsewhere: wait, one may come back
    WAITS_FOR_OTHERS = "waits_for_others"  # the next trial begins when some that run have ended
    PAUSED = "paused"
    STOPPING = "stopping"
    TOO_MANY_FAILURES = "too_many_failures"
    DELETED = "deleted"
    NOTHING_LEFT = "nothing_left"  # no study of the store has a trial to hand out
    NOT_HERE = "not_here"  # some have, but none of them can be worked on from here


@dataclass(frozen=True)
class End:
    """How a trial ended."""

    kind: EndKind
    reason: Reason | str
    value: float | None = None
    traceback: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)  # shown in the dashboard
    artifacts: tuple[Artifact, ...] = ()
    second_value: float | None = None  # of a completed one, in a study of two objectives


@dataclass(frozen=True)
class Counts:
    """A study's trials by how they stand; `plain` are ended ones that plain Optuna ran."""

    waiting: int
    running: int
    ends: Mapping[EndKind, int]
    plain: Mapping[TrialState, int]
    plain_running: int = 0  # of those that run, the ones that no worker of ours holds
    baselines: int = 0  # of those that ended
    confirmations: int = 0  # of those that ended
    first_stage: int = 0  # of those that run at our workers', the ones that a sampler proposed

    @property
    def ended(self) -> int:
        """Trials that have ended for good."""
        return sum(self.ends.values()) + sum(self.plain.values())

    @property
    def searched(self) -> int:
        """Those of them that a sampler proposed, plain Optuna's among them."""
        return self.ended - self.baselines - self.confirmations


@dataclass(frozen=True)
class StudyRow:
    """One study in a list of them; `best` is the best value of a completed trial."""

    uuid: str
    study_id: int
    name: str
    direction: str
    metric: str
    state: StudyState
    budget: int
    data_source: str
    created: float
    last_activity: float
    waiting: int
    running: int
    ended: int
    best: float | None
    priority: int = 0
    halted: bool = False
    beside: int = 0  # trials that the budget does not count
    owner: str | None = None

    @property
    def total(self) -> int:
        """All trials that are to end, as far as they are known by now."""
        return self.budget + self.beside


@dataclass(frozen=True)
class RunningTrial:
    """A trial at work, for the live table; `values` are the metric's last ones, oldest first."""

    number: int
    owner: str | None
    lease_until: float | None
    epochs: int  # that it is to have
    last: EpochRecord | None
    values: tuple[float, ...]
