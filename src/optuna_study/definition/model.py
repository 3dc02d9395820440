"""What a study file says, as frozen values, and what is made of it for one profile; no logic.

Vocabulary: a *study file* holds the study for every profile; a *definition* is what one study
runs: the profile's overrides applied, breakpoints scaled to its epochs, every baseline checked.
The definition is what the store pins.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, dataclass, field
from typing import TYPE_CHECKING, Any

from optuna_study.config.epoch import COSTS
from optuna_study.config.epoch import DIRECTIONS as FIGURE_DIRECTIONS
from optuna_study.config.settings import (
    SECTIONS,
    Field,
    Setting,
    TrainConfig,
    setting,
    with_settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from optuna_study.space.dimensions import Dimension
    from optuna_study.space.space import Space

SAMPLERS: Mapping[str, str] = {
    "tpe": "optuna_study.search.samplers:tpe",
    "random": "optuna_study.search.samplers:random",
    "gp": "optuna_study.search.samplers:gp",
    "cmaes": "optuna_study.search.samplers:cmaes",
    "qmc": "optuna_study.search.samplers:qmc",
    "nsgaii": "optuna_study.search.samplers:nsgaii",
}
"""The names `search.sampler` may have, each with the function that makes a trial's sampler."""

MISSING_CMAES = "needs the package cmaes: `pip install 'optuna-study[cmaes]'`"

PRUNERS: Mapping[str, str] = {
    "rungs": "optuna_study.search.pruner:decide",
    "none": "optuna_study.search.pruner:never",
}
"""The names of our own `search.pruner`, each with the function that decides."""

OPTUNAS_PRUNERS: Mapping[str, str] = {
    "median": "optuna_study.search.optuna_pruners:median",
    "percentile": "optuna_study.search.optuna_pruners:percentile",
    "successive_halving": "optuna_study.search.optuna_pruners:successive_halving",
    "hyperband": "optuna_study.search.optuna_pruners:hyperband",
}
"""The further names, Optuna's own, each with the function that makes one for so many epochs."""

DIRECTIONS: Mapping[str, str] = {"accuracy": "maximize", **FIGURE_DIRECTIONS}
"""The metrics a study may have, each with the direction that is better."""

RECORDED_AS: Mapping[str, str] = {
    "accuracy": "validation_accuracy",
    "seconds": "prediction_seconds",
}
"""Metrics that studies have under another name, the one that tells what is measured."""

PROFILES = ("full", "cpu")

DATA_KEYS: Mapping[str, str] = {
    "folder": "Pictures of one's own, a folder a class; a relative one is relative to this file.",
    "stand_in": "Built-in data taken when the pictures are absent; the study's name then says so.",
}
"""What `[data]` may hold besides its settings, each with the sentence that documents it."""

TOP_LEVEL_KEYS: Mapping[str, str] = {
    "title": "What the study is called where there is room.",
    "source": "Where its idea comes from.",
    "data": "Which pictures, at which size, changed how.",
    "model": "The architecture, and what is fixed of it.",
    "train": "Hyperparameters as far as they are fixed, and what a search starts from.",
    "search": "What is optimised, by what, for how long.",
    "space": "What is searched: an entry a setting.",
    "baselines": "Configurations chosen by hand, which run first and must be beaten.",
    "claims": "What the source says of two baselines, for a comparison to test.",
    "profile": "A smaller version of the study: [profile.cpu], for machines without a GPU.",
}
"""What a study file may hold, each with the sentence that documents it."""

PINNED = frozenset(
    {
        *("image_size", "fit", "group", "seed", "threads", "memory_format"),
        *("evaluation_batch_size", "epoch", "precision"),
    }
)
"""Settings that are the same for every trial of a study: trials share data and device."""

FREE_SEARCH_KEYS = frozenset({"trials", "timeout", "confirm", "retries", "outputs_of"})
"""What may change from one launch to the next: budgets, what errors lead to, what is kept."""


@dataclass(frozen=True)
class Confirm:
    """What of a search's best is trained again, so that its figures are no luck."""

    top: int = setting(
        3,
        "How many of the best searched trials are trained again, with the best baseline, once the "
        "budget is met; 0 for none.",
        low=0,
        high=100,
    )
    seeds: int = setting(
        3, "Fresh seeds for each of them; one that can no longer win gets fewer.", low=1, high=100
    )


@dataclass(frozen=True)
class Finetune:
    """The second stage of a search: its best settings again, with more of the network learning.

    `settings` take the place of theirs, and so do values from `space`, spread evenly over it: so
    few trials teach no sampler, and none learns from them.
    """

    trials: int = setting(
        0,
        "The last so many of the searched trials, at most half of them; 0 for none.",
        low=0,
        high=10**6,
    )
    top: int = setting(
        2, "They take the settings of so many of the best before them, by turns.", low=1, high=100
    )
    settings: Mapping[str, Setting] = field(
        default_factory=dict,
        metadata={
            "doc": "Settings that take the place of those, such as `train_layers`, by their bare "
            "names."
        },
    )
    space: tuple[Dimension, ...] = field(
        default=(),
        metadata={
            "doc": "What else these trials try, an entry a setting as in `[space]`: values spread "
            "evenly over it."
        },
    )


@dataclass(frozen=True)
class SearchSettings:
    """What is optimised, by what, for how long."""

    metric: str = setting(
        "validation_accuracy",
        "Figure of the validation pictures that trials are compared by, taken at the epoch whose "
        "weights are kept (`epoch`): accuracy (also validation_accuracy); balanced_accuracy, the "
        "classes' mean recall; macro_f1, their mean F1 score; log_loss, the mean negative "
        "logarithm of the true class's probability, which compares trials of different losses; or "
        "validation_loss, the loss they train by.",
        choices=tuple(DIRECTIONS),
    )
    second_metric: str | None = setting(
        None,
        'What the metric is weighed against; `metric = ["accuracy", "seconds"]` says both at '
        "once. seconds (also prediction_seconds) are those that the trained model takes for 1,000 "
        "pictures; parameters are the whole model's, frozen ones among them; or another metric. "
        "The trials than which none is better in both make the Pareto front. The pruner must be "
        "none, as it then is where it is not named.",
        choices=(*COSTS, "seconds", *DIRECTIONS),
    )
    trials: int = setting(
        50,
        "Searched trials, over all workers and resumes; baselines and confirmation runs come on "
        "top.",
        low=1,
        high=10**6,
    )
    timeout: float | None = setting(
        None, "Seconds after which a launch hands out no further trial.", low=1.0, high=1e9
    )
    sampler: str = setting(
        "tpe",
        "What proposes trials, by the names that Optuna's samplers have: tpe (multivariate and "
        "grouped), random, gp, cmaes (with the package of that name), qmc or nsgaii.",
        choices=tuple(SAMPLERS),
    )
    pruner: str = setting(
        "rungs",
        "What gives up trials early, by the metric that they are ranked by: rungs (the better "
        "half goes on at a few epochs), none, or by the names that Optuna's pruners have: median, "
        "percentile (the best quarter), successive_halving or hyperband (one in three goes on).",
        choices=(*PRUNERS, *OPTUNAS_PRUNERS),
    )
    seed: int = setting(
        0, "Seed of the whole study; every trial's follows from it.", low=0, high=2**63 - 1
    )
    startup_trials: int = setting(
        8, "Trials spread over the space before the sampler learns from any.", low=0, high=10**6
    )
    stop_after_failures: int = setting(
        5, "Failed trials in a row that stop the study.", low=1, high=10**6
    )
    retries: int = setting(
        1,
        "Times that a trial which raised an exception is tried again, from its last checkpoint, "
        "before it counts as failed.",
        low=0,
        high=100,
    )
    stop_without_improvement: int | None = setting(
        None,
        "Ended trials without a new best that end the search: trials of [search.finetune] follow "
        "where there are any, the best are confirmed, then the study stops; going on after a stop "
        "counts anew.",
        low=1,
        high=10**6,
    )
    trial_timeout: float | None = setting(
        None, "Seconds of training after which a trial is ended.", low=1.0, high=1e9
    )
    outputs_of: int | None = setting(
        None,
        "Training picture whose outputs are kept with baselines and the best few trials (`plot "
        "STUDY outputs`): its place in the order of the study's training pictures, from 0.",
        low=0,
        high=10**9,
    )
    confirm: Confirm = Confirm()
    finetune: Finetune = Finetune()

    @property
    def direction(self) -> str:
        """Whether the metric is to be maximised or minimised, as Optuna says it."""
        return DIRECTIONS[self.metric]


MEASURES = ("test_accuracy", "train_accuracy")
"""What a source's figure may be of: the held-out pictures, or those trained on."""

ONLY_BASELINES = "baselines"
"""What `Definition.only` says of a study that searches nothing."""


@dataclass(frozen=True)
class Figure:
    """What a source measured: one of MEASURES, and the fraction of pictures answered right."""

    measure: str
    value: float = setting(MISSING, "The fraction.", low=0.0, high=1.0, legal="a fraction of 1")


@dataclass(frozen=True)
class Baseline:
    """A hand-chosen configuration, which a search runs first if it is `in_search`.

    `settings` may name any setting but pinned ones. Those in `outside` lie outside the space on
    purpose: the whole trial is then stored without parameters, so that no sampler learns from it.
    """

    name: str = setting(MISSING, "What it is called in tables; names are unique.")
    group: str = setting("", "Baselines that belong together, as in a table of an article.")
    settings: Mapping[str, Setting] = field(
        default_factory=dict,
        metadata={
            "doc": "Settings by their bare names; what is not named is as in the sections above."
        },
    )
    reported: str = setting("", "What the source saw, in words.")
    outside: tuple[str, ...] = setting(
        (),
        "Settings that lie outside the space on purpose; such a baseline is run and shown, but "
        "teaches the sampler nothing.",
    )
    figure: Figure | None = setting(
        None,
        "What the source measured, a fraction of pictures: `{test_accuracy = 0.87}` or "
        "`{train_accuracy = 0.996}`.",
    )
    rank: int | None = setting(
        None,
        "Its place in the source's own order within its group, 1 the best; equal places are not "
        "distinguished. Without any, figures rank.",
        low=1,
        high=10**18,
        legal="1 for the best, or more",
    )
    in_search: bool = setting(
        True,
        "Whether the search starts from it, as it does by default; one that does not is trained "
        "by `--only baselines` alone.",
    )


@dataclass(frozen=True)
class Statement:
    """What a source says of two baselines: that `better` is ahead by a measure of MEASURES.

    With `within` it says that they hardly differ: by less than that, a fraction of pictures.
    """

    text: str = setting(MISSING, "What the source claims, in words.")
    better: str = setting(MISSING, "The baseline that it has ahead, of any group.")
    worse: str = setting(MISSING, "The one that it has behind.")
    measure: str = setting(
        MEASURES[0], "What they are compared by: `test_accuracy`, or `train_accuracy`."
    )
    within: float | None = setting(
        None,
        "For a claim that the two hardly differ: how far apart they may be, a fraction of "
        "pictures such as 0.02.",
        low=1e-9,
        high=1 - 1e-9,
        legal="a fraction of 1",
    )


@dataclass(frozen=True)
class Profile:
    """What a profile changes: settings and search settings by name, and whole dimensions."""

    settings: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    space: tuple[Dimension, ...] = ()


@dataclass(frozen=True)
class StudyFile:
    """A study file, read and checked; `config` is the full profile's."""

    name: str
    path: Path | None
    title: str
    source: str
    folder: str | None
    stand_in: str | None
    config: TrainConfig
    search: SearchSettings
    space: tuple[Dimension, ...]
    baselines: tuple[Baseline, ...]
    statements: tuple[Statement, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()  # by the launch, as NAME=VALUE


@dataclass(frozen=True)
class Definition:
    """One study, complete: what the store pins and every worker reads.

    `name` is the variant's, `study` the study file's. `config` holds what is not searched, and the
    values that conditional dimensions fall back to. `only` is ONLY_BASELINES for a controlled
    comparison of the baselines over several seeds, which searches nothing; `fixed` are settings
    that the launch gave over the file, as NAME=VALUE.
    """

    name: str
    study: str
    profile: str
    title: str
    source: str
    folder: str | None
    stand_in: str | None
    config: TrainConfig
    search: SearchSettings
    space: Space
    baselines: tuple[Baseline, ...]
    only: str | None = None
    statements: tuple[Statement, ...] = ()
    fixed: tuple[str, ...] = ()

    @property
    def planned(self) -> tuple[Baseline, ...]:
        """The baselines that are trained: all for a comparison, else those in the search."""
        return tuple(one for one in self.baselines if self.only or one.in_search)

    @property
    def second_stage(self) -> TrainConfig | None:
        """The base configuration as the search's last trials change it, None without such."""
        stage = self.search.finetune
        return with_settings(self.config, stage.settings) if stage.trials else None


def section_fields(section: str) -> dict[str, Field]:
    """The settings of a section by name: data, model, train, search or a table of it."""
    tables = {"search": SearchSettings, "search.confirm": Confirm, "search.finetune": Finetune}
    fields = dataclasses.fields({**tables, **SECTIONS}[section])
    return {entry.name: entry for entry in fields if entry.metadata}
