"""What the launching process asks a forked one that has torch, and the answers."""

from __future__ import annotations

from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from optuna_study.errors import OptunaStudyError
from optuna_study.worker.entry import context, enter_check
from optuna_study.worker.messages import Facts, Message, Proven, rebuilt

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.records import StudyRecord


def look_around(device: str) -> Facts:
    """Which device an option means here.

    Raises:
        DeviceError: it is not there.
    """
    facts: Facts = _ask("look_around", {"name": device})
    return facts


def prove(
    definition: Definition, folder: Path | None, workspace: Workspace, device: str
) -> Proven:
    """Show that the data can be read and split, and that every model can be built.

    Raises:
        DataError: unusable data.
        UsageError: a model that cannot be built.
    """
    proven: Proven = _ask(
        "prove",
        {"definition": definition, "folder": folder, "workspace": workspace, "device": device},
    )
    return proven


def locate(
    study: StudyRecord, definition: Definition, folder: Path | None, workspace: Workspace
) -> Path | None:
    """Where this machine has a study's pictures; see `find_pictures`.

    Raises:
        DataError: nowhere.
    """
    found: Path | None = _ask(
        "find_pictures",
        {"study": study, "definition": definition, "given": folder, "workspace": workspace},
    )
    return found


def _ask(question: str, arguments: dict[str, Any]) -> Any:
    ours, theirs = connection.Pipe()
    process = context().Process(target=enter_check, args=(theirs, question, arguments))
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        process.join()
        raise OptunaStudyError(
            f"checking the launch ended with exit code {process.exitcode} and no answer; "
            "what the system said about it (memory?) may help"
        ) from None
    finally:
        ours.close()
        if process.is_alive():
            process.join(1.0)
        process.terminate()
        process.join()
    if isinstance(answer, Message):
        raise rebuilt(answer)
    return answer
