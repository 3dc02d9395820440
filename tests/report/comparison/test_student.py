from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_study.report.comparison.student import NORMAL, distance, two_sided_p

FREEDOMS = st.one_of(st.integers(1, 60), st.floats(1.0, 1e4))


@given(FREEDOMS, st.floats(1e-3, 60))  # nearer to 0 scipy is off by 3e-9
def test_p_is_scipys(freedom: float, t: float) -> None:
    from scipy.special import stdtr

    expected = float(2 * stdtr(freedom, -t))
    assert two_sided_p(freedom, t) == two_sided_p(freedom, -t)
    assert two_sided_p(freedom, t) == pytest.approx(expected, rel=1e-7, abs=1e-14)


@given(FREEDOMS, st.floats(1e-6, 0.999))
def test_a_distance_is_scipys(freedom: float, level: float) -> None:
    from scipy.special import stdtrit

    assert distance(freedom, level) == pytest.approx(float(stdtrit(freedom, 1 - level / 2)))


def test_with_the_error_known_it_is_the_normal_distribution() -> None:
    from scipy.special import ndtr, ndtri

    assert two_sided_p(NORMAL, 2.5) == pytest.approx(2 * ndtr(-2.5))
    assert distance(NORMAL, 0.05) == pytest.approx(ndtri(0.975))


@given(st.floats(0, 1e6))
def test_with_one_degree_of_freedom_it_is_cauchys(t: float) -> None:
    assert two_sided_p(1, t) == pytest.approx(2 * math.atan2(1, t) / math.pi, rel=1e-9)


def test_nothing_is_impossible_to_ask() -> None:
    assert two_sided_p(3, 0.0) == 1.0
    assert two_sided_p(3, 1e200) == two_sided_p(3, float("inf")) == 0.0
    assert two_sided_p(1e9, float("inf")) == 0.0
