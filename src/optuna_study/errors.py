"""Every known error, and the exit code each ends the program with.

OptunaStudyError (1)
├── UsageError (2): wrong options or arguments
│   ├── StudyFileError: a study file or an exported config with one or more problems
│   ├── OutsideSpaceError: a configuration that a search space does not hold
│   ├── DefinitionChangedError: a study exists with another definition
│   ├── StorageUrlError: a storage URL that cannot be one
│   ├── DataError: unusable data
│   ├── DeviceError: a device that is not there
│   └── FolderError: a folder that cannot be written
├── NotFoundError (4): no such study, trial or file
├── StoreError (5): store unreachable, or of another version
│   ├── OtherVersionError: a study that another version of this package made
│   └── UnreachableError: the store does not answer right now; later it may
│       ├── InTheWayError: another transaction was in the way
│       └── StoreFullError (1): no space left where the store is kept
├── CheckFailedError (1): a verification or check that found something
├── DeviceLostError (1): a GPU's error after which this process can train no more
├── DiskFullError (1): no space left for files
├── NothingCompletedError (3): finished, yet no trial completed, or too many failures
├── StaleClaimError (1): this worker no longer owns its trial; never leaves the worker
└── InterruptedBySignalError (130 or 143): stopped from outside

A message is one line: what is wrong, where, and the next step.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from optuna_study.text import pasteable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


MOST_SHOWN = 50
"""Problems of one file that are shown, each in a line: nobody mends more of them at a time."""


class OptunaStudyError(Exception):
    """The base of every known error: what is wrong and where, and what to do next where known."""

    exit_code = 1

    def __init__(self, what: str, step: str = "") -> None:
        self.what = what
        self.step = step
        super().__init__(f"{what}; {step}" if step else what)

    def at(self, place: str) -> str:
        """The message, with the options that lead its commands to the same store."""
        return f"{self.what}; {pasteable(self.step, place)}" if self.step else str(self)


class UsageError(OptunaStudyError):
    """Wrong options or arguments."""

    exit_code = 2


class StudyFileError(UsageError):
    """A study file or exported config with problems, all of them at once.

    Each problem is one sentence that begins with its dotted path; `shown` are the first of them,
    and how many more there are.
    """

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where = where
        self.problems = tuple(problems)
        self.shown = self.problems[:MOST_SHOWN]
        if len(self.problems) > MOST_SHOWN:
            self.shown += (f"... and {len(self.problems) - MOST_SHOWN:,} more",)
        super().__init__(f"{where}: {'; '.join(self.shown)}")


class OutsideSpaceError(UsageError):
    """Settings that a search space does not hold: each with a sentence."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        sentences = (f"{name}: {problem}" for name, problem in self.problems.items())
        super().__init__(f"outside the space: {'; '.join(sentences)}")


class DefinitionChangedError(UsageError):
    """The study exists with another definition; the message carries the difference."""


class StorageUrlError(UsageError):
    """A storage URL that cannot be one."""


class DataError(UsageError):
    """Data that cannot be used: absent, unreadable, or too little of it."""


class DeviceError(UsageError):
    """A device that this machine does not have."""


class FolderError(UsageError):
    """A folder that cannot be created or written."""


class NotFoundError(OptunaStudyError):
    """No such study, trial or file."""

    exit_code = 4


class StoreError(OptunaStudyError):
    """The store cannot be reached, or is of another version."""

    exit_code = 5


class OtherVersionError(StoreError):
    """A study that another version of this package made; other studies of its store may do."""


class UnreachableError(StoreError):
    """The store does not answer right now; trying again later makes sense."""


class InTheWayError(UnreachableError):
    """Another transaction was in the way; the store is there, and trying again at once helps."""


class StoreFullError(UnreachableError):
    """No space left where the store is kept, until somebody makes some."""

    exit_code = 1


class CheckFailedError(OptunaStudyError):
    """A verification or a check found something."""


class DiskFullError(OptunaStudyError):
    """No space left where a checkpoint, a cache or another file is kept."""


class DeviceLostError(OptunaStudyError):
    """A GPU's error after which this process can train no more; a fresh one can."""


class NothingCompletedError(OptunaStudyError):
    """The study finished, yet no trial completed, or too many failed in a row."""

    exit_code = 3


class StaleClaimError(OptunaStudyError):
    """Another worker owns the trial now; nothing of this write was kept."""


class InterruptedBySignalError(OptunaStudyError):
    """Stopped by a signal; `left` says how things stand, of a launch unless told otherwise."""

    def __init__(
        self,
        number: int,
        left: str = "running trials were given back, the same command goes on from their "
        "checkpoints.",
    ) -> None:
        self.number = number
        self.exit_code = 128 + (signal.SIGTERM if number == signal.SIGHUP else number)
        super().__init__(f"Interrupted by {signal.Signals(number).name}; {left}")
