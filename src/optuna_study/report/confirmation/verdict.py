"""Whether the best of a search is better than the best baseline: a test of fresh runs; pure.

The winner is the finalist with the best mean of the study's metric over its confirmation runs, on
validation pictures. Whether it is better is asked of the held-out pictures, by which nothing was
chosen. Runs of one seed are a pair. The error of a difference is that of a two-way layout, trial
and seed (R. A. Fisher, 1925), common to all that were confirmed: three seeds alone would say
little of it. A run varies by no less than the binomial variance of its pictures, as in
`comparison.welch`, and by no more than FEW_DRAWS seeds does that become less: the pictures stay
the same. Of several finalists each is tested, p corrected as by S. Holm (1979).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from optuna_study.store.records import ConfirmationRun, EndKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


LEVEL = 0.05  # p below which two trials are distinguished, and 1 less the intervals' confidence
FEW_DRAWS = 4  # seeds after which the variance of pictures no longer averages out


class Outcome(StrEnum):
    """What fresh runs say of the winner, held against the best baseline."""

    BETTER = "better"
    NOT_DISTINGUISHABLE = "not_distinguishable"
    WORSE = "worse"


@dataclass(frozen=True)
class Known:
    """What a study knows besides its runs: pictures by side, and what guessing gets right."""

    direction: str
    shares: bool  # whether the metric is a fraction of pictures
    validation: int | None
    test: int | None
    guessing: float | None


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, of which None says that nothing is known."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Confirmed:
    """One confirmed trial: `mean` is of the metric, `test` the share of held-out pictures."""

    trial: int
    is_baseline: bool
    runs: int
    diverged: int
    mean: Interval | None
    test: Interval | None


@dataclass(frozen=True)
class Verdict:
    """What became of a search's best: `difference` is of held-out accuracy, winner less `against`.

    `against` is the best baseline, of a study without any the next finalist. `p` is corrected.
    `seeds` and `pictures` are about what would distinguish a difference of this size, None where
    that is distinguished already or would take MOST of them.
    """

    outcome: Outcome
    winner: Confirmed
    against: Confirmed | None
    difference: Interval | None
    p: float | None
    pictures: int | None  # held out
    seeds_needed: int | None
    pictures_needed: int | None
    confirmed: tuple[Confirmed, ...]


MOST = 100_000


def judge(
    runs: Sequence[ConfirmationRun], baselines: frozenset[int], known: Known
) -> Verdict | None:
    """The verdict of a study's confirmation runs; None while no finalist has one that ended.

    `baselines` are the numbers of the baselines. A run that diverged answers as guessing does.
    """
    ended = [run for run in runs if run.end in (EndKind.COMPLETED, EndKind.DIVERGED)]
    tests = _by_trial(ended, lambda run: _test(run, known))
    values = _by_trial(ended, lambda run: run.value)
    numbers = list(dict.fromkeys(run.confirms for run in ended))
    confirmed = tuple(
        Confirmed(
            trial=number,
            is_baseline=number in baselines,
            runs=sum(run.confirms == number for run in ended),
            diverged=sum(run.confirms == number and run.end is EndKind.DIVERGED for run in ended),
            mean=_mean(number, values, known.validation if known.shares else None),
            test=_mean(number, tests, known.test),
        )
        for number in numbers
    )
    finalists = [each for each in confirmed if not each.is_baseline and each.mean is not None]
    if not finalists:
        return None
    ranked = sorted(finalists, key=lambda each: _rank(each, known.direction))
    winner = ranked[0]
    rest = [each for each in confirmed if each not in ranked]
    confirmed = (*ranked, *sorted(rest, key=lambda each: each.is_baseline))
    beaten = [each for each in confirmed if each.is_baseline]
    against = next(iter(beaten or ranked[1:]), None)
    return _compare(winner, against, finalists, confirmed, tests, known)


def _compare(
    winner: Confirmed,
    against: Confirmed | None,
    finalists: Sequence[Confirmed],
    confirmed: tuple[Confirmed, ...],
    tests: Mapping[int, Mapping[int, float]],
    known: Known,
) -> Verdict:
    nothing = Verdict(
        Outcome.NOT_DISTINGUISHABLE,
        *(winner, against, None, None, known.test, None, None),
        confirmed,
    )
    if against is None:
        return nothing
    pairs = {
        each.trial: gain
        for each in finalists
        if each is not against
        and (gain := _difference(each.trial, against.trial, tests, known.test)) is not None
    }
    found = pairs.get(winner.trial)
    if found is None or found.error is None:
        return nothing
    corrected, factor = holm({number: gain.p() for number, gain in pairs.items()}, winner.trial)
    reach = found.reach(LEVEL / factor)
    outcome = Outcome.NOT_DISTINGUISHABLE
    if corrected < LEVEL:
        outcome = Outcome.BETTER if found.gain > 0 else Outcome.WORSE
    seeds = pictures = None
    if outcome is Outcome.NOT_DISTINGUISHABLE and found.gain != 0:
        more = (reach / found.gain) ** 2
        if not found.by_pictures:
            seeds = _sensible(found.runs * more)
        elif known.test is not None:
            pictures = _sensible(known.test * more)
    return Verdict(
        outcome,
        winner,
        against,
        Interval(found.gain, found.gain - reach, found.gain + reach),
        corrected,
        known.test,
        seeds,
        pictures,
        confirmed,
    )


def holm(values: Mapping[int, float], number: int) -> tuple[float, int]:
    """The corrected p of one of several tests, and what its own p was multiplied by.

    >>> holm({1: 0.01, 2: 0.03, 3: 0.04}, 1), holm({1: 0.01, 2: 0.03, 3: 0.04}, 3)
    ((0.03, 3), (0.06, 1))
    """
    corrected = 0.0
    ordered = sorted(values, key=lambda each: values[each])
    for place, each in enumerate(ordered):
        corrected = max(corrected, min(1.0, values[each] * (len(ordered) - place)))
        if each == number:
            return corrected, len(ordered) - place
    raise KeyError(number)


@dataclass(frozen=True)
class _Difference:
    """A mean difference over the seeds that two trials share; `by_pictures`: the floor's error."""

    gain: float
    error: float | None
    freedom: float
    runs: int
    by_pictures: bool

    def p(self) -> float:
        """The two-sided p of its being 0."""
        if not self.error:
            return 1.0
        from scipy.special import stdtr  # here since `show` of a search does without

        return float(2 * stdtr(self.freedom, -abs(self.gain) / self.error))

    def reach(self, level: float) -> float:
        """How far its interval of confidence 1 - level goes to either side."""
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - level / 2)) * (self.error or 0.0)


NORMAL = 1e6  # degrees of freedom of an error that is known


def _difference(
    first: int, second: int, tests: Mapping[int, Mapping[int, float]], pictures: int | None
) -> _Difference | None:
    ours, theirs = tests.get(first, {}), tests.get(second, {})
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    gain = statistics.fmean(ours[seed] - theirs[seed] for seed in shared)
    variance, freedom = residual_variance(tests)
    error = math.sqrt(2 * variance / len(shared)) if freedom else None
    floor = None
    if pictures:
        means = (statistics.fmean(values[seed] for seed in shared) for values in (ours, theirs))
        draws = min(len(shared), FEW_DRAWS)
        floor = math.sqrt(math.fsum(_binomial(mean, pictures) for mean in means) / draws)
    if floor is not None and floor >= (error or 0.0):
        return _Difference(gain, floor, NORMAL, len(shared), by_pictures=True)
    return _Difference(gain, error, freedom or NORMAL, len(shared), by_pictures=False)


def residual_variance(tests: Mapping[int, Mapping[int, float]]) -> tuple[float, int]:
    """The variance of a run about its trial's and its seed's mean, and its degrees of freedom."""
    import numpy as np  # here since `show` of a search does without

    numbers = list(tests)
    seeds = sorted({seed for values in tests.values() for seed in values})
    cells = [(number, seed) for number in numbers for seed in tests[number]]
    design = np.zeros((len(cells), len(numbers) + len(seeds)))
    for row, (number, seed) in enumerate(cells):
        design[row, numbers.index(number)] = design[row, len(numbers) + seeds.index(seed)] = 1.0
    values = np.array([tests[number][seed] for number, seed in cells])
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(cells) - int(rank)
    squares = float(np.square(values - design @ fitted).sum())
    return (squares / freedom if freedom > 0 else 0.0), max(freedom, 0)


def _mean(
    number: int, values: Mapping[int, Mapping[int, float]], pictures: int | None
) -> Interval | None:
    """A trial's mean; its error the trials' common one over seeds, or the binomial one."""
    own = list(values.get(number, {}).values())
    if not own:
        return None
    mean = statistics.fmean(own)
    freedom = sum(len(each) - 1 for each in values.values())
    if not all(map(math.isfinite, own)):
        return Interval(mean)
    squares = math.fsum(
        (value - statistics.fmean(each.values())) ** 2
        for each in values.values()
        for value in each.values()
    )
    error = math.sqrt(squares / freedom / len(own)) if freedom else 0.0
    if pictures:
        floor = math.sqrt(_binomial(mean, pictures) / min(len(own), FEW_DRAWS))
        if floor >= error:
            error, freedom = floor, 0
    if not error:
        return Interval(mean)
    reach = _Difference(mean, error, freedom or NORMAL, len(own), by_pictures=False).reach(LEVEL)
    low, high = mean - reach, mean + reach
    return Interval(mean, max(0.0, low), min(1.0, high)) if pictures else Interval(mean, low, high)


def _binomial(share: float, pictures: int) -> float:
    """The variance of a share of right answers, drawn anew; see `comparison.welch.Spread`."""
    likely = (share * pictures + 1) / (pictures + 2)
    return likely * (1 - likely) / pictures


def _test(run: ConfirmationRun, known: Known) -> float | None:
    return known.guessing if run.end is EndKind.DIVERGED else run.test_accuracy


def _by_trial(
    runs: Iterable[ConfirmationRun], figure: Callable[[ConfirmationRun], float | None]
) -> dict[int, dict[int, float]]:
    """Figures by trial and seed."""
    found: dict[int, dict[int, float]] = {}
    for run in runs:
        value = figure(run)
        if value is not None:
            found.setdefault(run.confirms, {})[run.seed] = value
    return found


def _rank(confirmed: Confirmed, direction: str) -> tuple[int, int, float, int]:
    """Whole ones before those that diverged or were raced out, then the better mean."""
    assert confirmed.mean is not None
    sign = -1 if direction == "maximize" else 1
    return confirmed.diverged, -confirmed.runs, sign * confirmed.mean.mean, confirmed.trial


def _sensible(amount: float) -> int | None:
    """An amount in two digits, None of more than anyone has."""
    if amount > MOST:
        return None
    digits = max(0, len(str(int(amount))) - 2)
    step = int("1" + "0" * digits)
    return max(1, math.ceil(amount / step) * step)
