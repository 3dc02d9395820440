"""A forked process's side of trying out how many workers a device bears."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.errors import OptunaStudyError
from optuna_study.training import loop
from optuna_study.training.device import free_memory, peak_memory, pick_device, read_numbers
from optuna_study.training.device_data import load_data
from optuna_study.worker.messages import Message, Probed, Word

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from optuna_study.config.settings import TrainConfig
    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.training.device_data import DeviceData

WARM_UP = 0.5  # seconds: libraries load their kernels at first use
WINDOW = 2.0  # seconds that are counted


def respond(
    control: Connection[Probed | Message, None],
    definition: Definition,
    folder: Path | None,
    workspace: Workspace,
    device: str,
) -> None:
    """Get warm, say so, and train when told; keep the memory until the launch has heard of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launch ends this process when it is ended
    try:
        place, config = pick_device(device), definition.config
        data = load_data(config.data, folder, workspace, place, config.train.memory_format)
        train_for(WARM_UP, config, data, place)
        control.send(Probed(0, WARM_UP, peak_memory(place), free_memory(place)))
        control.recv()
        steps, seconds = train_for(WINDOW, config, data, place)
        control.send(Probed(steps, seconds, peak_memory(place), free_memory(place)))
        control.recv()
    except EOFError:
        pass  # heard
    except Exception as error:  # noqa: BLE001 - out of memory, or whatever a model of one's own raises
        text = f"{type(error).__name__}: {error}"
        control.send(Message(Word.ERROR, text, OptunaStudyError.__name__))


def train_for(
    seconds: float, config: TrainConfig, data: DeviceData, device: torch.device
) -> tuple[int, float]:
    """Train, from the start again where a run ends before; the steps done and the time taken."""
    began = time.perf_counter()
    steps = 0
    while time.perf_counter() - began < seconds:
        run = loop.prepare(config, data, device)

        def count(*_: Any, stop: Any = run.stop) -> None:
            nonlocal steps
            steps += 1
            if time.perf_counter() - began >= seconds:
                stop.set()

        run.optimizer.register_step_post_hook(count)
        for _ in loop.epochs(run):
            pass
    read_numbers(torch.zeros(1, device=device))  # the steps are queued: wait for the last
    return steps, time.perf_counter() - began
