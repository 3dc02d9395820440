from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from optuna_study.report.comparison.welch import Contrast, Spread, contrast

FRACTIONS = st.lists(st.integers(0, 500).map(lambda right: right / 500), min_size=2, max_size=6)


def difference(first: Spread, second: Spread) -> Contrast:
    return contrast([(1, first), (-1, second)])


def p_apart(first: Spread, second: Spread) -> float:
    p = difference(first, second).p()
    assert p is not None
    return p


@pytest.mark.filterwarnings("ignore:Precision loss occurred")  # scipy's, of one side all the same
@example([0.0, 0.002], [0.002, 0.002])
@given(FRACTIONS, FRACTIONS)
def test_a_difference_of_two_is_scipys_welch_test(first: list[float], second: list[float]) -> None:
    from scipy.stats import ttest_ind

    p = difference(Spread(tuple(first)), Spread(tuple(second))).p()
    spread = statistics.variance(first) + statistics.variance(second)
    if spread > 1e-12:
        assert p == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue, abs=1e-9)


@given(st.lists(FRACTIONS, min_size=4, max_size=4))
def test_a_difference_of_differences_takes_the_error_of_all_four(rows: list[list[float]]) -> None:
    from scipy.stats import t

    found = contrast(
        [(sign, Spread(tuple(row))) for sign, row in zip((1, -1, -1, 1), rows, strict=True)]
    )
    shares = [statistics.variance(row) / len(row) for row in rows]
    if sum(shares) < 1e-12:
        return
    means = [statistics.fmean(row) for row in rows]
    gain = means[0] - means[1] - means[2] + means[3]
    freedom = sum(shares) ** 2 / sum(
        share**2 / (len(row) - 1) for share, row in zip(shares, rows, strict=True)
    )
    expected = 2 * t.sf(abs(gain) / math.sqrt(sum(shares)), freedom)
    assert found.gain == pytest.approx(gain, abs=1e-12)
    assert found.p() == pytest.approx(expected, abs=1e-9)


def test_a_loss_that_rests_on_one_odd_run_is_left_open() -> None:
    convolutional = Spread((0.974, 0.975, 0.973)), Spread((0.99, 0.80, 0.97))
    dense = Spread((0.905, 0.906, 0.904)), Spread((0.90, 0.90, 0.90))
    losses = [
        *zip((1, -1), convolutional, strict=True),
        *zip((-1, 1), dense, strict=True),
    ]
    assert contrast(losses).p() == pytest.approx(0.50, abs=0.005)


def test_pairs_of_equal_runs_tell_no_more_than_their_pictures() -> None:
    equal, other = Spread((0.8, 0.8), 200), Spread((0.805, 0.805), 200)
    assert p_apart(equal, other) > 0.8
    assert p_apart(equal, Spread((0.805, 0.81), 200)) > 0.5
    assert p_apart(equal, Spread((0.2, 0.2), 200)) < 0.05
    assert p_apart(Spread((1.0, 1.0, 1.0), 200), Spread((0.0, 0.0, 0.0), 200)) < 1e-6
    # More than what their pictures account for stands as it is.
    assert Spread((0.7, 0.9), 10_000).variance == pytest.approx(0.02)


def test_single_runs_and_equal_ones_of_who_knows_how_many_pictures_tell_nothing() -> None:
    assert difference(Spread((0.9,)), Spread((0.1,))).p() is None
    assert difference(Spread((0.9, 0.91, 0.92)), Spread((0.1,))).p() is None
    assert difference(Spread((0.2,) * 3), Spread((0.3,) * 3)).p() is None
    assert difference(Spread((0.3,) * 3), Spread((0.1 + 0.2,) * 3)).p() is None
