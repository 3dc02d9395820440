from __future__ import annotations

import getpass
from typing import NoReturn

import pytest

from optuna_study.errors import UsageError
from optuna_study.launch.owner import OWNER_VARIABLE, owner_of


def test_a_name_that_is_given_wins_over_the_environments_and_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(OWNER_VARIABLE, raising=False)
    assert owner_of() == getpass.getuser()
    monkeypatch.setenv(OWNER_VARIABLE, "lab")
    assert (owner_of(), owner_of("ada")) == ("lab", "ada")


def test_a_user_without_a_name_goes_by_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> NoReturn:
        raise OSError("no such user")

    monkeypatch.delenv(OWNER_VARIABLE, raising=False)
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert owner_of().isdecimal()


@pytest.mark.parametrize("name", ["a\nb", "x" * 101, " "])
def test_an_owner_fits_a_line(name: str) -> None:
    with pytest.raises(UsageError, match="--owner"):
        owner_of(name)
