"""What the launching process asks forked ones that have torch, and their answers."""

from __future__ import annotations

from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from optuna_study.errors import OptunaStudyError
from optuna_study.worker.forking import context
from optuna_study.worker.messages import Facts, Message, Probed, Proven, rebuilt
from optuna_study.worker.process import enter_check, enter_probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.records import StudyRecord


PROBE_SECONDS = 300.0  # to load the data and to train for a moment; a GPU that hangs never does


def look_around(device: str) -> Facts:
    """Which device an option means here.

    Raises:
        DeviceError: it is not there.
    """
    facts: Facts = _ask("look_around", name=device)
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
        "prove", definition=definition, folder=folder, workspace=workspace, device=device
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
        "find_pictures", study=study, definition=definition, given=folder, workspace=workspace
    )
    return found


def ask_to_train(
    copies: int, definition: Definition, folder: Path | None, workspace: Workspace, device: str
) -> list[Probed]:
    """Let so many processes train the base configuration at the same time for a moment.

    Raises:
        OptunaStudyError: one of them could not.
    """
    started = [fork(enter_probe, definition, folder, workspace, device) for _ in range(copies)]
    try:
        for _, control in started:
            _probed(control)  # loaded and warm
        for _, control in started:
            control.send(None)
        return [_probed(control) for _, control in started]
    finally:
        for process, control in started:
            control.close()
            process.terminate()
            process.join()
            process.close()


def fork(
    enter: Callable[..., None], *arguments: Any, name: str | None = None
) -> tuple[ForkServerProcess, Connection[Any, Any]]:
    """Fork a process that enters a function with its end of a pipe; the process and our end."""
    ours, theirs = connection.Pipe()
    process = context().Process(target=enter, args=(theirs, *arguments), name=name)
    process.start()
    theirs.close()
    return process, ours


def _ask(question: str, **arguments: Any) -> Any:
    process, control = fork(enter_check, question, arguments)
    try:
        answer = control.recv()
    except EOFError:
        process.join()
        raise OptunaStudyError(
            f"checking the launch ended with exit code {process.exitcode} and no answer; "
            "what the system said about it (memory?) may help"
        ) from None
    finally:
        control.close()
        if process.is_alive():
            process.join(1.0)
        process.terminate()
        process.join()
    if isinstance(answer, Message):
        raise rebuilt(answer)
    return answer


def _probed(control: Connection[None, Probed | Message]) -> Probed:
    try:
        if not control.poll(PROBE_SECONDS):
            raise OptunaStudyError(
                f"a process that tried out the device gave no answer for {PROBE_SECONDS:g} s"
            )
        answer = control.recv()
    except (EOFError, OSError):
        raise OptunaStudyError("a process that tried out the device died") from None
    if isinstance(answer, Message):
        raise rebuilt(answer)
    return answer
