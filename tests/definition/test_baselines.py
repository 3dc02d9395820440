from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from optuna_study.definition.model import Statement
from optuna_study.definition.read import parse_study_file
from optuna_study.definition.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = "text = 'two steps help'"
NAMES = "better = 'stepped'\nworse = 'plain'"


def test_claims_reach_the_definition_of_every_profile(small: str) -> None:
    more = f"{small}[[claims]]\n{WORDS}\n{NAMES}\n[[claims]]\n{WORDS}\n{NAMES}\n"
    more += "measure = 'train_accuracy'\nwithin = 0.02\n"
    for profile in ("full", "cpu"):
        assert resolve(parse_study_file(more, "small"), profile).statements == (
            Statement("two steps help", "stepped", "plain"),
            Statement("two steps help", "stepped", "plain", "train_accuracy", 0.02),
        )


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (NAMES, "claims[0].text: is missing: say in words what the source claims"),
        (f"text = 3\n{NAMES}", "claims[0].text: must be text in quotes, not 3"),
        (
            f"{WORDS}\nbetter = 'steped'\nworse = 'plain'",
            "claims[0].better: no baseline named 'steped', did you mean 'stepped'?",
        ),
        (f"{WORDS}\nbetter = 'plain'", "claims[0].worse: no baseline named ''"),
        (
            f"{WORDS}\nbetter = 'plain'\nworse = 'plain'",
            "claims[0]: compares a baseline with itself; name two",
        ),
        (f"{WORDS}\n{NAMES}\nwors = 1", "claims[0].wors: unknown key, did you mean 'worse'?"),
        (
            f"{WORDS}\n{NAMES}\nmeasure = 'train_acuracy'",
            "claims[0].measure: unknown measure 'train_acuracy', did you mean 'train_accuracy'?",
        ),
        (f"{WORDS}\n{NAMES}\nwithin = 2", "claims[0].within: must be a fraction of 1, not 2"),
        (f"{WORDS}\n{NAMES}\nwithin = '2 %'", "claims[0].within: must be a number, not '2 %'"),
    ],
)
def test_claims_say_what_is_wrong(
    problems: Callable[[str], list[str]], small: str, claim: str, expected: str
) -> None:
    (found,) = problems(f"{small}[[claims]]\n{claim}\n")
    assert found.startswith(expected)


def test_claims_are_tables(problems: Callable[[str], list[str]], small: str) -> None:
    assert problems(f"claims = 'none'\n{small}") == [
        "claims: must be written as [[claims]] tables, not 'none'"
    ]
    assert len(problems(f"{small}[[claims]]\n")) == 3, "nothing of it is there"
    assert problems(f"claims = ['a']\n{small}") == ["claims[0]: must be a table, not 'a'"]


@pytest.mark.parametrize("group", ["", "rows (a to c", "first\\nsecond"])
def test_a_baselines_group_is_any_text(
    problems: Callable[[str], list[str]], small: str, group: str
) -> None:
    """It is no data.group, whose words are columns and whose parentheses are a pattern's."""
    assert problems(f'{small}[[baselines]]\nname = "more"\ngroup = "{group}"\n') == []
