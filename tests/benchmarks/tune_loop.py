"""The job of plain_loops.py by Ray Tune, as its guide has it: ASHA, and Optuna's TPE to propose.

The trainable is P1's loop, a trial at a time on one core in a local Ray of this process. ASHA is
left as it comes: it gives trials up, which the other sides do not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from plain_loops import EPOCHS, net, new_optimizer, p1_epochs

if TYPE_CHECKING:
    from pathlib import Path

    from plain_loops import Split


def train(config: dict[str, Any], split: Split) -> None:
    """One trial; an accuracy is reported after each epoch."""
    from ray import tune

    torch.set_num_threads(1)
    model = net(split, config["dropout"])
    optimizer = new_optimizer(model, config["optimizer"], config["lr"], fused=True)
    for accuracy in p1_epochs(model, optimizer, split):
        tune.report({"accuracy": accuracy})


def search(split: Split, trials: int, place: Path) -> tuple[float, list[float]]:
    """The best accuracy of so many trials, and when each ended."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    ray.init(
        num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING
    )
    try:
        results = tune.Tuner(
            tune.with_resources(tune.with_parameters(train, split=split), {"cpu": 1}),
            param_space={
                "dropout": tune.uniform(0.0, 0.5),
                "optimizer": tune.choice(["Adam", "RMSprop", "SGD"]),
                "lr": tune.loguniform(1e-4, 0.1),
            },
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                search_alg=OptunaSearch(),
                scheduler=ASHAScheduler(max_t=EPOCHS),
                num_samples=trials,
                max_concurrent_trials=1,
            ),
            run_config=tune.RunConfig(storage_path=str(place), verbose=0),
        ).fit()
        best = results.get_best_result().metrics
        assert best is not None
        last = [results[number].metrics for number in range(len(results))]
        return float(best["accuracy"]), [each["timestamp"] for each in last if each]
    finally:
        ray.shutdown()
