"""A storm: workers killed again and again while a study runs; nothing may be lost or run twice.

`python tests/benchmarks/storm.py --store sqlite --store postgres`. Prints one line of JSON about
the machine and one for each store; `evidence.py` says what the figures are. Dead workers' trials
come back by their leases alone, as if the workers' machine had gone. With `--freeze-every` and
`--freeze-draws` workers stand still past their leases, the latter while they draw parameters, and
come back to trials that are others' by then. The best are confirmed, under fire, too.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from bare_worker import Desk
from crew import run_crew
from evidence import counted, watch
from numpy_training import NumpyTraining
from stand import KINDS, fresh_store, machine, make_study, say

from optuna_study.artifacts.retention import take_over
from optuna_study.config.settings import with_settings
from optuna_study.definition.serialise import from_json
from optuna_study.paths import Workspace
from optuna_study.search.objective import to_record
from optuna_study.search.pruner import decide, never
from optuna_study.space.space import build
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import Draft
from optuna_study.store.records import Confirmation

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from bare_worker import Epochs

    from optuna_study.config.epoch import EpochResult
    from optuna_study.config.settings import TrainConfig
    from optuna_study.store.records import Claim, EpochRecord, StudyRecord, TrialRecord

STUDY = """
title = "Spirals, told apart by a net in NumPy"
[data]
name = "spiral"
image_size = 1
[model]
name = "mlp"
[train]
epochs = {epochs}
threads = 1
[search]
trials = {trials}
startup_trials = 10
pruner = "none"
[space]
lr = {{low = 1e-3, high = 0.5, log = true}}
momentum = {{low = 0.5, high = 0.95}}
batch_size = {{low = 16, high = 64}}
"""

TALLY = "epochs"  # a file


@dataclass(frozen=True)
class Counted:
    """A training run that leaves one byte in a file for every epoch trained, lost or not."""

    training: NumpyTraining
    tally: Path

    def epochs(self) -> Iterator[EpochResult]:
        for result in self.training.epochs():
            with self.tally.open("ab") as file:
                file.write(b".")
            yield result

    def save(self) -> None:
        self.training.save()


def begin(
    config: TrainConfig,
    claim: Claim,
    stop: threading.Event,
    *,
    workspace: Workspace,
    epoch_seconds: float,
) -> tuple[Epochs, int]:
    path = workspace.checkpoint(claim.study_uuid, claim.number, claim.ordinal)
    if claim.resumed:
        take_over(workspace, claim)
    training = NumpyTraining(config, path, stop, epoch_seconds)
    after = training.resume() if claim.resumed else 0
    return Counted(training, workspace.root / TALLY), after


def storm(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one study under fire, and count what became of it."""
    with fresh_store(kind) as (url, folder):
        store = open_store(url, create=True)
        file = STUDY.format(epochs=arguments.epochs, trials=arguments.trials)
        confirm = Confirmation(arguments.confirm, arguments.confirm) if arguments.confirm else None
        study = make_study(store, folder, file, arguments.trials, confirm)
        watch(store)
        store.close()
        start = partial(begin, workspace=Workspace(folder), epoch_seconds=arguments.epoch_seconds)

        def work(_place: int) -> None:
            if arguments.freeze_draws:
                freeze_in_draws(arguments.freeze_draws)
            decides = decide if arguments.prune else never
            Desk(url, study.name, start, arguments.lease, decides).work()

        ran = run_crew(
            arguments.workers,
            work,
            kill_every=arguments.kill_every or None,
            freeze_every=arguments.freeze_every or None,
            frozen_for=arguments.frozen_for,
            seed=arguments.seed,
        )
        figures = {
            "store": kind,
            "seconds": round(ran.seconds, 1),
            "kills": ran.kills,
            "freezes": ran.freezes,
            "failed_workers": ran.failed,
            "epochs_trained": (folder / TALLY).stat().st_size,
            **counted(store, study, partial(undisturbed, study)),
        }
        store.close()
        return figures


def freeze_in_draws(share: float) -> None:
    """Let this process stop itself in the middle of so many of its draws."""
    keep = Draft.set_trial_param

    def freeze(draft: Draft, trial_id: int, name: str, value: float, kind: Any) -> None:
        keep(draft, trial_id, name, value, kind)
        if len(draft.parameters) == 1 and random.random() < share:
            os.kill(os.getpid(), signal.SIGSTOP)

    mock.patch.object(Draft, "set_trial_param", freeze).start()


def undisturbed(study: StudyRecord, trial: TrialRecord) -> list[EpochRecord]:
    """The curve of a trial's parameters and seed, trained here in one go."""
    definition = from_json(study.definition)
    config = build(definition.config, definition.space, trial.parameters, {})
    assert trial.seed is not None
    training = NumpyTraining(with_settings(config, {"seed": trial.seed}))
    return [to_record(each, study.metric) for each in training.epochs()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=KINDS, action="append", required=True)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--epoch-seconds", type=float, default=0.03)
    parser.add_argument("--kill-every", type=float, default=2.0, help="seconds")
    parser.add_argument("--freeze-every", type=float, default=0.0, help="seconds")
    parser.add_argument("--freeze-draws", type=float, default=0.0, help="share of them")
    parser.add_argument("--frozen-for", type=float, default=0.0, help="seconds")
    parser.add_argument("--lease", type=float, default=3.0, help="seconds")
    parser.add_argument("--prune", action="store_true", help="give trials up at the rungs")
    parser.add_argument(
        "--confirm", type=int, default=3, help="so many of the best, on so many fresh seeds each"
    )
    parser.add_argument("--seed", type=int, default=1, help="of who is killed")
    arguments = parser.parse_args()
    say(**machine(), **{key: value for key, value in vars(arguments).items() if key != "store"})
    for kind in arguments.store:
        say(**storm(kind, arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
