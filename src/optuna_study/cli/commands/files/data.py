"""`optuna-study data`: the data sets that are known here, and what is wrong with a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optuna_study.cli.options import artifacts_option, example, format_option, invocation
from optuna_study.cli.output import cursor_stream

if TYPE_CHECKING:
    from optuna_study.data.fetch import Source
    from optuna_study.paths import Workspace


@click.group(epilog=example("optuna-study data list", "optuna-study data check pictures/"))
def command() -> None:
    """Data sets: which there are, what they hold, what is wrong with a folder, download."""


@command.command("list", epilog=example("optuna-study data list"))
@format_option("table", "json", "yaml", "csv")
@artifacts_option
def list_sets(form: str, workspace: Workspace) -> None:
    """List the data sets that a study file may name, and whether they are here."""
    from optuna_study.data.overview import data_sets
    from optuna_study.report.data_pages import data_sets_text
    from optuna_study.report.formats import render

    rows = data_sets(workspace)
    click.echo(render(form, rows, data_sets_text(rows)))


@command.command(epilog=example("optuna-study data show rendered"))
@click.argument("name")
@click.option(
    "--image-size",
    default=64,
    show_default=True,
    type=click.IntRange(8, 1024),
    help="Side of the square that a model sees.",
)
@format_option("table", "json", "yaml")
@artifacts_option
def show(name: str, image_size: int, form: str, workspace: Workspace) -> None:
    """Show a data set by its NAME, or a folder: classes, split, fingerprint, odd files."""
    from optuna_study.data.overview import overview
    from optuna_study.report.data_pages import overview_text
    from optuna_study.report.formats import render

    found = overview(name, image_size, workspace)
    click.echo(render(form, asdict(found), overview_text(found)))


@command.command(epilog=example("optuna-study data check pictures/"))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--group",
    default="none",
    metavar="folder|COLUMN|PATTERN",
    help="What keeps pictures in one part, as a study's data.group.",
)
@format_option("table", "json", "yaml")
def check(folder: Path, group: str, form: str) -> None:
    """Look through a FOLDER of pictures: classes, parts, what is left out, copies.

    Ends with exit code 1 when it has found a problem; remarks are for you to judge.
    """
    from optuna_study.cli.waiting import waiting
    from optuna_study.data.folder.check import check_folder
    from optuna_study.errors import CheckFailedError
    from optuna_study.report.data_pages import to_text
    from optuna_study.report.formats import render

    with waiting(f"Looking through the pictures of {folder}"):
        report = check_folder(folder, group)
    click.echo(render(form, asdict(report), to_text(report)))
    if report.problems:
        raise CheckFailedError(f"{folder}: {'; '.join(report.problems)}")


@command.command(epilog=example("optuna-study data fetch flower --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Accept the licence without being asked.")
@click.option("--from", "url", hidden=True, help="Another place to download from.")
@click.option("--manifest", "table", hidden=True, type=click.Path(path_type=Path, exists=True))
@artifacts_option
def fetch(name: str, yes: bool, url: str | None, table: Path | None, workspace: Workspace) -> None:
    """Download a data set by its NAME, every file checked; goes on after an interruption.

    MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 come through torchvision.
    """
    from optuna_study.data.availability import RAW_SETS, is_here, raw_folder
    from optuna_study.data.fetch import fetch as download
    from optuna_study.data.fetch import manifest, source

    if name in RAW_SETS:
        if not is_here(name, workspace):
            raw = RAW_SETS[name]
            _confirm(name, raw.size, "torchvision's mirrors", raw.licence, yes=yes)
            from optuna_study.training.public_sets import fetch_raw

            fetch_raw(name, workspace)
        path = workspace.arrays(name)
        click.echo(path if path.is_file() else raw_folder(name, workspace))
        return
    origin = source(name, url, RAW_SETS)
    files = manifest(name, table)
    if not workspace.pictures(name).is_dir():
        said = f"{origin.licence}\n{origin.left_out}"
        _confirm(name, origin.size, origin.url, said, yes=yes)
        with _bar(origin) as bar:
            download(origin, files, workspace, bar.update)
    click.echo(workspace.pictures(name))


def _confirm(name: str, size: int, url: str, licence: str, *, yes: bool) -> None:
    """Show the licence and have it accepted.

    Raises:
        UsageError: it was not.
    """
    from optuna_study.errors import UsageError

    click.echo(f"{name}: {size / 1e6:.0f} MB from {url}", err=True)
    click.echo(f"Licence: {licence}", err=True)
    try:
        accepted = yes or click.confirm("Download?", err=True)
    except click.Abort:
        accepted = False
    if not accepted:
        raise UsageError("nothing was downloaded: the licence was not accepted; --yes accepts it")


def _bar(origin: Source) -> Any:
    from tqdm import tqdm

    return tqdm(
        file=cursor_stream(),
        total=origin.size,
        desc=origin.name,
        unit="B",
        unit_scale=True,
        disable=invocation().quiet,
    )
