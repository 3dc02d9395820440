from __future__ import annotations

import pytest

from optuna_study.definition.names import bare_name, is_name, require_name, variant_name
from optuna_study.errors import UsageError


@pytest.mark.parametrize("name", ["cats", "Cats-2", "_x", "7", "a" * 100])
def test_names_that_a_study_may_have(name: str) -> None:
    assert require_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-x", "a b", "a.b", "..", "../x", "a/b", "cats@cpu", "é", "a\n", "a" * 101]
)
def test_names_that_a_study_may_not_have(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(UsageError, match="cannot be the name of a study; use letters"):
        require_name(name)


def test_what_a_study_is_restricted_to_is_part_of_its_name() -> None:
    assert variant_name("cats", "cpu", "rendered", "baselines") == "cats@cpu-rendered-baselines"


@pytest.mark.parametrize(
    ("profile", "stand_in", "name"),
    [
        ("full", None, "cats"),
        ("cpu", None, "cats@cpu"),
        ("cpu", "rendered", "cats@cpu-rendered"),
        ("full", "rendered", "cats@rendered"),
    ],
)
def test_profile_and_stand_in_are_part_of_a_variants_name(
    profile: str, stand_in: str | None, name: str
) -> None:
    assert variant_name("cats", profile, stand_in) == name
    assert bare_name(name) == "cats"
