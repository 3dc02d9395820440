"""What proposes the parameters of a trial.

A new sampler is made for every trial, seeded from the study's seed and the trial's number: a
proposal then depends on the history alone, not on which worker asks or how often it was
restarted. (One `TPESampler(seed=42)` kept over a resume gives the first trials again, and two
workers with one seed propose the same.)
"""

from __future__ import annotations

import math
import warnings
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from optuna_study.definition.model import MISSING_CMAES
from optuna_study.errors import UsageError
from optuna_study.seeds import lattice_seed, lattice_shift, sampler_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

    from optuna_study.config.settings import Scalar


def tpe(
    study_seed: int, number: int, baselines: int, startup: int, names: Sequence[str]
) -> BaseSampler:
    """Trials spread evenly over the space at first, then tree-structured Parzen estimators.

    `group=True` models each branch of a conditional space by itself: over a space a third of
    which diverges it found 0.995 instead of 0.984 (12 seeds, 60 trials, Optuna 5.0).
    """
    if number < baselines + startup:
        return spread(study_seed, number, baselines, startup, names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Argument ``group`` is an experimental feature")
        tpe = TPESampler(
            n_startup_trials=baselines + startup,
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=sampler_seed(study_seed, number),
        )
    return OnStep(tpe)


def random(
    study_seed: int, number: int, baselines: int, startup: int, names: Sequence[str]
) -> BaseSampler:
    """Every parameter drawn independently, whatever came before."""
    return OnStep(RandomSampler(seed=sampler_seed(study_seed, number)))


def gp(
    study_seed: int, number: int, baselines: int, startup: int, names: Sequence[str]
) -> BaseSampler:
    """Trials spread evenly at first, then Optuna's Gaussian process."""
    if number < baselines + startup:
        return spread(study_seed, number, baselines, startup, names)
    seed, first = sampler_seed(study_seed, number), baselines + startup
    return OnStep(GPSampler(seed=seed, n_startup_trials=first, warn_independent_sampling=False))


def cmaes(
    study_seed: int, number: int, baselines: int, startup: int, names: Sequence[str]
) -> BaseSampler:
    """Trials spread evenly at first, then Optuna's CMA-ES; choices are drawn independently.

    Raises:
        UsageError: the package cmaes is not installed.
    """
    if number < baselines + startup:
        return spread(study_seed, number, baselines, startup, names)
    seed, first = sampler_seed(study_seed, number), baselines + startup
    try:
        chosen = CmaEsSampler(seed=seed, n_startup_trials=first, warn_independent_sampling=False)
    except ImportError as error:
        raise UsageError(f"search.sampler = 'cmaes': {MISSING_CMAES}") from error
    return OnStep(chosen)


def qmc(
    study_seed: int, number: int, baselines: int, startup: int, names: Sequence[str]
) -> BaseSampler:
    """Optuna's quasi-Monte Carlo: one scrambled Sobol sequence, shared by all workers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "QMCSampler is experimental")
        return OnStep(
            QMCSampler(
                scramble=True,
                seed=sampler_seed(study_seed, 0),  # the sequence's, which all trials share
                independent_sampler=RandomSampler(seed=sampler_seed(study_seed, number)),
                warn_asynchronous_seeding=False,
                warn_independent_sampling=False,
            )
        )


def nsgaii(
    study_seed: int, number: int, baselines: int, startup: int, names: Sequence[str]
) -> BaseSampler:
    """Optuna's genetic algorithm, whose first generation of fifty is drawn independently."""
    return OnStep(NSGAIISampler(seed=sampler_seed(study_seed, number)))


def spread(
    study_seed: int, number: int, baselines: int, startup: int, names: Sequence[str]
) -> BaseSampler:
    """Points spread evenly over the space by their index alone, whatever came before."""
    points = lattice(lattice_seed(study_seed), max(number - baselines, 0), len(names))
    return Spread(dict(zip(names, points, strict=True)))


def lattice(seed: int, index: int, dimensions: int) -> tuple[float, ...]:
    """Point `index` of an additive recurrence in [0, 1)^dimensions, shifted by the seed.

    The steps are the powers of 1/g, where g solves g^(dimensions + 1) = g + 1 (the golden ratio
    in one dimension): of a handful of points no two lie close in any coordinate, which
    independent draws do not give.
    """
    root = 2.0
    for _ in range(40):  # converges to the last bit well before
        root = (1 + root) ** (1 / (dimensions + 1))
    return tuple(
        math.modf(lattice_shift(seed, axis) + (index + 1) * root ** -(axis + 1))[0]
        for axis in range(dimensions)
    )


class OnStep(BaseSampler):
    """One of Optuna's samplers, whose values of a stepped range are as a person writes them.

    They count steps in binary fractions, and three steps of 0.1 are 0.30000000000000004.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What the sampler draws jointly."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Its joint draw."""
        drawn = self._sampler.sample_relative(study, trial, search_space)
        return {name: on_step(search_space[name], value) for name, value in drawn.items()}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Its draw of one parameter."""
        drawn = self._sampler.sample_independent(study, trial, param_name, param_distribution)
        return on_step(param_distribution, drawn)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Let the sampler prepare."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Let the sampler learn."""
        self._sampler.after_trial(study, trial, state, values)


def on_step(distribution: BaseDistribution, value: Any) -> Any:
    """A drawn value; of a stepped range of fractions, the decimal number that it stands for.

    >>> on_step(FloatDistribution(0.0, 0.7, step=0.1), 0.30000000000000004)
    0.3
    """
    if not isinstance(distribution, FloatDistribution) or distribution.step is None:
        return value
    low, step = Decimal(repr(distribution.low)), Decimal(repr(distribution.step))
    exact = float(low + round((Decimal(value) - low) / step) * step)
    return min(max(exact, distribution.low), distribution.high)


class Spread(BaseSampler):
    """Optuna's sampler interface over one point of the unit cube: a coordinate a parameter."""

    def __init__(self, point: Mapping[str, float]) -> None:
        self._point = point

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """No parameter is drawn jointly; the point holds all of them."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """Nothing, see above."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Scalar:
        """The value at the parameter's coordinate."""
        return quantile(param_distribution, self._point[param_name])


def quantile(distribution: BaseDistribution, coordinate: float) -> Scalar:
    """The value of a distribution at a coordinate in [0, 1), its quantile.

    >>> quantile(FloatDistribution(0.001, 10.0, log=True), 0.5)
    0.1
    >>> quantile(CategoricalDistribution(["a", "b"]), 0.5)
    'b'
    """
    if isinstance(distribution, CategoricalDistribution):
        choice = distribution.choices[int(coordinate * len(distribution.choices))]
        assert choice is not None  # None is no choice of ours
        return choice
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if isinstance(distribution, IntDistribution):
        return _whole(distribution, coordinate)
    if distribution.step is not None:
        steps = round((high - low) / distribution.step)
        drawn = low + int(coordinate * (steps + 1)) * distribution.step
        return float(on_step(distribution, drawn))
    if distribution.log:
        value = math.exp(math.log(low) + coordinate * (math.log(high) - math.log(low)))
        return min(max(float(f"{value:.12g}"), low), high)
    return low + coordinate * (high - low)


def _whole(distribution: IntDistribution, coordinate: float) -> int:
    low, high = distribution.low, distribution.high
    if distribution.log:
        edges = math.log(low - 0.5), math.log(high + 0.5)
        value = round(math.exp(edges[0] + coordinate * (edges[1] - edges[0])))
        return min(max(value, low), high)
    steps = (high - low) // distribution.step
    return low + int(coordinate * (steps + 1)) * distribution.step
