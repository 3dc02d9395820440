"""From a command's options to a task: all is checked before anything is written or started.

Whatever needs torch (the device, the data, the model) is checked in a process forked from the
workers' server, so that this one stays small and torch is imported once.
"""

from __future__ import annotations

import importlib
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from optuna_study.definition.allowed import named_modules
from optuna_study.definition.model import section_fields
from optuna_study.definition.names import require_name
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import baseline_parameters, resolve
from optuna_study.definition.serialise import definition_hash, diff, from_json, to_json
from optuna_study.errors import DefinitionChangedError, OptunaStudyError, UsageError
from optuna_study.launch.change_state import budget_to_go_on, wanted_confirmation
from optuna_study.launch.local import ThisMachine
from optuna_study.launch.options import (
    check_store,
    choose_data,
    choose_profile,
    event_folder,
    launch_words,
    locate_study_file,
    require_pictures,
)
from optuna_study.launch.owner import owner_of
from optuna_study.launch.task import Task
from optuna_study.launch.worker_count import assign_devices, check_workers
from optuna_study.paths import Workspace
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store
from optuna_study.store.records import (
    Confirmation,
    NewStudy,
    PlannedTrial,
    StudyRecord,
    StudyState,
)
from optuna_study.store.schema import OWNER
from optuna_study.store.studies.budget import asked_budget, set_budget
from optuna_study.store.studies.studies import (
    add_planned,
    create_study,
    find_study,
    load_study,
    set_confirmation,
    set_priority,
    set_state,
)
from optuna_study.text import Advice, count
from optuna_study.worker import machine
from optuna_study.worker.messages import WorkerTask
from optuna_study.worker.versions import require_same_version, versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.definition.model import Definition, StudyFile
    from optuna_study.launch.backend import Backend
    from optuna_study.launch.task import StudyTask
    from optuna_study.store.engine.connection import Store
    from optuna_study.worker.messages import Proven

MOST_SEEDS = 100  # all of a comparison's trials wait at once, and each waiting one costs claims
MOST_TRIALS: int = section_fields("search")["trials"].metadata["high"]
MODELS = ("tpe", "gp", "cmaes")  # samplers that learn from the trials before
FEWEST_PROPOSALS = 10  # by such a sampler, for a search to be one
HIGHEST_PRIORITY = 10**6  # either way of 0, within what every store's columns hold
WAY_OUT = "put that back, or give the new study a name with --name"
COMPARED_SEEDS = 3  # runs of each baseline where --seeds does not say: fewer show no spread


@dataclass(frozen=True)
class LaunchRequest:
    """The options of a launch, as given; None is what the study or the environment decides."""

    study: str
    data: Path | None = None
    profile: str = "auto"  # auto, full or cpu
    name: str | None = None
    n_trials: int | None = None  # the study's total
    timeout: float | None = None  # seconds of this launch
    workers: str | int = "auto"  # a number, or auto
    device: str = "auto"
    seed: int | None = None
    storage: StoreAddress | None = None
    workspace: Workspace | None = None
    tensorboard: Path | None = None  # folder of event files
    only: str | None = None  # ONLY_BASELINES: nothing is searched
    seeds: int | None = None  # with it: runs of each baseline, in all
    priority: int | None = None  # among studies that share workers; higher ones come first
    fixed: tuple[str, ...] = ()  # settings as NAME=VALUE, over the file's
    owner: str | None = None  # of a new study; None is the environment's or this user
    detach: bool = False  # register only, others do the work
    confirm: bool = True  # the best ones, once the budget is met

    @property
    def runs(self) -> int:
        """How often each baseline is trained."""
        return 1 if self.only is None else self.seeds or COMPARED_SEEDS


def prepare(
    request: LaunchRequest,
    backend: Backend | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> StudyTask:
    """Check everything a launch needs, then create the study or find it again.

    Its workers are to run on `backend`, this machine unless another is given. `say` gets what is
    done next, where it takes a while.

    Raises:
        UsageError: options, study file, data or device that cannot be used; nothing was written.
        DefinitionChangedError: the study exists with another definition or other data.
        NotFoundError: no such study file.
        StoreError: the store cannot be reached or is of a newer version.
        FolderError: the workspace cannot be written.
        DiskFullError: no space is left there.
    """
    _check_options(request)
    backend = backend or ThisMachine()
    workspace = request.workspace or Workspace.locate()
    address = request.storage or StoreAddress.of_file(workspace.database)
    file = read_study_file(locate_study_file(request.study, address), request.fixed)
    check_store(address, workspace)
    if isinstance(backend, ThisMachine):
        require_pictures(request.data, file, workspace)
        _refuse_changed(request, file, address, workspace)
    board = event_folder(request.tensorboard)
    backend.get_ready(address)
    importlib.import_module(
        "optuna_study.store.engine.optuna_bridge"
    )  # a second, while the server starts
    facts = backend.look_around(request.device)
    profile = choose_profile(request.profile, facts.device)
    folder, stand_in, notes = choose_data(request.data, file, workspace)
    resolved = partial(
        resolve, file, profile, stand_in=stand_in, name=request.name, only=request.only
    )
    definition = resolved(threads=machine.cores())
    say("Reading and checking the pictures")
    proven = backend.prove(definition, folder, workspace, facts.device)
    definition = resolved(threads=machine.cores(), image_size=proven.image_size)
    workspace.require_writable()
    store = open_store(address, create=True)
    existing = find_study(store, definition.name)
    if existing is not None:
        threads, image_size = _pinned(existing)
        definition = resolved(threads=threads, image_size=image_size)
        _compare(existing, definition, proven, request)
    study = create_study(store, _new_study(request, definition, proven, folder), explain=diff)
    study = _set_going(store, study, definition, request, existing)
    asked = 1 if request.detach else request.workers
    say("Trying out how many trials this machine can train at once")
    count = backend.count_workers(asked, definition, folder, workspace, facts)
    worker = WorkerTask(
        address=address,
        workspace=workspace.root,
        device=facts.device,
        study=study.name,
        folder=folder,
        tensorboard=board,
        allowed=tuple(named_modules(definition)),  # they stand in a file of one's own
        models_tried=isinstance(backend, ThisMachine),
        shared_cores=machine.cores() if isinstance(backend, ThisMachine) else None,
    )
    return Task(
        store,
        study,
        workspace,
        assign_devices(worker, facts, count),
        timeout=request.timeout if request.timeout is not None else definition.search.timeout,
        resumed=existing is not None,
        notes=(*notes, *proven.notes, *_few_proposals(study, definition)),
    )


def _check_options(request: LaunchRequest) -> None:
    if request.name is not None:
        require_name(request.name)
    owner_of(request.owner)
    if request.n_trials is not None and not 1 <= request.n_trials <= MOST_TRIALS:
        raise UsageError(f"--n-trials {request.n_trials}: give a number from 1 to {MOST_TRIALS}")
    if request.priority is not None and abs(request.priority) > HIGHEST_PRIORITY:
        raise UsageError(
            f"--priority {request.priority}: give a number from {-HIGHEST_PRIORITY} to "
            f"{HIGHEST_PRIORITY}"
        )
    if request.only is not None and request.n_trials is not None:
        raise UsageError(
            "--n-trials: with --only baselines, --seeds says how many trials there are"
        )
    if request.seeds is not None and request.only is None:
        raise UsageError(
            "--seeds: goes with --only baselines; a search draws a seed for each trial"
        )
    if request.seeds is not None and not 1 <= request.seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds {request.seeds}: give a number from 1 to {MOST_SEEDS}")
    if request.detach and (request.timeout is not None or request.tensorboard is not None):
        raise UsageError(
            "--detach only registers the study: give --timeout to `optuna-study worker`, and "
            "leave out --tensorboard"
        )
    check_workers(request.workers, request.timeout)
    if request.seed is not None and not 0 <= request.seed < 2**63:
        raise UsageError(f"--seed {request.seed}: give a number from 0 to 2^63 - 1")


def _refuse_changed(
    request: LaunchRequest, file: StudyFile, address: StoreAddress, workspace: Workspace
) -> None:
    """Refuse a changed definition before torch is loaded, where the profile is known without."""
    if request.profile == "auto" and request.device != "cpu" and machine.may_have_gpu():
        return
    try:
        store = open_store(address)
    except OptunaStudyError:
        return  # there is none, or it is upgraded first
    _, stand_in, _ = choose_data(request.data, file, workspace)
    resolved = partial(
        resolve,
        file,
        choose_profile(request.profile, "cpu"),
        stand_in=stand_in,
        name=request.name,
        only=request.only,
    )
    with closing(store):
        existing = find_study(store, resolved(threads=1).name)
        if existing is not None:
            threads, image_size = _pinned(existing)
            definition = resolved(threads=threads, image_size=image_size)
            _compare_definition(existing, definition, request)


def _pinned(existing: StudyRecord) -> tuple[int, int]:
    """The threads and the image size that a study was made with, which its file may leave open."""
    config = from_json(existing.definition).config
    return config.train.threads, config.data.image_size


def _compare_definition(
    existing: StudyRecord, definition: Definition, request: LaunchRequest
) -> None:
    require_same_version(existing)
    if existing.definition_hash != definition_hash(definition):
        changes = "; ".join(diff(from_json(existing.definition), definition))
        if from_json(existing.definition).fixed != definition.fixed:
            raise DefinitionChangedError(
                f"{existing.name}: other settings are fixed than when it was made: {changes}",
                Advice(launch_words(existing), " goes on with it, --name makes another"),
            )
        migrate = Advice(
            f"{WAY_OUT}; ",
            ["migrate", existing.name, "--definition", request.study],
            " shows which of its trials can be carried over",
        )
        raise DefinitionChangedError(
            f"{existing.name}: differs from the study made earlier: {changes}",
            migrate if request.only is None and not request.fixed else WAY_OUT,
        )


def _compare(
    existing: StudyRecord, definition: Definition, proven: Proven, request: LaunchRequest
) -> None:
    """Refuse to go on with a study that would no longer be the same.

    Raises:
        DefinitionChangedError: what it searches, or its data, has changed.
        UsageError: another seed was asked for.
    """
    _compare_definition(existing, definition, request)
    if existing.fingerprint != proven.fingerprint:
        raise DefinitionChangedError(
            f"{existing.name}: its pictures ({existing.data_source}) are not those it was made "
            f"with; {WAY_OUT}"
        )
    if request.seed is not None and request.seed != existing.seed:
        raise UsageError(
            f"--seed {request.seed}: {existing.name} was made with seed {existing.seed}; {WAY_OUT}"
        )


def _new_study(
    request: LaunchRequest, definition: Definition, proven: Proven, folder: Path | None
) -> NewStudy:
    search = definition.search
    planned = planned_trials(definition) * request.runs
    asked = len(planned) if request.only else request.n_trials
    return NewStudy(
        name=definition.name,
        direction=search.direction,
        metric=search.metric,
        definition=to_json(definition),
        definition_hash=definition_hash(definition),
        fingerprint=proven.fingerprint,
        data_source=str(folder) if folder is not None else definition.config.data.name,
        environment={**proven.environment, **versions(), OWNER: owner_of(request.owner)},
        seed=search.seed if request.seed is None else request.seed,
        budget=search.trials if asked is None else asked,
        planned=planned,
        priority=request.priority or 0,
        beside=0 if request.only else len(planned),
        searched_budget=request.only is None,
        confirm=_confirmation(request, definition),
    )


def _few_proposals(study: StudyRecord, definition: Definition) -> list[str]:
    """A sentence where so few trials are searched that the sampler's model proposes hardly any."""
    search = definition.search
    startup = min(search.startup_trials, study.budget // 4)
    if definition.only or not study.searched_budget or search.sampler not in MODELS:
        return []
    if study.budget - startup >= FEWEST_PROPOSALS:
        return []
    return [
        f"{study.name}: of {count(study.budget, 'searched trial')} the sampler's model proposes "
        f"{study.budget - startup}, fewer than {FEWEST_PROPOSALS}: hardly a search; --n-trials "
        "gives it more."
    ]


def _confirmation(request: LaunchRequest, definition: Definition) -> Confirmation | None:
    """What a launch is to confirm; nothing of a comparison, which is of several seeds anyway."""
    if not request.confirm or request.only is not None:
        return None
    return wanted_confirmation(definition)


def planned_trials(definition: Definition) -> tuple[PlannedTrial, ...]:
    """The planned baselines as waiting trials; one outside the space has no parameters."""
    from optuna_study.search.suggest import to_store

    planned = []
    for baseline in definition.planned:
        parameters, fixed = baseline_parameters(definition, baseline)
        rows = to_store(definition.space, parameters) if parameters else ()
        planned.append(PlannedTrial(baseline.name, baseline.group, rows, fixed))
    return tuple(planned)


def _new_budget(
    store: Store, study: StudyRecord, definition: Definition, request: LaunchRequest
) -> int | None:
    """What this launch changes a search's budget to, if it does.

    A launch that asks for no more than before an early second stage lets that end first.
    """
    budget = request.n_trials
    if budget is None and from_json(study.definition).search.trials != definition.search.trials:
        budget = definition.search.trials  # the study file was changed since
    asked = asked_budget(store, study)
    if asked is not None and budget in (None, asked):
        return budget_to_go_on(store, study)
    return budget


def _set_going(
    store: Store,
    study: StudyRecord,
    definition: Definition,
    request: LaunchRequest,
    existing: StudyRecord | None,
) -> StudyRecord:
    """Bring budget and state of a study to what this launch asks for."""
    if existing is None:
        return study
    budget = None
    if request.only is None:
        budget = _new_budget(store, existing, definition, request)
    elif request.seeds is not None:
        planned = planned_trials(definition) * request.runs
        add_planned(store, study, planned, len(planned))
    if budget is not None:
        set_budget(store, study, budget)
    if existing.searched_budget:  # else it was made before there was a confirmation
        set_confirmation(store, study, _confirmation(request, definition))
    if request.priority is not None:
        set_priority(store, study, request.priority)
    if existing.halted or existing.state is not StudyState.ACTIVE:
        set_state(store, study, StudyState.ACTIVE)
    return load_study(store, study.name)
