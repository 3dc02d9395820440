"""`optuna-study launch`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import (
    artifacts_option,
    crew_options,
    example,
    invocation,
    place_options,
    profile_option,
    storage_option,
    tell,
)
from optuna_study.paths import given_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(
    epilog=example(
        "optuna-study launch ~/pictures/cats",
        "optuna-study launch alexnet_pokemon",
        "optuna-study launch alexnet_pokemon --data ~/pokemon --profile cpu --n-trials 24",
        "optuna-study launch mnist_mlp --data mnist.npz --only baselines --seeds 3",
        "optuna-study worker $(optuna-study launch alexnet_pokemon --detach)",
    )
)
@click.argument("study", metavar="STUDY|FOLDER")
@profile_option
@click.option("--name", metavar="NAME", help="Make a further study of the same file.")
@click.option("--n-trials", type=int, metavar="N", help="Searched trials, over every launch.")
@click.option("--timeout", type=float, metavar="S", help="Seconds of this launch.")
@crew_options
@click.option("--seed", type=int, metavar="N", help="Seed of a new study.")
@click.option(
    "--set",
    "fixed",
    multiple=True,
    metavar="NAME=VALUE",
    help="Fix a setting, over the study file; a part of the study, so give it again to go on.",
)
@click.option(
    "--notify",
    metavar="COMMAND",
    help="Run this when the launch ends, with its outcome as JSON on stdin.",
)
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write each trial's curves, pictures and settings for TensorBoard, when it ends.",
)
@click.option(
    "--only",
    type=click.Choice(["baselines"]),
    help="Search nothing: compare the baselines over several seeds, as a study of its own.",
)
@click.option(
    "--seeds", type=int, metavar="S", help="With --only: runs of each baseline. [default: 3]"
)
@click.option(
    "--no-confirm",
    "confirm",
    flag_value=False,
    default=True,
    help="Do not train the best ones again on fresh seeds once the budget is met.",
)
@click.option(
    "--priority",
    type=int,
    metavar="N",
    help="Among studies that share workers; higher ones come first. [default: 0]",
)
@click.option(
    "--owner",
    metavar="NAME",
    help="Whose a new study is, for `list`. [env var: OPTUNA_STUDY_OWNER; default: the user]",
)
@click.option(
    "--detach", is_flag=True, help="Only register the study, and print its name: workers join it."
)
@click.option(
    "--on",
    default="local",
    show_default=True,
    metavar="local|ray[://HOST:PORT]",
    help="Where workers run: this machine, or a Ray cluster (extra `ray`).",
)
@storage_option
@artifacts_option
def command(
    study: str,
    *,
    data: Path | None,
    profile: str,
    name: str | None,
    n_trials: int | None,
    timeout: float | None,
    workers: str | int,
    device: str,
    seed: int | None,
    fixed: tuple[str, ...],
    notify: str | None,
    tensorboard: Path | None,
    only: str | None,
    seeds: int | None,
    confirm: bool,
    priority: int | None,
    owner: str | None,
    detach: bool,
    on: str,
    storage: StoreAddress | None,
    workspace: Workspace,
) -> None:
    """Create or resume a study: its baselines, the search until the budget is met, confirmation.

    A folder of pictures gets the study file that `init` would write, named after it.

    Confirmation trains the best ones and the best baseline again on fresh seeds. Ends with what
    came of it, the best configuration, the baselines beside it, and what to type next. Ctrl-C
    gives running trials back; the same command goes on from their checkpoints.
    """
    from optuna_study.worker.forking import warm

    _require_there(study, data, storage, workspace)
    if on == "local":
        # It takes seconds: before anything else is even imported.
        warm(timm=_likely_names_timm(study, fixed))

    from optuna_study.cli.notify import command_words, notified
    from optuna_study.cli.waiting import waiting
    from optuna_study.cli.watching import register, see_through
    from optuna_study.launch.backend import find_backend
    from optuna_study.launch.options import study_of
    from optuna_study.launch.prepare import LaunchRequest, prepare
    from optuna_study.launch.supervise import WorkerPool

    notified_command = command_words(notify)
    named, made = study_of(study)
    if made:
        tell(made)
    request = LaunchRequest(
        named,
        data=data,
        profile=profile,
        name=name,
        n_trials=n_trials,
        timeout=timeout,
        workers=workers,
        device=device,
        seed=seed,
        storage=storage,
        workspace=workspace,
        tensorboard=tensorboard,
        only=only,
        seeds=seeds,
        confirm=confirm,
        priority=priority,
        fixed=fixed,
        owner=owner,
        detach=detach,
    )
    with find_backend(on) as backend:
        with waiting("Starting torch") as say:
            task = prepare(request, backend, say)
        if detach:
            register(task, place_options(), quiet=invocation().quiet)
            return
        with notified(notified_command, task), WorkerPool(task, backend) as pool:
            see_through(task, pool.ticks(), place_options(), quiet=invocation().quiet)


def _likely_names_timm(study: str, fixed: Sequence[str]) -> bool:
    """Whether a launch will use timm's models, by a look that is wrong at the cost of time alone.

    Of a folder `init` makes a study of one of them.
    """
    from optuna_study.config.catalogue import TIMM

    path = given_path(study)
    if path.is_dir():
        return True
    text = " ".join(fixed)
    with suppress(OSError):
        named = path if path.suffix == ".toml" else Path("studies") / f"{study}.toml"
        text += named.read_text(encoding="utf-8", errors="replace")
    return TIMM in text


def _require_there(
    study: str, data: Path | None, storage: StoreAddress | None, workspace: Workspace
) -> None:
    """Refuse a mistyped path or name at once, before anything is started for it."""
    from optuna_study.errors import DataError, NotFoundError

    if not given_path(study).exists():
        if "/" in study or study.endswith(".toml"):
            raise NotFoundError(f"'{study}': no such study file, and no such folder of pictures")
        if not Path("studies", f"{study}.toml").is_file():
            from optuna_study.launch.options import locate_study_file
            from optuna_study.store.engine.address import StoreAddress

            locate_study_file(study, storage or StoreAddress.of_file(workspace.database))
    if data is not None and not data.exists():
        raise DataError(
            f"{data}: no such folder", "give one that holds a folder of pictures for each class"
        )
