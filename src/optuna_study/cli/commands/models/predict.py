"""`optuna-study predict`."""

from __future__ import annotations

from pathlib import Path

import click

from optuna_study.cli.options import allow_option, device_option, example, format_option


@click.command(
    epilog=example(
        "optuna-study predict model cat.jpg",
        "optuna-study predict best/model.pt photos -f json",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@device_option
@allow_option
@format_option("table", "json")
def command(
    model: Path,
    images: tuple[Path, ...],
    device: str,
    allowed: tuple[str, ...],
    form: str,
) -> None:
    """Classify pictures, or folders of them, with a trained model: classes and probabilities.

    MODEL is a model.pt, or a folder that `export --model` or `train -o` wrote.
    A picture that cannot be read has its line, the others are classified, and the exit code is 1.
    Functions of one's own that the model names are run only where --allow names their module.
    """
    from optuna_study.cli.waiting import waiting
    from optuna_study.data.folder.inspection import find_pictures
    from optuna_study.data.folder.listing import count_line
    from optuna_study.errors import CheckFailedError, NotFoundError
    from optuna_study.report.formats import render
    from optuna_study.report.pages import predictions_table
    from optuna_study.report.rows import prediction_row

    if not model.exists():
        raise NotFoundError(f"{model}: no such model; `optuna-study export --model` writes one")
    pictures, left_out = find_pictures(images)
    with waiting(f"Starting torch and classifying {len(pictures):,} pictures"):
        from optuna_study.training.device import pick_device
        from optuna_study.training.model_file import predict

        predictions = predict(model, pictures, pick_device(device), allowed)
    unreadable = sum(each.problem is not None for each in predictions)
    counts = count_line(len(pictures) - unreadable, left_out)
    for sentence in (counts, *(each.problem or each.note for each in predictions)):
        if sentence:
            click.echo(sentence, err=True)
    rows = [prediction_row(each) for each in predictions]
    click.echo(render(form, rows, predictions_table(rows)))
    if unreadable:
        raise CheckFailedError(f"{unreadable} of {len(pictures)} pictures cannot be read")
