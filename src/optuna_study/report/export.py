"""A trial's complete training configuration, with where it comes from and what it reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.config.settings import SECTION_OF, TrainConfig, get_setting, with_settings
from optuna_study.config.text import Format, config_text
from optuna_study.definition.serialise import from_json
from optuna_study.errors import NotFoundError, UsageError
from optuna_study.paths import writing, written_beside
from optuna_study.report import values
from optuna_study.report.confirmation.page import load_confirmation
from optuna_study.report.summary import has_settings
from optuna_study.space.space import build
from optuna_study.store.reads import reads
from optuna_study.store.reads.provenance import provenance, recorded
from optuna_study.store.records import EpochRecord, StudyRecord, TrialRecord, TrialState
from optuna_study.store.schema import OWNER
from optuna_study.text import Advice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from optuna_study.store.engine.connection import Store


def trial_config(study: StudyRecord, trial: TrialRecord) -> TrainConfig:
    """The configuration that a trial trains, its seed included.

    Raises:
        NotFoundError: the trial has not drawn its parameters yet.
    """
    definition = from_json(study.definition)
    if not has_settings(trial) and trial.state in _OPEN:
        raise NotFoundError(
            f"trial {trial.number} of '{study.name}' has no configuration yet; "
            "wait until it has started"
        )
    config = build(definition.config, definition.space, trial.parameters, trial.fixed)
    return config if trial.seed is None else with_settings(config, {"seed": trial.seed})


def telling_settings(
    study: StudyRecord, trial: TrialRecord, other: TrainConfig | None = None
) -> list[str]:
    """The settings worth showing of a trial: the searched, and those differing from `other`.

    `other` is the study's own configuration where None: what the trial has of its own differs.
    """
    definition = from_json(study.definition)
    space, other = definition.space, other or definition.config
    config = trial_config(study, trial)
    searched = [
        dimension.setting
        for dimension in space.dimensions
        if space.applies(dimension, trial.parameters)
    ]
    differing = [
        name
        for name in SECTION_OF
        if name not in (*searched, "seed")
        and get_setting(config, name) != get_setting(other, name)
    ]
    return searched + differing


def export(
    study: StudyRecord, trial: TrialRecord, curve: Sequence[EpochRecord], form: Format
) -> str:
    """The configuration of a trial as the text of a file that `train` reads.

    Raises:
        NotFoundError: the trial has not drawn its parameters yet.
    """
    config = trial_config(study, trial)
    origin = provenance(study, trial.number, trial.baseline) | {
        "value": trial.value,
        "ended": values.moment(trial.completed),
        "environment": _environment(study, config),
        "resumed_elsewhere": trial.resumed_elsewhere,
    }
    return config_text(config, origin, recorded(study, trial.value, curve), form)


def preferred(store: Store, study: StudyRecord, prefer: str) -> int:
    """The number of the trial that suits best in a study of two objectives (`pareto.choose`).

    Raises:
        UsageError: the study has no such objective, or one alone.
        NotFoundError: no trial has completed yet.
    """
    from optuna_study.report.load import load_summary
    from optuna_study.report.pareto.choice import choose

    return choose(load_summary(store, study), prefer)


def _environment(study: StudyRecord, config: TrainConfig) -> dict[str, Any]:
    """Where a trial ran, as far as the study's record tells; one may have its own threads."""
    recorded = {name: value for name, value in study.environment.items() if name != OWNER}
    own = {"threads": config.train.threads} if config.train.threads else {}
    return {**recorded, **own} if "threads" in recorded else recorded


def export_trial(store: Store, study: StudyRecord, number: int | None, form: Format) -> str:
    """The configuration of one trial of a store; when none is named, of the confirmed best.

    Raises:
        NotFoundError: no such trial, or no trial has completed yet.
    """
    trial = find_best(store, study) if number is None else reads.trial(store, study, number)
    if trial is None:
        raise NotFoundError(
            f"no trial of '{study.name}' has completed",
            Advice("name one with --trial N, ", ["trials", study.name], " lists them"),
        )
    trial = trained(store, study, trial)
    return export(study, trial, reads.epochs(store, study, trial.number), form)


def trained(store: Store, study: StudyRecord, trial: TrialRecord) -> TrialRecord:
    """The trial itself, or the one whose known end it was given: the one that has a seed's curve.

    Raises:
        NotFoundError: the study is gone.
    """
    return trial if trial.reuses is None else reads.trial(store, study, trial.reuses)


def find_best(store: Store, study: StudyRecord) -> TrialRecord | None:
    """The best trial: by its confirmation runs, without such by the search."""
    confirmation = load_confirmation(store, study)
    confirmed = None if confirmation is None else confirmation.winner
    return confirmed or reads.best(store, study)


FORMS: dict[str, Format] = {
    "": "toml",
    ".toml": "toml",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
}


def form_of(output: Path | None) -> Format:
    """The form that a file's name asks for, TOML where it has no ending.

    >>> from pathlib import Path
    >>> form_of(Path("best.yml")), form_of(None)
    ('yaml', 'toml')

    Raises:
        UsageError: the ending is of something else.
    """
    ending = "" if output is None else output.suffix.lower()
    if ending not in FORMS:
        raise UsageError(
            f"{output}: a configuration's file ends in .toml, .yaml or .json; or give its --format"
        )
    return FORMS[ending]


def write(output: Path, text: str) -> None:
    """Write a configuration file; nobody reads half of it.

    Raises:
        FolderError: it cannot be written.
        DiskFullError: no space left.
    """
    with writing(output), written_beside(output) as beside:
        beside.write_text(text, encoding="utf-8")


_OPEN = (TrialState.WAITING, TrialState.RUNNING)
