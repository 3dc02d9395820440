"""Records as rows for JSON, YAML and CSV, their fields named as `optuna` names them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from optuna_study.report import values
from optuna_study.report.summary import reason
from optuna_study.store.pareto import second_metric
from optuna_study.store.records import EndKind
from optuna_study.store.schema import NEIGHBOURS, OWNER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.report.summary import Summary
    from optuna_study.store.records import EpochRecord, StudyRow, TrialRecord
    from optuna_study.training.model_file import Prediction


def trial_row(trial: TrialRecord) -> dict[str, Any]:
    """A trial; `duration` is from its first claim to its end, `epochs` how many it reported."""
    return {
        "number": trial.number,
        "state": trial.state,
        "value": trial.value,
        "params": dict(trial.parameters),
        "datetime_start": values.moment(trial.started),
        "datetime_complete": values.moment(trial.completed),
        "duration": values.elapsed(trial.started, trial.completed),
        "reason": reason(trial),
        "baseline": trial.baseline,
        "seed": trial.seed,
        "epochs": trial.epochs,
        "confirms": trial.confirms,
        "excluded": trial.excluded,
        "reuses": trial.reuses,
        "second_value": trial.second_value,
    }


def study_row(study: StudyRow) -> dict[str, Any]:
    """A study in a list of them."""
    return {
        "name": study.name,
        "direction": study.direction.upper(),
        "n_trials": study.ended + study.running + study.waiting,
        "datetime_start": values.moment(study.created),
        "state": study.state,
        "budget": study.budget,
        "total": study.total,
        "ended": study.ended,
        "running": study.running,
        "waiting": study.waiting,
        "metric": study.metric,
        "best": study.best,
        "data": study.data_source,
        "last_activity": values.moment(study.last_activity),
        "priority": study.priority,
        "halted": study.halted,
        "owner": study.owner,
    }


def prediction_row(prediction: Prediction) -> dict[str, Any]:
    """A picture's class and the probability of every class, or why it has none."""
    return {
        "image": str(prediction.image),
        "class": prediction.label,
        "probabilities": dict(prediction.probabilities),
        "problem": prediction.problem,
    }


def summary_row(summary: Summary) -> dict[str, Any]:
    """Everything `show` says of a study."""
    from optuna_study.report.comparison.page import claim_rows, group_rows
    from optuna_study.report.confirmation.page import guessing, verdict_row
    from optuna_study.report.pareto.page import front_rows

    study, counts = summary.study, summary.counts
    return {
        "name": study.name,
        "uuid": study.uuid,
        "owner": study.environment.get(OWNER),
        "state": study.state,
        "direction": study.direction.upper(),
        "metric": study.metric,
        "data": study.data_source,
        "fingerprint": study.fingerprint,
        "seed": study.seed,
        "budget": study.budget,
        "total": study.total,
        "priority": study.priority,
        "halted": study.halted,
        "ended": counts.ended,
        "searched": counts.searched,
        "confirmation_runs": counts.confirmations,
        "running": counts.running,
        "waiting": counts.waiting,
        "ends": {kind.value: counts.ends.get(kind, 0) for kind in EndKind},
        "plain": sum(counts.plain.values()),
        "excluded": [{"number": n, "reason": why} for n, why in summary.excluded.items()],
        "datetime_start": values.moment(study.created),
        "seconds_left": summary.seconds_left,
        "guessing": guessing(study),
        "nearest_neighbours": study.environment.get(NEIGHBOURS),
        "best": trial_row(summary.best) if summary.best else None,
        "figures": figures_row(summary),
        "validation_pictures": summary.validation_pictures,
        "verdict": verdict_row(summary.confirmation),
        "second_metric": second_metric(study),
        "front": front_rows(summary),
        "best_baseline": trial_row(summary.best_baseline) if summary.best_baseline else None,
        "baselines": [
            {"group": trial.group, "reported": summary.reported.get(trial.baseline or "")}
            | trial_row(trial)
            for trial in summary.baselines
        ],
        "comparison": group_rows(summary.comparison),
        "claims": claim_rows(summary.comparison),
        "importances": study.importances,
        "importance_intervals": {
            name: dataclasses.asdict(each)
            for name, each in (study.measured_importances or {}).items()
        },
        "importances_at": values.moment(study.importances_at),
        "importances_trials": study.importances_trials,
        "environment": dict(study.environment),
    }


def figures_row(summary: Summary) -> dict[str, Any] | None:
    """All that was measured of the winner on the validation pictures; None before there is one."""
    if summary.figures is None or summary.winner is None:
        return None
    measured = {name: getattr(summary.figures, name) for name in values.MEASURES}
    return {"trial": summary.winner.number, "epoch": summary.figures.epoch, **measured}


def epoch_rows(curve: Sequence[EpochRecord]) -> list[dict[str, Any]]:
    """A trial's curve, an epoch a row."""
    return [dataclasses.asdict(epoch) for epoch in curve]
