"""`optuna-study predict`."""

from __future__ import annotations

from pathlib import Path

import click

from optuna_study.cli.options import device_option, example, format_option


@click.command(
    epilog=example(
        "optuna-study predict best/model.pt cat.jpg",
        "optuna-study predict best/model.pt *.png -f json",
    )
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@device_option
@format_option("table", "json")
def command(checkpoint: Path, images: tuple[Path, ...], device: str, form: str) -> None:
    """Classify pictures with a trained model: classes and their probabilities."""
    from optuna_study.report.formats import render
    from optuna_study.report.pages import predictions_table
    from optuna_study.report.rows import prediction_row
    from optuna_study.training.device import pick_device
    from optuna_study.training.model_file import predict

    predictions = predict(checkpoint, images, pick_device(device))
    for each in predictions:
        if each.note:
            click.echo(each.note, err=True)
    rows = [prediction_row(each) for each in predictions]
    click.echo(render(form, rows, predictions_table(rows)))
