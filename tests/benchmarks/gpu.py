"""What a GPU has to show, in one go: `python tests/benchmarks/gpu.py > table.md`.

Within eight minutes on a machine with nothing but this repository, torch and what it needs: the
tests that need CUDA, the bandwidth of a copy, steps beside the plain loop's and as training
replays them, what the next trial of a shape waits for, several processes at once, precisions, a
search of small nets, and `alexnet_pokemon` at its full profile, each called and as CUDA graphs.
Steps are timed by the wall, the device waited for at their end. What fails is a row that says so,
and so is what there was no time for. Where torch finds no CUDA device it says so in a line and
exits with 2. `--device cpu --quick` runs the same pieces on little, calls standing in for graphs,
which shows that they work, and nothing else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from plain_loops import p1_step
from steps import ROOT, plain_optimizer
from suite import STUDY

from optuna_study.config.settings import with_settings
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.paths import Workspace
from optuna_study.text import in_one_line
from optuna_study.training import loop
from optuna_study.training.device import GRAPHS_VARIABLE, CudaGraphs, pick_device
from optuna_study.training.device_data import load_data, to_model_input
from optuna_study.training.steps import kept
from optuna_study.training.steps.captured import CapturedStep
from optuna_study.training.steps.step import step
from optuna_study.training.steps.stepper import stepper_of

sys.path.append(str(ROOT / "tests/support"))
from called_graphs import CalledGraphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from optuna_study.training.run import Run
    from optuna_study.training.steps.captured import Graphs

SECONDS = 480.0
STEPS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {  # study, profile, changes
    "spiral": ("spiral", "full", {}),
    "LeNet": ("lenet_cifar10", "full", {}),
    "VGG": ("vgg_cifar10", "full", {}),
    "AlexNet, 8 pictures": ("alexnet_pokemon", "full", {"batch_size": 8}),
    "AlexNet, 16 pictures": ("alexnet_pokemon", "full", {"batch_size": 16}),
    "AlexNet, 32 pictures": ("alexnet_pokemon", "full", {"batch_size": 32}),
}
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
SEEDS = 5

Row = tuple[str, str]


@dataclass(frozen=True)
class Bench:
    """Where it runs, on how much, and until when."""

    device: torch.device
    quick: bool
    until: float

    @property
    def steps(self) -> int:
        """Steps of a measurement."""
        return 4 if self.quick else 200

    def wait(self) -> None:
        """Wait for what the device was told to do."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def milliseconds(self, call: Callable[[], Any], times: int) -> float:
        """Median wall time of a call, from three rows of calls after one to warm up."""
        call()
        found = []
        for _ in range(3):
            self.wait()
            began = time.perf_counter()
            for _ in range(times):
                call()
            self.wait()
            found.append(1000 * (time.perf_counter() - began) / times)
        return statistics.median(found)


def prepared(bench: Bench, what: str, place: Path, **changes: Any) -> Run:
    """A run of a study's own net, on pictures that need no folder."""
    study, profile, own = STEPS[what]
    chosen = "cpu" if bench.quick else profile
    config = resolve(read_study_file(ROOT / f"studies/{study}.toml"), chosen).config
    config = with_settings(config, {"augmentation": "none", **own, **changes})
    if study != "spiral":
        config = replace(config, data=replace(config.data, name="rendered"))
    workspace = Workspace(place)
    data = load_data(config.data, None, workspace, bench.device, config.train.memory_format)
    return loop.prepare(config, data, bench.device)


def step_of(run: Run) -> Callable[[], Any]:
    """Our step on the same pictures each time."""
    pictures = torch.arange(run.pictures_per_step, device=run.device)
    noise = torch.Generator(run.device)
    run.model.train()
    return lambda: step(run, pictures, noise)


def replay_of(run: Run, device: torch.device) -> Callable[[], Any]:
    """The same step as training replays it, on the same pictures each time.

    Raises:
        Exception: it cannot be captured, or a replay is not what the step is.
    """
    graphs: Graphs = CalledGraphs() if device.type == "cpu" else CudaGraphs(device)
    captured = CapturedStep(run, graphs)
    captured.begin(1, run.config.train)
    captured.take_rates()

    def replay() -> None:
        captured.place.zero_()
        captured.take(captured.pictures)

    return replay


@contextmanager
def with_graphs(wanted: bool) -> Iterator[None]:
    """Within the block runs of this process, and of those it starts, use CUDA graphs or do not."""
    before = os.environ.get(GRAPHS_VARIABLE)
    os.environ[GRAPHS_VARIABLE] = "1" if wanted else "0"
    try:
        yield
    finally:
        del os.environ[GRAPHS_VARIABLE]
        if before is not None:
            os.environ[GRAPHS_VARIABLE] = before


def cuda_tests(bench: Bench, _place: Path) -> Iterator[Row]:
    """The tests that need a CUDA device."""
    chosen = ["-m", "cuda", str(ROOT / "tests")]
    if bench.device.type == "cpu":
        chosen = ["--collect-only", *chosen]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *chosen]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    yield "tests that need CUDA", (done.stdout.strip().splitlines() or ["no output"])[-1]


def bandwidth(bench: Bench, _place: Path) -> Iterator[Row]:
    """What a copy reaches, reading and writing counted: the floor of steps bound by memory."""
    numbers = torch.ones(2**20 if bench.quick else 2**28, device=bench.device)
    target = torch.empty_like(numbers)
    taken = bench.milliseconds(lambda: target.copy_(numbers), 10) / 1000
    yield "bandwidth of a copy", f"{2 * numbers.nbytes / taken / 1e9:,.0f} GB/s"


def steps(bench: Bench, place: Path) -> Iterator[Row]:
    """Ours, the plain loop's and ours as one graph, of each net."""
    for what in list(STEPS)[:2] if bench.quick else STEPS:
        run = prepared(bench, what, place)
        ours = bench.milliseconds(step_of(run), bench.steps)
        plain = prepared(bench, what, place)
        optimizer = plain_optimizer(plain.config.train, plain.model)
        size = plain.pictures_per_step
        images = to_model_input(plain.data.train_images[:size], plain.data)
        labels = plain.data.train_labels[:size]
        theirs = bench.milliseconds(
            lambda plain=plain, optimizer=optimizer, images=images, labels=labels: p1_step(  # type: ignore[misc]
                plain.model, optimizer, images, labels
            ),
            bench.steps,
        )
        said = f"{ours:.3g} ms; plain loop {theirs:.3g} ms ({ours / theirs:.2f})"
        said += f"; {graph_row(bench, what, place)}"
        yield f"a step, {what}", said


def graph_row(bench: Bench, what: str, place: Path) -> str:
    """What a step takes as a graph, or why it is none: steps go on without."""
    try:
        replay = replay_of(prepared(bench, what, place), bench.device)
        return f"as a graph {bench.milliseconds(replay, bench.steps):.3g} ms"
    except Exception as error:  # noqa: BLE001 - the row says so, and the others are worth having
        return f"no graph: {type(error).__name__}: {in_one_line(error)}"


def turnaround(bench: Bench, place: Path) -> Iterator[Row]:
    """From a run of the same shape before to the first step: model, optimizer, memory, graph."""
    for what in ("LeNet",) if bench.quick else ("LeNet", "AlexNet, 8 pictures"):
        first = prepared(bench, what, place)

        def begin(first: Run = first) -> None:
            stepper = stepper_of(loop.prepare(first.config, first.data, bench.device))
            stepper.begin(1)
            stepper.set_lr(first.config.train.lr)
            stepper.step(torch.arange(first.pictures_per_step, device=bench.device))

        for kind, wanted in (("called", False), ("a graph taken over", True)):
            kept.keep_steps()
            with with_graphs(wanted):
                taken = bench.milliseconds(begin, 1 if bench.quick else 5)
            kept.close()
            yield f"next run to its first step, {what}, {kind}", f"{taken:.3g} ms"


def packing(bench: Bench, place: Path) -> Iterator[Row]:
    """Steps a second of several processes on the same device."""
    seconds = 1.0 if bench.quick else 6.0
    for count in (1, 2) if bench.quick else (1, 2, 4):
        command = [sys.executable, __file__, "--device", str(bench.device), "--work", str(seconds)]
        command += ["--place", str(place), *(["--quick"] if bench.quick else [])]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
        said = [float(worker.communicate()[0] or "nan") for worker in workers]
        yield f"LeNet, {count} at once", f"{sum(said):,.0f} steps a second together"


def work(bench: Bench, place: Path, seconds: float) -> None:
    """Steps for some seconds, in a process that `packing` starts; how many a second."""
    step, count = step_of(prepared(bench, "LeNet", place)), 0
    step()
    bench.wait()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        step()
        count += 1
    bench.wait()
    sys.stdout.write(f"{count / (time.perf_counter() - began)}\n")


def precisions(bench: Bench, place: Path) -> Iterator[Row]:
    """Accuracies of the same seeds in each precision, single precision's first."""
    names = ("fp32", "bf16") if bench.device.type == "cpu" else PRECISIONS
    epochs, seeds = (1, 1) if bench.quick else (4, SEEDS)
    for name in names:
        found = []
        for seed in range(seeds):
            settings = {"precision": name, "seed": seed, "epochs": epochs}
            run = prepared(bench, "LeNet", place, **settings)
            found.append([each.validation_accuracy for each in loop.epochs(run)][-1])
        worst, best = min(found), max(found)
        said = f"{statistics.median(found):.1%} ({worst:.1%} to {best:.1%}, {seeds} seeds)"
        yield f"LeNet in {name}, {epochs} epochs", said


def launches(bench: Bench, place: Path) -> Iterator[Row]:
    """Whole commands: a search of small nets, then AlexNet at its full profile."""
    small = place / "beside.toml"
    small.write_text(STUDY, encoding="utf-8")
    studies = [("search of 12 small nets", small, list[str]())]
    if not bench.quick:
        file = ROOT / "studies/alexnet_pokemon.toml"
        studies.append(("alexnet_pokemon, full profile", file, ["--n-trials", "4"]))
    for what, study, options in studies:
        for number, kind in enumerate(("called", "as graphs")):
            own = place / f"{study.stem}-{number}"  # the same trials again, not the study so far
            with with_graphs(bool(number)):
                yield f"{what}, steps {kind}", launched(bench, own, study, options)


def launched(bench: Bench, place: Path, file: Path, options: list[str]) -> str:
    """How long a launch took, or that it was ended for want of time."""
    command = [sys.executable, "-m", "optuna_study", "launch", str(file), "--profile", "full"]
    command += ["--artifacts", str(place), "--device", str(bench.device), "--no-confirm", *options]
    began, left = time.perf_counter(), max(bench.until - time.perf_counter(), 1.0)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=left)
    except subprocess.TimeoutExpired:
        return f"ended after {left:.0f} s, not done"
    taken = time.perf_counter() - began
    if done.returncode:
        return f"failed: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
    return f"{taken:.1f} s"


PIECES = (bandwidth, cuda_tests, steps, turnaround, packing, precisions, launches)


def table(bench: Bench, place: Path) -> Iterator[str]:
    """The lines of the table, as far as there is time."""
    name = "CPU" if bench.device.type == "cpu" else torch.cuda.get_device_name(bench.device)
    yield f"torch {torch.__version__}, CUDA {torch.version.cuda}, {name}"
    yield from ("", "| what | figure |", "|---|---|")
    for piece in PIECES:
        if time.perf_counter() > bench.until:
            yield f"| {piece.__name__} | no time left |"
            continue
        try:
            for what, figure in piece(bench, place):
                yield f"| {what} | {figure} |"
        except Exception as error:  # noqa: BLE001 - the other rows are worth having
            yield f"| {piece.__name__} | failed: {type(error).__name__}: {error} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:INDEX or cpu")
    parser.add_argument("--quick", action="store_true", help="little of each piece")
    parser.add_argument("--work", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not torch.cuda.is_available():
        sys.stderr.write("torch finds no CUDA device here: nothing was measured\n")
        sys.exit(2)
    until = time.perf_counter() + SECONDS
    bench = Bench(pick_device(arguments.device), arguments.quick, until)
    if arguments.work:
        work(bench, arguments.place, arguments.work)
        return
    with tempfile.TemporaryDirectory() as place:
        for line in table(bench, Path(place)):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
