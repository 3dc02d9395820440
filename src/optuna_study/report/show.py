"""What `show` prints, from the store: one study or one trial, for people or for programs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from optuna_study.report import formats, load, pages, rows
from optuna_study.report.curves import read
from optuna_study.report.figures import predictions
from optuna_study.report.figures.confusion import confusion_table
from optuna_study.report.summary import has_settings
from optuna_study.store.reads import reads

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord, TrialRecord


def show_study(store: Store, study: StudyRecord, form: str, place: str = "") -> str:
    """One study as text, JSON or YAML."""
    newest = read.read_newest(store, study)
    # A comparison counts patterns by row: a part of them would look like the whole.
    summary = load.load_summary(store, study, newest.readings if newest.complete else ())
    row = rows.summary_row(summary) | {
        "curves": newest.tally(),
        "curves_read": newest.read,
        "curves_recorded": newest.recorded,
    }
    return formats.render(form, row, pages.study_page(summary, load.now(), newest, place))


def show_trial(
    store: Store, study: StudyRecord, number: int, workspace: Workspace, form: str
) -> str:
    """One trial as text, JSON or YAML.

    Raises:
        NotFoundError: there is none with this number.
    """
    trial = reads.trial(store, study, number)
    curve = reads.epochs(store, study, number)
    settings = _settings(study, trial)
    log = load.trial_log(workspace, study, trial)
    diagnosis = read.read_trial(study, trial, curve)
    found = predictions.find_predictions(store, workspace, trial.trial_id)
    confused = None if found is None else found.confusion.tolist()
    row = rows.trial_row(trial) | {
        "settings": settings,
        "curve": rows.epoch_rows(curve),
        "diagnosis": diagnosis and dataclasses.asdict(diagnosis),
        "traceback": trial.traceback,
        "worker": trial.owner,
        "claims": trial.claims,
        "resumed_elsewhere": trial.resumed_elsewhere,
        "log": log,
        "classes": None if found is None else list(found.classes),
        "confusion": confused,
    }
    drawn = None if found is None else confusion_table(found.classes, confused or ())
    page = pages.trial_page(study, trial, curve, settings, log, diagnosis, drawn)
    return formats.render(form, row, page)


def _settings(study: StudyRecord, trial: TrialRecord) -> dict[str, Any]:
    if not has_settings(trial):
        return {}
    # Imported here: a study's own page needs no configuration, and is to be quick.
    from optuna_study.config.settings import get_setting
    from optuna_study.report.export import telling_settings, trial_config

    config = trial_config(study, trial)
    return {name: get_setting(config, name) for name in telling_settings(study, trial)}
