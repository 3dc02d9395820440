"""The job of plain_loops.py by Ray Tune, as its guide has it: ASHA, and Optuna's TPE to propose.

The trainable is P1's loop, a trial at a time on one core in a local Ray of this process. ASHA is
left as it comes: it gives trials up, which the other sides do not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from plain_loops import BATCH, EPOCHS, floats, net, p1_step

if TYPE_CHECKING:
    from pathlib import Path

    from plain_loops import Split


def train(config: dict[str, Any], split: Split) -> None:
    """One trial; an accuracy is reported after each epoch."""
    from ray import tune

    torch.set_num_threads(1)
    model, name = net(split, config["dropout"]), config["optimizer"]
    options = {} if name == "RMSprop" else {"fused": True}  # torch has no fused one
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=config["lr"], **options)
    images, labels = floats(split.train[0]), torch.from_numpy(split.train[1]).long()
    held_out, truth = floats(split.validation[0]), torch.from_numpy(split.validation[1]).long()
    for _ in range(EPOCHS):
        model.train()
        order = torch.randperm(len(labels))
        for batch in order[: len(labels) // BATCH * BATCH].view(-1, BATCH).unbind():
            p1_step(model, optimizer, images[batch], labels[batch])
        model.eval()
        with torch.no_grad():
            right = (model(held_out).argmax(dim=1) == truth).float().mean().item()
        tune.report({"accuracy": right})


def search(split: Split, trials: int, place: Path) -> float:
    """The best accuracy of so many trials."""
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
        return float(best["accuracy"])
    finally:
        ray.shutdown()
