"""By which figure to rank trials: curves of random configurations, and what each figure picks.

    python tests/benchmarks/ranking.py train FILE --study digits.toml --configurations 24
    python tests/benchmarks/ranking.py evaluate FILE...
    python tests/benchmarks/ranking.py confirm FILE...
    python tests/benchmarks/ranking.py pooled FILE...
    python tests/benchmarks/ranking.py splits FILE...

`train` draws configurations from a study's own space and trains each on several splits of its
pictures (train, validation and test, all drawn anew) and several seeds; it adds a line of JSON a
run to FILE, whole curves with the held-out accuracy of every epoch, and goes on where it was
stopped. `evaluate` draws searches from these: of 24 or 60 configurations of one split, each with
one seed's run, a figure picks the best; what counts is the held-out accuracy of that
configuration's other seeds. `confirm` goes on as `launch` does: the best three by the figure are
held against each other by the same figure on their other seeds, beside what the last epoch's
accuracy alone picks in the same search. `pooled` takes the leads of both over all files, a task
each. `splits` tells, of the ten best configurations, how much
of their held-out accuracy's spread is the seed's, and how much a configuration's own with a split.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.run import Run

Curve = list[dict[str, Any]]
LATE = 3  # epochs whose mean one of the figures is
SEARCHES = 2000
CONFIRMED = 3  # of a search's best that are trained again
SIZE = 24  # configurations of a search that goes on to confirmation
TOP = 10  # configurations, such as finalists are taken from
FAILED = 0.8  # of the best configuration's held-out accuracy: who stays below has failed


def main() -> None:
    """Train, or evaluate what was trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "evaluate", "confirm", "pooled", "splits"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--workspace", type=Path, default=Path("storage"))
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    if given.what == "train":
        train(given)
        return
    tasks = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in given.files
    }
    if given.what == "pooled":
        for row in pooled(list(tasks.values())):
            print("|", *(f"{cell} |" for cell in row))  # noqa: T201
        return
    table = {"evaluate": evaluate, "confirm": confirm, "splits": spreads}[given.what]
    for name, runs in tasks.items():
        for row in table(runs):
            print("|", *(f"{cell} |" for cell in (name, *row)))  # noqa: T201


def train(given: argparse.Namespace) -> None:
    """Train what is missing in the file."""
    import torch

    from optuna_study.config.settings import with_settings
    from optuna_study.definition.read import read_study_file
    from optuna_study.definition.resolve import resolve
    from optuna_study.space.space import build

    definition = resolve(read_study_file(given.study), given.profile, threads=1)
    torch.set_num_threads(1)
    path = given.files[0]
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["configuration"], row["split"], row["seed"]) for row in known}
    for split in range(given.splits):
        shown = None
        for number in range(given.configurations):
            parameters = draw(definition.space, number)
            config = build(definition.config, definition.space, parameters, {})
            for seed in range(given.seeds):
                if (number, split, seed) in done:
                    continue
                shown = shown or pictures(config, given, split)
                run_config = with_settings(config, {"seed": 1000 * split + seed})
                row: dict[str, Any] = {"configuration": number, "split": split, "seed": seed}
                row |= {"parameters": parameters, **measure(run_config, *shown)}
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                sys.stderr.write(f"{number} {split} {seed} {row['curve'][-1:]}\n")


def draw(space: Any, number: int) -> dict[str, Any]:
    """Configuration `number` of a space, every parameter drawn independently."""
    import optuna

    from optuna_study.search import suggest

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
    trial = study.ask()
    space.suggest(suggest.drawing(trial))
    return dict(trial.params)


def pictures(config: TrainConfig, given: argparse.Namespace, number: int) -> tuple[Any, Any]:
    """The study's pictures in another split, and a frozen backbone's features of them, if any.

    Copies stay on one side. The backbone sees each picture once, whatever the splits.
    """
    import torch

    from optuna_study.training.backbone.features import Features, open_features, reads_features

    data, parts = split_anew(config, given, number)
    if not reads_features(config):
        return data, None
    first, places = split_anew(config, given, 0)
    known = open_features(config, first)
    whole = torch.cat((known.training[0], known.validation, known.test()))
    in_order = whole[torch.cat(places).argsort()]
    training, validation, test = (in_order[part] for part in parts)
    return data, Features((training,), validation, lambda: test)


def split_anew(config: TrainConfig, given: argparse.Namespace, number: int) -> tuple[Any, Any]:
    """The study's pictures in a split of their own, and the indices of each part."""
    import torch

    from optuna_study.data.load import open_pictures
    from optuna_study.data.split import split
    from optuna_study.paths import Workspace
    from optuna_study.training import device_data

    workspace = Workspace(given.workspace)
    found = open_pictures(config.data, given.data, workspace)
    name = hashlib.sha256(f"{found.fingerprint}/{number}".encode()).hexdigest()
    changed = dataclasses.replace(found, sides=None, fingerprint=name)
    with mock.patch.object(device_data, "open_pictures", return_value=changed):
        data = device_data.load_data(config.data, given.data, workspace, torch.device("cpu"))
    parts = split(changed)
    return data, [torch.from_numpy(p) for p in (parts.train, parts.validation, parts.test)]


def measure(config: TrainConfig, data: Any, features: Any) -> dict[str, Any]:
    """The curve of a run, the held-out accuracy of each epoch beside the recorded figures."""
    import torch

    from optuna_study.training.loop import epochs
    from optuna_study.training.run import prepare

    with contextlib.ExitStack() as patched:
        if features is not None:
            opened = mock.patch("optuna_study.training.run.open_features", return_value=features)
            patched.enter_context(opened)
        run = prepare(config, data, torch.device("cpu"))
    curve: Curve = []
    for epoch in epochs(run):
        if epoch.divergence is not None or not math.isfinite(epoch.validation_loss):
            return {"curve": curve, "diverged": True}
        tested = run.test()
        curve.append(
            {
                "accuracy": epoch.validation_accuracy,
                "loss": epoch.validation_loss,
                "log_loss": epoch.log_loss,
                "balanced": epoch.balanced_accuracy,
                "test": tested.accuracy,
                "test_log_loss": tested.log_loss,
            }
        )
    return {"curve": curve, "diverged": False, "scaled": scaled_log_loss(run)}


def scaled_log_loss(run: Run) -> float:
    """The validation log loss at the temperature that makes it least (Guo et al. 2017)."""
    import torch

    from optuna_study.training.evaluation import predict_proba

    data = run.data
    seen = run.features.validation if run.features else data.validation_images
    proba = predict_proba(run.evaluated, run.config, data, seen)
    logits = proba.double().clamp_min(1e-12).log()
    losses = [
        torch.nn.functional.cross_entropy(logits / t, data.validation_labels).item()
        for t in np.geomspace(0.25, 8, 41)
    ]
    return min(losses)


def mean_of_last(name: str) -> Callable[[dict[str, Any]], float]:
    """The mean of a figure over the last epochs."""
    return lambda run: statistics.fmean(epoch[name] for epoch in run["curve"][-LATE:])


FIGURES: dict[str, Callable[[dict[str, Any]], float]] = {
    "last accuracy": lambda run: run["curve"][-1]["accuracy"],
    "best epoch's accuracy": lambda run: max(epoch["accuracy"] for epoch in run["curve"]),
    "last three epochs' accuracy": mean_of_last("accuracy"),
    "log loss": lambda run: -run["curve"][-1]["log_loss"],
    "best epoch's log loss": lambda run: -min(epoch["log_loss"] for epoch in run["curve"]),
    "last three epochs' log loss": lambda run: -mean_of_last("log_loss")(run),
    "scaled log loss": lambda run: -run["scaled"],
    "balanced accuracy": lambda run: run["curve"][-1]["balanced"],
}
RANKS = "mean rank of accuracy and log loss"
BEFORE = "last accuracy"
BEST = {"best epoch's accuracy": "accuracy", "best epoch's log loss": "log_loss"}
"""Figures by which a run also chooses the epoch whose weights it keeps."""


def evaluate(runs: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """A row a figure: how good its pick of 24 and of 60 is, how often it fails, what rungs keep.

    How good: held-out accuracy, and how far that is before the last accuracy's pick of the same
    searches. Spreads are standard errors over splits.
    """
    table = by_split(runs)
    before_by_size: dict[int, Sequence[float]] = {}
    for name in (*FIGURES, RANKS):
        cells = [name]
        fewest = min(len(configurations) for configurations in table.values())
        for size in (min(SIZE, fewest), 60):
            if size > fewest:
                cells += ["-", "-", "-"]
                continue
            found = [picks(configurations, name, size) for configurations in table.values()]
            reached, failed = zip(*found, strict=True)
            before = before_by_size.setdefault(size, reached)  # the first figure's
            ahead = [ours - theirs for ours, theirs in zip(reached, before, strict=True)]
            failures = f"{100 * statistics.fmean(failed):.1f} %"
            cells += [spread(reached), spread(ahead, sign=True), failures]
        kept = [rung_keeps(configurations, name) for configurations in table.values()]
        told = [each for each in kept if each is not None]
        cells.append(f"{statistics.fmean(told):.2f}" if told else "-")
        yield cells


def confirm(runs: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """A row a figure: what confirmed winners reach, and how far before the last accuracy's pick.

    Spreads are standard errors over splits; the searches of both are the same.
    """
    table = by_split(runs)
    for name in (*FIGURES, RANKS):
        rows = [paired(configurations, name) for configurations in table.values()]
        reached = [statistics.fmean(ours for ours, _ in row) for row in rows]
        ahead = [statistics.fmean(ours - theirs for ours, theirs in row) for row in rows]
        pairs = [pair for row in rows for pair in row]
        better = sum(ours > theirs for ours, theirs in pairs) / len(pairs)
        worse = sum(ours < theirs for ours, theirs in pairs) / len(pairs)
        shown = [f"{better:.0%} / {1 - better - worse:.0%} / {worse:.0%}"]
        yield [name, spread(reached), spread(ahead, sign=True), *shown]


def pooled(tasks: Sequence[Sequence[dict[str, Any]]]) -> Iterator[list[str]]:
    """A row a figure: how far its pick and confirmed winner are before the last accuracy's pick.

    The last column holds its confirmed winner against that of the last accuracy. Means over tasks
    of the means over their splits; spreads are standard errors over tasks.
    """
    tables = [list(by_split(runs).values()) for runs in tasks]
    first, base = _leads(tables, BEFORE)
    for name in (*FIGURES, RANKS):
        reached, confirmed = _leads(tables, name)
        columns = zip(
            (reached, confirmed, confirmed), (first, [0.0] * len(base), base), strict=True
        )
        ahead = [[ours - theirs for ours, theirs in zip(*both, strict=True)] for both in columns]
        yield [name, str(len(tasks)), *(spread(each, sign=True) for each in ahead)]


def _leads(
    tables: Sequence[Sequence[dict[int, dict[int, dict[str, Any]]]]], name: str
) -> tuple[list[float], list[float]]:
    """By task: what a figure's picks reach, and its confirmed winners' lead over BEFORE's pick."""
    reached, confirmed = [], []
    for splits in tables:
        picked = [picks(each, name, min(SIZE, len(each)))[0] for each in splits]
        reached.append(statistics.fmean(picked))
        pairs = [pair for each in splits for pair in paired(each, name)]
        confirmed.append(statistics.fmean(ours - theirs for ours, theirs in pairs))
    return reached, confirmed


def paired(
    configurations: dict[int, dict[int, dict[str, Any]]], name: str
) -> list[tuple[float, float]]:
    """Searches: the held-out accuracy of the winner that a figure finds and confirms, and of what
    the last accuracy picks.
    """
    random, numbers, pairs = np.random.default_rng(SIZE), sorted(configurations), []
    for _ in range(SEARCHES // 4):
        chosen = random.choice(numbers, size=min(SIZE, len(numbers)), replace=False)
        seeds = [int(random.choice(sorted(configurations[number]))) for number in chosen]
        shown = [configurations[n][s] for n, s in zip(chosen, seeds, strict=True)]
        others = [
            [run for seed, run in configurations[n].items() if seed != s]
            for n, s in zip(chosen, seeds, strict=True)
        ]
        finalists = np.argsort(-np.array(scores(shown, name)), kind="stable")[:CONFIRMED]
        again = [each for place in finalists for each in others[place]]
        seen = np.array(scores(again, name)).reshape(len(finalists), -1).mean(axis=1)
        winner = finalists[int(np.argmax(seen))]
        before = int(np.argmax(scores(shown, BEFORE)))
        ours = statistics.fmean(held_out(run, name) for run in others[winner])
        pairs.append((ours, statistics.fmean(held_out(run, BEFORE) for run in others[before])))
    return pairs


def by_split(
    runs: Sequence[dict[str, Any]],
) -> dict[int, dict[int, dict[int, dict[str, Any]]]]:
    """Runs by split, configuration and seed."""
    table: dict[int, dict[int, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        table[run["split"]][run["configuration"]][run["seed"]] = run
    return table


def spread(shares: Sequence[float], *, sign: bool = False) -> str:
    """Per cent: the mean and its standard error."""
    error = statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else 0
    mean = 100 * statistics.fmean(shares)
    return f"{mean:+.2f} ± {100 * error:.2f}" if sign else f"{mean:.2f} ± {100 * error:.2f}"


def spreads(runs: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Deviations in points: of seeds, and of configuration by split beyond them; their F ratio.

    A two-way layout, configuration and split, whose cells hold the seeds; what a split does to
    all configurations alike is no part of either, as comparisons are paired.
    """
    cells: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if not run["diverged"]:
            cells[run["configuration"]][run["split"]].append(held_out(run))
    most = max(map(len, cells.values()))
    fully = max(len(values) for found in cells.values() for values in found.values())
    whole = [
        found
        for found in cells.values()
        if len(found) == most and {len(values) for values in found.values()} == {fully}
    ]
    table = np.array([[found[split] for split in sorted(found)] for found in whole])
    table = table[np.argsort(-table.mean(axis=(1, 2)))[:TOP]]
    configurations, splits, seeds = table.shape
    seed = table.var(axis=2, ddof=1).mean()
    mean = table.mean(axis=2)
    left = mean - mean.mean(axis=1, keepdims=True) - mean.mean(axis=0, keepdims=True) + mean.mean()
    both = (left**2).sum() / ((configurations - 1) * (splits - 1))
    own = math.sqrt(max(0.0, both - seed / seeds))
    yield [f"{100 * math.sqrt(seed):.2f}", f"{100 * own:.2f}", f"{both / (seed / seeds):.2f}"]


def picks(
    configurations: dict[int, dict[int, dict[str, Any]]], name: str, size: int
) -> tuple[float, float]:
    """The mean held-out accuracy on other seeds of what a figure picks, and how many fail."""
    random = np.random.default_rng(size)
    best = max(
        statistics.fmean(held_out(run, name) for run in runs.values())
        for runs in configurations.values()
    )
    reached, failed, numbers = [], 0, sorted(configurations)
    for _ in range(SEARCHES):
        chosen = random.choice(numbers, size=size, replace=False)
        seeds = [int(random.choice(sorted(configurations[number]))) for number in chosen]
        shown = [configurations[n][s] for n, s in zip(chosen, seeds, strict=True)]
        place = int(np.argmax(scores(shown, name)))
        others = [
            held_out(run, name)
            for seed, run in configurations[chosen[place]].items()
            if seed != seeds[place]
        ]
        reached.append(statistics.fmean(others))
        failed += min(others) < FAILED * best
    return statistics.fmean(reached), failed / SEARCHES


def scores(shown: Sequence[dict[str, Any]], name: str) -> list[float]:
    """What a figure gives some runs; more is better, a run that diverged is last."""
    if name == RANKS:
        orders = [np.argsort(np.argsort(scores(shown, each))) for each in (BEFORE, "log loss")]
        return [float(sum(ranks)) for ranks in zip(*orders, strict=True)]
    return [-math.inf if run["diverged"] else _figure(run, name) for run in shown]


def _figure(run: dict[str, Any], name: str) -> float:
    """A figure of a run, computed once for all the searches that draw it."""
    known: dict[str, float] = run.setdefault("figures", {})
    if name not in known:
        known[name] = FIGURES[name](run)
    return known[name]


def rung_keeps(configurations: dict[int, dict[int, dict[str, Any]]], name: str) -> float | None:
    """The share of the best tenth that is in the better half at a third of the epochs."""
    runs = [run for seeds in configurations.values() for run in seeds.values()]
    if name in ("scaled log loss",):  # measured at the end alone
        return None
    longest = max(len(run["curve"]) for run in runs)
    rung = math.ceil(longest / 3)
    cut = [{"curve": run["curve"][:rung], "diverged": len(run["curve"]) < rung} for run in runs]
    early = np.argsort(np.argsort([-score for score in scores(cut, name)]))
    final = np.argsort([-held_out(run) for run in runs])[: max(1, len(runs) // 10)]
    return float(np.mean(early[final] < len(runs) / 2))


def held_out(run: dict[str, Any], name: str = BEFORE) -> float:
    """The held-out accuracy of the epoch that a run ends with; of one that diverged, nothing."""
    if run["diverged"] or not run["curve"]:
        return 0.0
    kept, figure = run["curve"][-1], BEST.get(name)
    if figure is not None:
        sign = 1 if figure == "accuracy" else -1
        kept = max(run["curve"], key=lambda epoch: sign * epoch[figure])
    return float(kept["test"])


if __name__ == "__main__":
    main()
