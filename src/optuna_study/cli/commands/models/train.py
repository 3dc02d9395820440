"""`optuna-study train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import allow_option, artifacts_option, device_option, example

if TYPE_CHECKING:
    from optuna_study.config.epoch import EpochResult
    from optuna_study.paths import Workspace


@click.command(
    epilog=example(
        "optuna-study export alexnet_pokemon -o best.toml",
        "optuna-study train best.toml -o best --verify",
    )
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--data", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Other pictures."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", required=True)
@device_option
@click.option("--verify", is_flag=True, help="Compare with what the search recorded.")
@allow_option
@artifacts_option
def command(
    config: Path,
    folder: Path | None,
    output: Path,
    device: str,
    verify: bool,
    allowed: tuple[str, ...],
    workspace: Workspace,
) -> None:
    """Train an exported configuration; print its validation and held-out test accuracy.

    Leaves the model, its curve, the figures and the configuration in the folder of -o. Functions
    of one's own that it names are run only where --allow names their module.
    """
    from optuna_study.cli.waiting import waiting

    with waiting("Starting torch and reading the pictures") as say:
        from optuna_study.actions.train import TrainRequest, train
        from optuna_study.cli.watching import epoch_line, require_match
        from optuna_study.report.training import training_page

        def told(result: EpochResult, epochs: int) -> None:
            epoch_line(result, epochs)
            say(f"Training: {result.epoch} of {epochs} epochs")

        request = TrainRequest(config, output, workspace, folder, device, verify, allowed)
        result = train(request, told)
    click.echo(training_page(result))
    require_match(result.verdict)
