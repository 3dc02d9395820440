"""From a claim to the configuration it is to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import import_reference
from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.definition.model import SAMPLERS
from optuna_study.search import suggest
from optuna_study.space.space import build
from optuna_study.store.engine import optuna_bridge
from optuna_study.store.reads import reads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.storages import BaseStorage

    from optuna_study.config.settings import Scalar
    from optuna_study.definition.model import Definition
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import Claim, StudyRecord


def propose(
    store: Store,
    storage: BaseStorage,
    study: StudyRecord,
    definition: Definition,
    claim: Claim,
) -> TrainConfig:
    """The configuration of a claimed trial; parameters that it lacks are drawn and stored.

    A baseline, and a trial that was given back, have theirs and cost no sampler.
    """
    known: Mapping[str, Any] = {}
    if claim.baseline is not None or claim.resumed:
        known = reads.trial(store, study, claim.number).parameters
    parameters: Mapping[str, Scalar] | None = known
    if claim.baseline is None:
        parameters = suggest.stored(definition.space, known) if known else None
        if parameters is None:
            parameters = _draw(storage, study, definition, claim)
    assert parameters is not None
    config = build(definition.config, definition.space, parameters, claim.fixed)
    return with_settings(config, {"seed": claim.seed})


def _draw(
    storage: BaseStorage, study: StudyRecord, definition: Definition, claim: Claim
) -> dict[str, Scalar]:
    """Ask a sampler made for this trial; each parameter is stored as it is drawn."""
    make = import_reference(SAMPLERS[definition.search.sampler])
    sampler = make(
        study.seed,
        claim.number,
        baselines=len(definition.planned),
        startup=definition.search.startup_trials,
        names=[leaf.name for leaf in definition.space.leaves()],
    )
    trial = optuna_bridge.optuna_trial(storage, study, sampler, claim)
    return definition.space.suggest(suggest.drawing(trial))
