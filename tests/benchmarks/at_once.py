"""Several fully connected nets as one program (bmm) beside one after another: what it would gain.

`python tests/benchmarks/at_once.py [--count K] [--rounds N]`. Both sides train the same K nets in
each of two processes of one thread, sides by turns; CPU time of a net's step, median. The program
has for each net a rate, a decay and a stream of dropout of its own; the single nets have torch's
fused optimizers. A last table says how many programs K proposals of each study's space would need:
only nets of the same layers, activation, batch size and kind of optimizer can share one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from stand import load, machine, say
from torch import nn
from torch.nn import functional

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.space.dimensions import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

STUDIES = Path(__file__).parents[2] / "studies"
SHAPES = {  # inputs, units, classes, pictures of a batch
    "fully connected, 784-100-10, 64 pictures": (784, 100, 10, 64),
    "the same with 200 units, one picture": (784, 200, 10, 1),
    "spiral, 2-100-3, 30 points": (2, 100, 3, 30),
}
OPTIMIZERS = ("momentum", "adamw")
PICTURES, DROPOUT, SECONDS = 2000, 0.3, 0.5
OF_ONE_PROGRAM = {"lr", "momentum", "dropout", "weight_decay", "initialisation", "slope"}
"""Settings in which the nets of one program may differ."""
SGD = ("sgd", "momentum", "nesterov")


def single(shape: tuple[int, int, int, int], optimizer: str, rate: float) -> Callable[..., None]:
    """A step of one net."""
    inputs, units, classes, _ = shape
    net = nn.Sequential(
        nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(units, classes)
    )
    updates = (
        torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=1e-4, fused=True)
        if optimizer == "momentum"
        else torch.optim.AdamW(net.parameters(), rate, fused=True)
    )

    def step(pictures: torch.Tensor, labels: torch.Tensor) -> None:
        updates.zero_grad()
        torch.autograd.backward(functional.cross_entropy(net(pictures), labels))
        updates.step()

    return step


def together(shape: tuple[int, int, int, int], optimizer: str, count: int) -> Callable[..., None]:
    """A step of `count` nets: pictures (count, batch, inputs), labels (count, batch)."""
    inputs, units, classes, _ = shape
    weights = [
        torch.randn(count, inputs, units) / inputs**0.5,
        torch.zeros(count, 1, units),
        torch.randn(count, units, classes) / units**0.5,
        torch.zeros(count, 1, classes),
    ]
    for each in weights:
        each.requires_grad_()
    first, second = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    rates = torch.logspace(-3, -2, count).view(-1, 1, 1)
    decays = torch.linspace(0, 1e-3, count).view(-1, 1, 1)
    streams = [torch.Generator().manual_seed(seed) for seed in range(count)]
    steps = 0

    def update(gradients: tuple[torch.Tensor, ...]) -> None:
        for weight, gradient, mean, square in zip(weights, gradients, first, second, strict=True):
            if optimizer == "momentum":
                mean.mul_(0.9).add_(gradient.addcmul(weight, decays))
                weight.addcmul_(mean, -rates)
                continue
            weight.mul_(1 - rates * decays)
            mean.lerp_(gradient, 0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            spread = square.div(1 - 0.999**steps).sqrt_().add_(1e-8)
            weight.addcdiv_(mean * (-rates / (1 - 0.9**steps)), spread)

    def step(pictures: torch.Tensor, labels: torch.Tensor) -> None:
        nonlocal steps
        steps += 1
        hidden = torch.baddbmm(weights[1], pictures, weights[0]).relu()
        kept = torch.stack([torch.rand(hidden.shape[1:], generator=each) for each in streams])
        hidden = hidden * (kept > DROPOUT) / (1 - DROPOUT)
        logits = torch.baddbmm(weights[3], hidden, weights[2])
        losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        gradients = torch.autograd.grad(losses / labels.shape[1], weights)
        with torch.no_grad():
            update(gradients)

    return step


def cost(task: tuple[str, str, int, bool]) -> float:
    """CPU milliseconds of a net's step in this process."""
    name, optimizer, count, at_once = task
    torch.set_num_threads(1)
    shape = SHAPES[name]
    pictures, labels = torch.randn(PICTURES, shape[0]), torch.randint(0, shape[2], (PICTURES,))
    program = together(shape, optimizer, count)
    nets = [single(shape, optimizer, rate) for rate in torch.logspace(-3, -2, count).tolist()]
    done, took = 0, 0.0
    for turn in range(10**9):
        began = time.process_time()
        if at_once:
            for _ in range(10):
                chosen = torch.randint(0, PICTURES, (count * shape[3],))
                program(pictures[chosen].view(count, shape[3], -1), labels[chosen].view(count, -1))
        else:
            for net in nets:  # as a worker does it: one net, then the next
                for _ in range(10):
                    chosen = torch.randint(0, PICTURES, (shape[3],))
                    net(pictures[chosen], labels[chosen])
        if turn:  # the first loads libraries' kernels
            done += 10 * count
            took += time.process_time() - began
        if took > SECONDS:
            break
    return 1000 * took / done


def programs(study: str, count: int) -> float:
    """How many programs as many proposals of a study's space need, drawn at random, on average."""
    space = resolve(read_study_file(STUDIES / f"{study}.toml"), "cpu").space
    draw, found = random.Random(0), []
    for _ in range(1000):
        kinds = set()
        for number in range(count):
            kind = []
            for each in space.dimensions:
                if each.setting in OF_ONE_PROGRAM:
                    continue
                value = draw.choice(each.choices) if isinstance(each, Choice) else number
                kind.append("sgd" if each.setting == "optimizer" and value in SGD else value)
            kinds.add(tuple(kind))
        found.append(len(kinds))
    return statistics.mean(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    count, processes = arguments.count, arguments.processes
    say(**machine(), torch=version("torch"), count=count, processes=processes)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for name in SHAPES:
            for optimizer in OPTIMIZERS:
                sides: dict[bool, list[float]] = {False: [], True: []}
                for turn in range(arguments.rounds):
                    for at_once in (False, True) if turn % 2 else (True, False):
                        tasks = [(name, optimizer, count, at_once)] * processes
                        sides[at_once].append(statistics.mean(pool.map(cost, tasks)))
                gains = sorted(one / all_ for one, all_ in zip(*sides.values(), strict=True))
                say(
                    net=name,
                    optimizer=optimizer,
                    one_ms=round(statistics.median(sides[False]), 3),
                    at_once_ms=round(statistics.median(sides[True]), 3),
                    gain=[
                        round(each, 2) for each in (gains[0], statistics.median(gains), gains[-1])
                    ],
                    load=load(),
                )
    for study in ("mnist_fc", "mnist_mlp", "spiral", "lenet_cifar10", "mnist_cnn"):
        say(study=study, proposals=count, programs=round(programs(study, count), 2))


if __name__ == "__main__":
    main()
