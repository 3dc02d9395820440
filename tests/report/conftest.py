from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from records import result, trial  # noqa: F401 - fixtures

from optuna_study.paths import Workspace
from optuna_study.report.figures import losses
from optuna_study.report.figures.predictions import (
    FILE,
    Mistakes,
    Outputs,
    Plane,
    Predictions,
    to_bytes,
)
from optuna_study.store.importances import Importance
from optuna_study.store.queue import queue
from optuna_study.store.records import Artifact, End, EndKind
from optuna_study.store.studies.studies import save_importances

if TYPE_CHECKING:
    from collections.abc import Callable

BEST = {"activation": "tanh", "lr": 0.003, "dropout": 0.25}


def make_predictions(classes: tuple[str, ...] = ("a", "<b>")) -> Predictions:
    """Answers on ten pictures of two classes, three of them wrong, and on a plane."""
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    truths, answers = np.array([0, 1]), np.array([1, 0])
    plane = np.zeros((256, 256), np.uint8)
    plane[:, 128:] = 1
    return Predictions(
        classes=classes,
        confusion=np.array([[4, 1], [2, 3]]),
        mistakes=Mistakes(images, truths, answers, np.array([0.9, 0.75])),
        plane=Plane(
            plane,
            np.full((256, 256), 255, np.uint8),
            np.array([[10, 20, 0], [200, 20, 1]], np.uint8),
        ),
        outputs=Outputs(19, images[0], 1, np.array([0.25, 0.5], np.float32)),
    )


def make_losses() -> losses.Losses:
    """Two steps a point, after ten of which nothing is known."""
    rows = [(3.0, 2.5, 3.5), (1.0, 0.5, 2.0), (0.5, 0.25, 0.75)]
    return losses.Losses(2, 10, np.array(rows, np.float32))


@pytest.fixture
def predictions() -> Predictions:
    return make_predictions()


@pytest.fixture
def kept_losses() -> losses.Losses:
    return make_losses()


@pytest.fixture(scope="session")
def finished_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("finished") / "storage")


@pytest.fixture(scope="session")
def finished_study(store_study: Callable[..., Any], finished_workspace: Workspace) -> Any:
    """The study `small` at its end, for tests that read: six trials, the last one the best."""
    workspace = finished_workspace
    stored_study = store_study(workspace.root.parent)
    stored_study.run([0.25, 0.5, 0.6])
    stored_study.run([0.2], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    for accuracies, rate in (([0.3, 0.4, 0.55], 0.01), ([0.2, 0.6, 0.7], 0.002)):
        stored_study.run(accuracies, parameters={"activation": "relu", "lr": rate, "dropout": 0.1})
    stored_study.run([0.1], EndKind.PRUNED, reason="below the median", parameters=BEST)
    claim = stored_study.start([0.5, 0.7, 0.8], BEST)
    workspace.artifacts.mkdir(parents=True)
    workspace.artifact("answers").write_bytes(to_bytes(make_predictions()))
    workspace.artifact("losses").write_bytes(losses.to_bytes(make_losses()))
    named = (
        Artifact("answers", FILE, "application/octet-stream"),
        Artifact("losses", losses.FILE, "application/octet-stream"),
    )
    end = End(EndKind.COMPLETED, "all 3 epochs", 0.8, artifacts=named)
    queue.end(stored_study.store, claim, end)
    shares = {
        name: Importance(4, share, share / 2, share)
        for name, share in {"lr": 0.7, "activation": 0.2, "dropout": 0.1}.items()
    }
    save_importances(stored_study.store, stored_study.study, shares, 4)
    return stored_study
