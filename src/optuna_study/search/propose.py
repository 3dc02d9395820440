"""From a claim to the configuration it is to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.config.catalogue import import_reference
from optuna_study.config.settings import with_settings
from optuna_study.definition.model import SAMPLERS
from optuna_study.search import suggest
from optuna_study.seeds import second_seed
from optuna_study.space.space import build
from optuna_study.store.engine import optuna_bridge
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.rows import external_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.storages import BaseStorage

    from optuna_study.config.settings import Scalar, TrainConfig
    from optuna_study.definition.model import Definition
    from optuna_study.search.samplers import StudySampler
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import Claim, StudyRecord


@dataclass(frozen=True)
class Proposal:
    """What a trial is to train; or not, where the end of the trial number `known` is its own."""

    config: TrainConfig
    known: int | None = None


def propose(
    store: Store,
    storage: BaseStorage,
    study: StudyRecord,
    definition: Definition,
    claim: Claim,
) -> Proposal:
    """The configuration of a claimed trial; parameters that it lacks are drawn and stored.

    A baseline, a confirmation run, a trial that fine-tunes and one that was released have theirs
    and cost no sampler. Built from what is stored, whatever was drawn. Where a sampler proposes
    what an ended trial had it is asked once more.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    parameters: Mapping[str, Scalar] | None = None
    known: int | None = None
    if not claim.proposed:
        parameters = reads.trial(store, study, claim.number).parameters
    elif claim.resumed:
        parameters = _stored(store, study, definition, claim)
        if parameters is not None and not claim.checkpoint_epoch:
            optuna_bridge.read_trials(store, storage, study)
            out = aggregates.excluded(store, study)
            found = storage.get_all_trials(study.study_id, deepcopy=False)
            known = optuna_bridge.find_alike((t for t in found if t.number not in out), parameters)
    if parameters is None:
        parameters, known = _draw(store, storage, study, definition, claim)
    assert parameters is not None
    config = build(definition.config, definition.space, parameters, claim.fixed)
    return Proposal(with_settings(config, {"seed": claim.seed}), known)


def _stored(
    store: Store, study: StudyRecord, definition: Definition, claim: Claim
) -> dict[str, Scalar] | None:
    """A trial's parameters when all that the space asks for are stored, else None."""
    return suggest.stored(definition.space, reads.trial(store, study, claim.number).parameters)


def startup_trials(study: StudyRecord, definition: Definition) -> int:
    """How many trials are spread over the space: at most a quarter of those that are searched.

    As many as the file says in a study made before that was so.
    """
    asked = definition.search.startup_trials
    return min(asked, study.budget // 4) if study.searched_budget else asked


def _draw(
    store: Store,
    storage: BaseStorage,
    study: StudyRecord,
    definition: Definition,
    claim: Claim,
) -> tuple[dict[str, Scalar] | None, int | None]:
    """Ask a sampler made for this trial, and write all that it draws at once.

    What is stored, as whoever reads it later finds it; and the number of an ended trial that had
    the same, when a second sampler draws what is known, too.
    """

    def ask(seed: int) -> tuple[optuna_bridge.Draft, int | None]:
        sampler: StudySampler = import_reference(SAMPLERS[definition.search.sampler])(
            seed,
            claim.number,
            baselines=len(definition.planned),
            startup=startup_trials(study, definition),
            names=[leaf.name for leaf in definition.space.leaves()],
        )
        draft = optuna_bridge.Draft(storage, study, sampler, claim, out, sampler.learns_from)
        return draft, draft.alike(definition.space.suggest(suggest.drawing(draft.trial)))

    out = aggregates.excluded(store, study)
    draft, known = ask(study.seed)
    if known is not None:
        draft, known = ask(second_seed(study.seed))
    queue.write_parameters(store, claim, draft.parameters, draft.attributes)
    drawn = {
        each.name: external_parameter(each.internal_value, each.distribution_json)
        for each in draft.parameters
    }
    return suggest.stored(definition.space, {**draft.stored, **drawn}), known
