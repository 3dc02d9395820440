"""Text for people and terminals: one line, amounts, durations, suggestions."""

from __future__ import annotations

import difflib
import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Control characters of either set, marks that turn the reading order, and halves of characters,
# such as bytes of a file's name that are no UTF-8; not the emphasis of our tables and errors.
_OBEYED = re.compile(
    r"(?!\x1b\[(?:0|1|31)m)"
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def in_one_line(error: BaseException) -> str:
    """An error of somebody else's in one line: its class and its first line, 300 characters long.

    >>> in_one_line(ValueError("no such layer"))
    'ValueError: no such layer'
    """
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}"[:300]


def shorten(text: str, most: int) -> str:
    """The text, or what of it has room in `most` characters with dots behind it.

    >>> shorten("a long name", 8), shorten("short", 8)
    ('a lon...', 'short')
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def without_middle(text: str, most: int) -> str:
    """The text, or its two ends and how much is missing, where it has more characters than `most`.

    >>> print(without_middle("begins and goes on until it ends", 10))
    begin
    ... 22 characters left out ...
     ends
    """
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"


def percent(share: float, decimals: int = 1) -> str:
    """A share as people read it.

    >>> percent(0.8125), percent(0.2, 0)
    ('81.2 %', '20 %')
    """
    return f"{100 * share:.{decimals}f} %"


def join_words(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> join_words(["train", "val", "test"]), join_words(["train"])
    ('train, val and test', 'train')
    """
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint for an unknown name: the nearest known one, or all of them.

    >>> did_you_mean("rleu", ["relu", "tanh"])
    "did you mean 'relu'?"
    >>> did_you_mean("xyz", ["relu", "tanh"])
    'known: relu, tanh'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if names else "none are known"


def printable(text: str) -> str:
    r"""The text on one line, with what does not print spelled out: a terminal would obey it.

    >>> print(printable("a\nb\x1b[2J ✓"))
    a\nb\x1b[2J ✓
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def spell_out(text: str) -> str:
    r"""The text with what a terminal would obey in the letters of JSON and TOML.

    >>> print(spell_out("a\x1b[2Jb\x9bc\u202ed"))
    a\u001b[2Jb\u009bc\u202ed
    """
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def duration(seconds: float | None) -> str:
    """A duration in its two largest units.

    >>> duration(3.21), duration(75), duration(7260), duration(200000), duration(None)
    ('3.2 s', '1 min 15 s', '2 h 1 min', '2 d 7 h', '-')
    """
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for large, size, small, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            return f"{whole // size} {large} {whole % size // part} {small}"
    return f"{whole} s"


class Advice(str):
    """A sentence of texts and commands of this program, each of which is a list of words.

    >>> advice = Advice(["resume", "cats"], " lets it go on")
    >>> print(advice)
    `optuna-study resume cats` lets it go on
    >>> print(pasteable(advice, " --storage sqlite:///a.db"))
    `optuna-study resume cats --storage sqlite:///a.db` lets it go on
    """

    parts: Sequence[str | Sequence[str]]

    def __new__(cls, *parts: str | Sequence[str]) -> Advice:
        """Join the parts, the commands between backticks."""
        advice = super().__new__(cls, _with_commands(parts, ""))
        advice.parts = parts
        return advice


def pasteable(text: str, place: str) -> str:
    """The text; of advice with the options that lead its commands to the same store."""
    return _with_commands(text.parts, place) if isinstance(text, Advice) else text


def _with_commands(parts: Iterable[str | Sequence[str]], place: str) -> str:
    return "".join(
        part if isinstance(part, str) else f"`{shlex.join(['optuna-study', *part])}{place}`"
        for part in parts
    )


def count(amount: int, noun: str) -> str:
    """An amount with its noun.

    >>> count(1, "trial"), count(3, "trial")
    ('1 trial', '3 trials')
    """
    return f"{amount} {noun}{'' if amount == 1 else 's'}"
