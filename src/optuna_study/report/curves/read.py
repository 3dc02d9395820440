"""What the loss curves of a study's trials say, read from its store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import FULL_BATCH, is_reference
from optuna_study.config.reasons import LOST, Diverged, DivergenceKind, Exploding, NonFinite
from optuna_study.config.settings import SECTION_OF, SECTIONS
from optuna_study.report.curves.advice import lower_rate
from optuna_study.report.curves.diagnosis import diagnose
from optuna_study.report.curves.patterns import Diagnosis, Expected, Pattern
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.reads.aggregates import newest_curves
from optuna_study.store.records import EndKind
from optuna_study.store.schema import CLASS_COUNTS
from optuna_study.training.divergence import Guessing, bias_gradient, chance_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord, TrialRecord

"""The key of a study's environment that holds its training pictures per class."""

"""The key of a study's environment that holds how many pictures each side of its split has."""

SCALED = ("he", "xavier", "default")
"""Initialisations whose weights are as small as the layers are wide."""

QUICK_TRIALS = 50
"""The most trials whose curves `show` reads: of 20 epochs each that takes 15 ms."""

QUICK_EPOCHS = 25_000
"""The most epochs that `show` reads: a quarter of a second where trials are of a thousand each."""


@dataclass(frozen=True)
class Reading:
    """A trial and what its curve says."""

    trial: TrialRecord
    diagnosis: Diagnosis


@dataclass(frozen=True)
class Newest:
    """What the curves of the `read` newest of a study's `recorded` curves say, by number."""

    readings: Sequence[Reading]
    read: int
    recorded: int

    @property
    def complete(self) -> bool:
        """Whether these are all that there are."""
        return self.read == self.recorded

    def tally(self) -> dict[str, int]:
        """How many trials show which pattern, by the patterns' order."""
        counted = Counter(each.diagnosis.pattern for each in self.readings)
        return {pattern.value: counted[pattern] for pattern in Pattern if counted[pattern]}


def read_trial(
    study: StudyRecord, trial: TrialRecord, curve: Sequence[EpochRecord]
) -> Diagnosis | None:
    """What a trial's curve says; None without a curve, or where chance level is not known.

    The epoch in which a trial diverges has no figures and is not stored: its end speaks for it.
    """
    counts: Sequence[int] | None = study.environment.get(CLASS_COUNTS)
    if not counts or not (curve or trial.end is EndKind.DIVERGED):
        return None
    found = diagnose(curve, expected(partial(_setting, study, trial), counts))
    divergence = trial.reason
    if not isinstance(divergence, Diverged):
        return found
    if divergence.kind in LOST:
        if isinstance(divergence, NonFinite | Exploding):
            rate = divergence.rate
        else:
            rate = curve[-1].lr if curve else float(_setting(study, trial, "lr"))
        return Diagnosis(Pattern.DIVERGING, divergence.message, lower_rate(rate))
    if found.pattern.is_finding:
        return found
    dead = divergence.kind is DivergenceKind.DEAD
    pattern = Pattern.DEAD if dead else Pattern.LR_TOO_LARGE
    return replace(found, pattern=pattern, cause=divergence.message, advice=_ADVICE[pattern])


def expected(setting: Callable[[str], Any], counts: Sequence[int]) -> Expected:
    """What the curve of a run with such settings, on so many pictures a class, is held against."""
    loss, pictures = str(setting("loss")), sum(counts)
    full_batch = setting("optimizer") in FULL_BATCH
    batch_size = pictures if full_batch else min(int(setting("batch_size")), pictures)
    sigmoid = "sigmoid" in (setting("mse_of"), setting("activation"))
    return Expected(
        guessing=Guessing(chance_loss(loss, counts), max(counts) / pictures),
        pictures=pictures,
        bias_gradient=partial(bias_gradient, loss, counts, batch_size, sigmoid=sigmoid),
        epochs=int(setting("epochs")),
        own_objective=is_reference(setting("objective")),
        scaled_weights=setting("initialisation") in SCALED,
        normalised=setting("normalisation") not in ("none", "lrn"),
    )


def read_study(
    store: Store,
    study: StudyRecord,
    *,
    first: int = 0,
) -> list[Reading]:
    """What the curves of a study's trials say from number `first` on, by number.

    Raises:
        StoreError: the store fails.
    """
    if not study.environment.get(CLASS_COUNTS):
        return []
    curves = aggregates.curves(store, study, first=first)
    readings = []
    for trial in reads.trials(store, study, first=first):
        found = read_trial(study, trial, curves.get(trial.number, ()))
        if found is not None:
            readings.append(Reading(trial, found))
    return readings


def read_newest(store: Store, study: StudyRecord) -> Newest:
    """`read_study` of as many of the newest trials as `show` has time for.

    Raises:
        StoreError: the store fails.
    """
    if not study.environment.get(CLASS_COUNTS):
        return Newest((), 0, 0)
    # A comparison's rows count the patterns of all their runs, which are some dozens.
    most = study.budget if study.definition.get("only") else QUICK_TRIALS
    newest, recorded = newest_curves(store, study, most)
    through = accumulate(epochs for _, epochs in newest)
    chosen = [
        number
        for (number, _), epochs in zip(newest, through, strict=True)
        if epochs <= QUICK_EPOCHS
    ]
    if not chosen:
        return Newest((), 0, recorded)
    return Newest(read_study(store, study, first=chosen[-1]), len(chosen), recorded)


_ADVICE = {
    Pattern.DEAD: "Take another activation or initialisation, or a lower learning rate.",
    Pattern.LR_TOO_LARGE: "Lower the learning rate threefold, or take larger batches.",
}


def _setting(study: StudyRecord, trial: TrialRecord, name: str) -> Any:
    """A setting of a trial, without building its whole configuration."""
    section = SECTION_OF[name]
    # A study may have been made before there was such a setting.
    base = study.definition["config"][section].get(name, getattr(SECTIONS[section], name))
    return trial.fixed.get(name, trial.parameters.get(name, base))
