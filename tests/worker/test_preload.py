"""What only the server that workers are forked from may import."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

UNUSED = [
    "alembic",
    "pandas",
    "plotly",
    "psycopg",
    "scipy",
    "sklearn",
    "tensorboard",
    "torchvision",
    "torch._dynamo",
]
BEGIN = """
import gc
import signal
import sys

import optuna
import optuna_study.worker.preload

for number in (signal.SIGHUP, signal.SIGTERM):
    signal.raise_signal(number)
print("alive", gc.get_freeze_count() > 100_000, gc.isenabled())
from optuna.distributions import FloatDistribution
from torch import nn, ones

from optuna_study.config.catalogue import OPTIMIZERS
from optuna_study.config.settings import TrainSettings
from optuna_study.search.importance import FEWEST, measure
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.training.optimizers import build_optimizer, restore

optuna_storage(open_store(sys.argv[1])).get_all_studies()
trials = [
    optuna.trial.create_trial(
        value=rate, params={"lr": rate}, distributions={"lr": FloatDistribution(0, 1)}
    )
    for rate in (each / FEWEST for each in range(FEWEST))
]
assert measure(trials, "maximize")["lr"].share == 1
for name in (name for name, entry in OPTIMIZERS.items() if entry.reference.startswith("torch.")):
    layer = nn.Linear(2, 1)
    optimizer = build_optimizer(TrainSettings(optimizer=name, lr=0.1), layer)
    layer(ones(3, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    restore(optimizer, optimizer.state_dict())
print([name for name in sys.argv[2:] if name in sys.modules])

from optuna_study.training.backbone.timm_models import build_timm
from optuna_study.config.settings import ModelSettings

sizes = {"channels": 3, "image_size": 32, "classes": 2}
model = build_timm(ModelSettings(name="timm:tf_efficientnet_lite0"), **sizes).eval()
print([name for name in sys.modules if name.startswith("torch._dynamo")])

from importlib.util import find_spec

from torchvision.ops import roi_align

picture, box = ones(1, 1, 4, 4), ones(1, 5) * 3
box[0, :3] = 0
assert roi_align(picture, box, 2).tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]
print(find_spec("torch._dynamo") is not None)  # whoever compiles has the compiler itself
"""


def test_collecting_doctests_leaves_the_tests_open_to_sigterm() -> None:
    """In a run of everything, the modules of src were collected before this."""
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN


def test_the_server_leaves_with_a_launch_that_ends_while_it_imports(tmp_path: Path) -> None:
    server = (
        "import os, time\n"
        "from optuna_study.worker.forking import leaving_with_parent\n"
        "with leaving_with_parent(0.01):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    launch = (
        "import subprocess, sys\n"
        f"server = subprocess.Popen([sys.executable, '-c', {server!r}], stdout=subprocess.PIPE)\n"
        "print(server.stdout.readline().decode(), end='', flush=True)\n"
    )
    # Whoever waits for its errors waits for the server as well, which has the same pipe.
    done = subprocess.run(
        [sys.executable, "-c", launch], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip().isdecimal(), done.stderr


@pytest.fixture(scope="module")
def begun(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a server said that did as workers do."""
    store = shutil.copy(sqlite_template, tmp_path_factory.mktemp("begun"))
    done = subprocess.run(
        [sys.executable, "-c", BEGIN, f"sqlite:///{store}", *UNUSED],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_server_outlives_a_closed_terminal_and_the_end_of_its_group(begun: list[str]) -> None:
    """And what it has imported is no worker's to look through for garbage."""
    assert begun[0] == "alive True True"


@pytest.mark.slow
def test_a_worker_begins_without_what_it_does_not_use(begun: list[str]) -> None:
    """Each of these takes from a fifth of a second to two and a half to import."""
    assert begun[1:] == ["[]", "[]", "True"]
