"""What a database saw of a storm: it writes down itself, by triggers, what happens to trials.

So a trial that ended twice cannot hide behind its last state.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import text

from optuna_study.store.reads import aggregates, reads
from optuna_study.store.records import EndKind, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord, TrialRecord

ENDED = "NEW.state IN ('COMPLETE', 'PRUNED', 'FAIL')"
WATCHED = {  # what is noted: the table, the column that changes, when
    "end": ("trials", "state", ENDED),
    "strike": ("optuna_study_trials", "strikes", "NEW.strikes > OLD.strikes"),
}


def watch(store: Store) -> None:
    """Let the database note every end and every strike."""
    with store.write() as connection:
        connection.execute(text("CREATE TABLE storm (what TEXT, number INTEGER)"))
        note = "INSERT INTO storm VALUES ('{}', NEW.number);"
        for what, (table, column, when) in WATCHED.items():
            event = f"CREATE TRIGGER storm_{what} AFTER UPDATE OF {column} ON {table} FOR EACH ROW"
            body = note.format(what)
            if store.is_sqlite:
                connection.execute(text(f"{event} WHEN {when} BEGIN {body} END"))
                continue
            function = f"CREATE FUNCTION storm_{what}() RETURNS trigger LANGUAGE plpgsql AS"
            connection.execute(text(f"{function} $$BEGIN {body} RETURN NEW; END$$"))
            connection.execute(text(f"{event} WHEN ({when}) EXECUTE FUNCTION storm_{what}()"))


def counted(
    store: Store,
    study: StudyRecord,
    undisturbed: Callable[[TrialRecord], Sequence[EpochRecord]],
) -> dict[str, int]:
    """What became of a study; `undisturbed` gives the curve that a trial has without a storm.

    `ends_written` counts changes to an ended state, `strikes` deaths without a new checkpoint;
    `confirmed_twice` seeds that a finalist had more than once;
    a trial that was pruned or diverged is as undisturbed when it is so as far as it got.
    """
    trials = reads.trials(store, study)
    with store.read() as connection:
        events = connection.execute(text("SELECT what, number FROM storm")).all()
    ends = Counter(number for what, number in events if what == "end")
    curves = aggregates.curves(store, study)
    confirming = Counter(
        (trial.confirms, trial.seed) for trial in trials if trial.confirms is not None
    )
    resumed = {trial.number for trial in trials if trial.claims > 1}
    as_undisturbed = {
        trial.number
        for trial in trials
        if trial.end in (EndKind.COMPLETED, EndKind.PRUNED, EndKind.DIVERGED)
        and _figures(curves[trial.number]) == _figures(undisturbed(trial)[: trial.epochs])
    }
    return {
        "ended": sum(trial.end is not None for trial in trials),
        "completed": sum(trial.end is EndKind.COMPLETED for trial in trials),
        "pruned": sum(trial.end is EndKind.PRUNED for trial in trials),
        "diverged": sum(trial.end is EndKind.DIVERGED for trial in trials),
        "running": sum(trial.state is TrialState.RUNNING for trial in trials),
        "waiting": sum(trial.state is TrialState.WAITING for trial in trials),
        "missing": len(set(range(study.budget)) - {trial.number for trial in trials}),
        "ends_written": sum(ends.values()),
        "ended_twice": sum(times > 1 for times in ends.values()),
        "confirmation_runs": sum(confirming.values()),
        "confirmed_twice": sum(times > 1 for times in confirming.values()),
        "claims": sum(trial.claims for trial in trials),
        "strikes": sum(what == "strike" for what, _ in events),
        "failed_by_strikes": sum(trial.end is EndKind.FAILED for trial in trials),
        "epochs": sum(map(len, curves.values())),
        "as_undisturbed": len(as_undisturbed),
        "resumed": len(resumed),
        "resumed_as_undisturbed": len(resumed & as_undisturbed),
    }


def _figures(curve: Sequence[EpochRecord]) -> list[tuple[float, ...]]:
    """A curve without the seconds it took."""
    return [
        (each.epoch, each.value, each.train_loss, each.validation_loss, each.lr) for each in curve
    ]
