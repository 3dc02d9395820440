"""`optuna-study export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import allow_option, example
from optuna_study.cli.target import Target, study_target

if TYPE_CHECKING:
    from optuna_study.config.text import Format


@click.command(
    epilog=example(
        "optuna-study export alexnet_pokemon -o best.toml",
        "optuna-study export alexnet_pokemon --trial 3 -f json",
        "optuna-study export alexnet_pokemon --model handout",
        "optuna-study export small_and_good --prefer knee -o best.toml",
    )
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--trial", type=click.IntRange(0), metavar="N", help="[default: the best]")
@click.option(
    "--prefer",
    metavar="NAME",
    help="Of a study with two objectives, instead of the winner: `seconds` or `parameters`, the "
    "cheapest trial that is no more than a standard error less accurate than the best; or "
    "`knee`, from where either is bought dearest; `accuracy` is the winner.",
)
@click.option(
    "-f", "--format", "form", type=click.Choice(["toml", "yaml", "json"]), help="[default: toml]"
)
@click.option(
    "--model",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write its trained model instead: weights, a program for plain PyTorch, ONNX (extra "
    "`onnx`), classes, configuration and a model card.",
)
@allow_option
@study_target
def command(
    target: Target,
    output: Path | None,
    trial: int | None,
    prefer: str | None,
    form: Format | None,
    folder: Path | None,
    allowed: tuple[str, ...],
) -> None:
    """Write the best trial's complete training configuration, for `train`.

    Goes to stdout without -o. The form follows the file's name when -f is not given.
    """
    from optuna_study.report.export import export_trial, form_of, write

    if prefer is not None:
        from optuna_study.errors import UsageError
        from optuna_study.report.export import preferred

        if trial is not None:
            raise UsageError("--prefer: --trial names the trial already; leave one of them out")
        trial = preferred(*target.open_study(), prefer)
    if folder is not None:
        from optuna_study.actions.export_model import export_model, require_alone

        require_alone(output, form)
        store, study = target.open_study()
        files = export_model(store, study, target.workspace, trial, folder, allowed)
        click.echo("\n".join(map(str, files)))
        return
    form = form or form_of(output)
    store, study = target.open_study()
    text = export_trial(store, study, trial, form)
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text)
        click.echo(output)
