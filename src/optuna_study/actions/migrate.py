"""Bring a study under a changed definition, with the trials that are still valid."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.actions import copy
from optuna_study.actions.exclude import renew
from optuna_study.definition.migration import Carried, carry, incomparable
from optuna_study.definition.names import bare_name
from optuna_study.definition.read import find_study_file, read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import definition_hash, diff, to_json
from optuna_study.errors import UsageError
from optuna_study.launch.prepare import planned_trials
from optuna_study.launch.signals import interruptible
from optuna_study.store.engine.open import open_store
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.records import StudyRecord, TrialRecord, TrialState
from optuna_study.store.studies.copying import Identity, artifact_ids
from optuna_study.store.studies.migration import NewForm, Plan, free_name, migrate_rows
from optuna_study.store.studies.studies import load_study
from optuna_study.text import Advice, count
from optuna_study.worker.versions import pinned_definition, require_same_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store

MOST_REASONS = 10  # that are told; there may be one for each trial


@dataclass(frozen=True)
class Migration:
    """A migration that has been worked out, and of which nothing is written yet."""

    study: StudyRecord
    plan: Plan
    changes: Sequence[str]
    reasons: Mapping[str, int]  # why trials are excluded, and how many for it

    @property
    def lines(self) -> list[str]:
        """What would change, for people."""
        told = [f"  {line}" for line in self.changes]
        excluded = sum(self.reasons.values())
        kept = len(self.plan.trials) - excluded
        told.append(f"{count(kept, 'trial')} of {len(self.plan.trials)} carried over.")
        if excluded:
            told.append(f"{count(excluded, 'trial')} excluded, and counted in the budget:")
            shown = list(self.reasons.items())
            told += [f"  {amount}: {why}" for why, amount in shown[:MOST_REASONS]]
            rest = sum(amount for _, amount in shown[MOST_REASONS:])
            told += [f"  {rest} for other reasons"] if rest else []
        if self.plan.planned:
            names = ", ".join(each.baseline for each in self.plan.planned)
            told.append(f"{count(len(self.plan.planned), 'new baseline')}: {names}.")
        told.append(f"Budget: {count(self.plan.budget, 'trial')}.")
        told.append(f"The study as it is stays as {self.plan.old_name}.")
        return told


def work_out(store: Store, study: StudyRecord, file: str) -> Migration:
    """What a study would be under another definition, that of a study file.

    Raises:
        NotFoundError: no such file.
        StudyFileError: a file with problems.
        UsageError: nothing has changed, the trials could not be compared with those to come, or
            some of them run.
        OtherVersionError: another version of this package has made the study.
    """
    require_same_version(study)
    old = pinned_definition(study)
    if old.only is not None:
        raise UsageError(
            f"{study.name}: compares baselines and searches nothing",
            "launch the changed file with --name",
        )
    new = _new_definition(study, old, file)
    changes = diff(old, new)
    if not changes:
        raise UsageError(f"{file}: is what {study.name} searches already", "launch it")
    if reasons := incomparable(old, new):
        raise UsageError(
            f"{study.name}: its trials do not compare with those of {file}: {'; '.join(reasons)}",
            "make another study with `launch --name`",
        )
    trials = reads.trials(store, study)
    running = sum(trial.state is TrialState.RUNNING for trial in trials)
    if running:
        raise UsageError(
            f"{study.name}: {count(running, 'trial')} running",
            Advice(["pause", study.name], ", wait for the end of what runs, and try again"),
        )
    carried = _carry_all(old, new, trials, aggregates.finetuned(store, study))
    # A baseline that somebody left out by hand is not asked for again; one that fits no more is.
    kept = {each.baseline for each in trials if carried[each.number].why in (None, each.excluded)}
    plan = Plan(
        new=_identity(new),
        old_name=free_name(store, study),
        trials={each.number: _form(new, each, carried[each.number]) for each in trials},
        planned=[each for each in planned_trials(new) if each.baseline not in kept],
        seen={each.number: each.state for each in trials},
        budget=_budget(study, old, new),
    )
    told = Counter(each.why for each in carried.values() if each.why is not None)
    return Migration(study, plan, changes, dict(told.most_common()))


def carry_out(store: Store, workspace: Workspace, migration: Migration) -> Advice:
    """Write a migration, files first; what was done.

    Raises:
        UsageError: the study was worked on meanwhile; nothing was written.
        FolderError: the files cannot be copied.
        DiskFullError: no space left for them.
        InterruptedBySignalError: SIGINT, SIGTERM or SIGHUP; nothing was written.
        StoreError: the store fails.
    """
    study, plan = migration.study, migration.plan
    artifacts = artifact_ids(store, study)
    with closing(open_store(store.address)) as target, interruptible("nothing changed") as go_on:
        try:
            copy.copy_folder(workspace, study, workspace, plan.new)
            copy.copy_artifacts(workspace, workspace, plan.new, artifacts)
            go_on()
            migrate_rows(store, study, target, plan)
        except BaseException:
            go_on()
            copy.remove_files(workspace, plan.new, artifacts)
            raise
    renew(store, load_study(store, plan.new.name), study.measured_importances is not None)
    return Advice(
        f"{plan.new.name} has its new definition; as it was, it is {plan.old_name}; ",
        ["show", plan.new.name],
        " says where it stands, launching its file goes on.",
    )


def _new_definition(study: StudyRecord, old: Definition, file: str) -> Definition:
    """The file's definition in the study's variant, under the study's name."""
    read = read_study_file(find_study_file(file))
    name = bare_name(study.name)
    return resolve(
        read,
        old.profile,
        stand_in=old.stand_in is not None and old.config.data.name == old.stand_in,
        name=None if name == read.name else name,
        threads=old.config.train.threads,
        image_size=old.config.data.image_size,
    )


def _identity(new: Definition) -> Identity:
    return Identity(new.name, str(uuid.uuid4()), json.dumps(to_json(new)), definition_hash(new))


def _carry_all(
    old: Definition,
    new: Definition,
    trials: Sequence[TrialRecord],
    origins: Mapping[int, int],
) -> dict[int, Carried]:
    """Every trial under the new definition; one left out before stays so.

    `origins` are the trials whose settings those of a second stage go on from.
    """
    carried: dict[int, Carried] = {}
    for trial in trials:
        first = carried.get(trial.confirms) if trial.confirms is not None else None
        found = first or carry(old, new, trial.parameters, trial.fixed, trial.baseline)
        why = found.why if found.why is not None else trial.excluded
        origin = carried.get(origins.get(trial.number, -1))
        if why is None and origin is not None and origin.why is not None:
            why = f"goes on from trial {origins[trial.number]}, which is excluded"
        carried[trial.number] = Carried(found.parameters, found.fixed, why)
    return carried


def _form(new: Definition, trial: TrialRecord, carried: Carried) -> NewForm:
    from optuna_study.search.suggest import to_store

    rows = to_store(new.space, carried.parameters) if carried.parameters else ()
    has_own = trial.baseline is not None or bool(trial.fixed)
    return NewForm(rows, carried.fixed, carried.why, has_own)


def _budget(study: StudyRecord, old: Definition, new: Definition) -> int:
    """What was asked for last: the file's number where that has changed."""
    return study.budget if old.search.trials == new.search.trials else new.search.trials
