"""What a PostgreSQL error's SQLSTATE says of a retry: one table of all classes, and exceptions.

The classes are those of PostgreSQL's documentation, appendix A.
"""

from __future__ import annotations

from enum import Enum, auto


class Kind(Enum):
    """What becomes of a failure when the same is tried again."""

    PASSING = auto()  # it may succeed later, with nobody's help
    IN_THE_WAY = auto()  # it may succeed at once: another transaction was first
    FULL = auto()  # it succeeds when somebody has made space
    FOR_GOOD = auto()  # it fails until somebody changes the server, the database or the URL
    OURS = auto()  # it fails: a statement of ours is wrong, or tables are no longer what they were


_P, _W, _G, _O = Kind.PASSING, Kind.IN_THE_WAY, Kind.FOR_GOOD, Kind.OURS
SORTED = {
    **dict.fromkeys(("00", "01", "02", "03"), _O),  # success, warnings, no data, not complete
    "08": _P,  # the connection; also what PgBouncer says of its own limits
    **dict.fromkeys(("09", "0A", "0B", "0F", "0L", "0P", "0Z", "10"), _O),  # wrong statements
    **dict.fromkeys(("20", "21", "22", "23", "24"), _O),  # values, constraints, cursors
    "25": _O,  # the transaction's state
    "25006": _P,  # read-only: a standby before its promotion, a server before a switch
    "25P03": _P,  # idle in a transaction for too long
    "25P04": _P,  # a transaction that took too long
    **dict.fromkeys(("26", "27"), _O),  # statement names, triggers
    "28": _G,  # who we are
    **dict.fromkeys(("2B", "2D", "2F", "34", "38", "39", "3B"), _O),  # routines, savepoints
    "3D": _G,  # no such database
    "3F": _G,  # no such schema
    "40": _W,  # serialization, deadlock
    "40002": _O,  # a constraint, met when committing
    "42": _O,  # syntax, or tables that are not what they were
    "42501": _G,  # a right that is missing
    "44": _O,  # a view's own check
    "53": _P,  # memory, connections
    "53100": Kind.FULL,  # disk
    "54": _O,  # too complex a statement
    "55": _G,  # an object that is not as it must be
    "55006": _W,  # in use
    "55P03": _W,  # a lock not to be had
    "57": _P,  # a server that starts, stops or recovers, a statement that took too long
    "57P04": _G,  # the database was dropped
    "58": _G,  # files of the server's
    "58030": _P,  # reading or writing them
    "72": _P,  # a snapshot too old
    "F0": _G,  # the server's configuration
    "HV": _O,  # foreign tables
    "P0": _G,  # raised by somebody's own functions
    "XX": _G,  # the server's own fault, or damaged data
}


def sort_state(state: str) -> Kind:
    """The kind of a SQLSTATE; of a class that is not in the table, that nobody can help it.

    >>> sort_state("25006"), sort_state("42P01")
    (<Kind.PASSING: 1>, <Kind.OURS: 5>)
    """
    return SORTED.get(state) or SORTED.get(state[:2]) or Kind.FOR_GOOD
