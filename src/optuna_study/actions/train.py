"""Train one exported configuration, and compare with what the search recorded of it."""

from __future__ import annotations

import csv
import dataclasses
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna_study.config.allowed import modules_of, require_allowed
from optuna_study.config.epoch import DIRECTIONS, EpochResult
from optuna_study.definition.config_file import Origin, read_config_file
from optuna_study.errors import DataError, UsageError
from optuna_study.paths import MODEL, Workspace, writing, written_beside
from optuna_study.report import formats
from optuna_study.report.training import TrainResult
from optuna_study.report.verify import Outcome, Verdict, compare, differences
from optuna_study.training import loop
from optuna_study.training.backbone.timm_models import own_scale, with_own_size
from optuna_study.training.backbone.trained_layers import way_of_norms
from optuna_study.training.device import environment, pick_device
from optuna_study.training.device_data import DeviceData, load_data
from optuna_study.training.model_file import save_model
from optuna_study.training.pretrained import weights_of
from optuna_study.training.recipe import best_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.run import Run

NOTES_SHOWN = 5  # sentences on the pictures that are told; `data check` gives all
log = logging.getLogger(__name__)
CURVE, RESULT = "curve.csv", "result.json"


@dataclass(frozen=True)
class TrainRequest:
    """The options of `train`, as given; without `folder` the recorded pictures are taken.

    `allowed` are the modules whose functions the configuration may name.
    """

    config: Path
    output: Path
    workspace: Workspace
    folder: Path | None = None
    device: str = "auto"
    verify: bool = False
    allowed: tuple[str, ...] = ()


def train(request: TrainRequest, told: Callable[[EpochResult, int], None]) -> TrainResult:
    """Train, write the files, and verify when asked to; `told` gets each epoch and their number.

    Raises:
        NotFoundError: no such configuration.
        StudyFileError: the configuration has problems.
        UsageError: nothing was recorded that could be verified, or functions are named that may
            not be run.
        DataError: unusable pictures, or others than the recorded ones when verifying.
        DeviceError: no such device.
        FolderError: the output cannot be written.
    """
    config, origin = read_config_file(request.config)
    config = with_own_size(config)
    require_allowed(request.config, modules_of(config), request.allowed)
    if request.verify and not (
        origin.recorded and origin.recorded.metric and origin.recorded.curve
    ):
        raise UsageError(f"{request.config}: holds no recorded curve to verify; export it again")
    device = _device(request, origin)
    with writing(request.output):
        request.output.mkdir(parents=True, exist_ok=True)
    data = load_data(
        config.data,
        request.folder or (Path(origin.folder) if origin.folder else None),
        request.workspace,
        device,
        config.train.memory_format,
        own_scale(config),
    )
    notes = _other_pictures(request, data, origin)
    for note in (*notes, *data.notes[:NOTES_SHOWN]):
        log.info("%s", note)
    metric = origin.metric or best_epoch.METRIC
    metric = metric if metric in DIRECTIONS else best_epoch.METRIC
    run = loop.prepare(config, data, device, metric=metric)
    results: list[EpochResult] = []
    for result in loop.epochs(run):
        results.append(result)
        told(result, config.train.epochs)
    return _finish(request, run, results, origin, notes)


def _device(request: TrainRequest, origin: Origin) -> torch.device:
    recorded = str(origin.environment.get("device", ""))
    if request.verify and request.device == "auto" and recorded == "cpu":
        return pick_device("cpu")  # where equality to the last bit can be asked for
    return pick_device(request.device)


def _other_pictures(request: TrainRequest, data: DeviceData, origin: Origin) -> tuple[str, ...]:
    """A sentence when the pictures are not those of the search; an error when verifying."""
    if origin.fingerprint in (None, data.fingerprint):
        return ()
    where = request.folder or origin.folder or "the built-in pictures"
    sentence = f"{where}: not the pictures that the search used (another fingerprint)"
    if request.verify:
        raise DataError(f"{sentence}; give those with --data, or leave out --verify")
    return (sentence,)


def _finish(
    request: TrainRequest,
    run: Run,
    results: Sequence[EpochResult],
    origin: Origin,
    notes: tuple[str, ...],
) -> TrainResult:
    run.use_kept_weights()
    config, kept, test = run.config, results[run.kept_epoch - 1], run.test()
    here = {
        **environment(run.device, config.train.threads),
        **weights_of([config.model]),
        **way_of_norms(config),
        **run.way_of_steps,
    }
    verdict = None
    if request.verify:
        pictures = len(run.data.validation_labels)
        verdict = _verdict(results, kept, origin, here, pictures)
    folder = request.output
    result = TrainResult(
        epochs=len(results),
        validation_accuracy=kept.validation_accuracy,
        validation_loss=kept.validation_loss,
        test_accuracy=test.accuracy,
        test_loss=test.loss,
        divergence=results[-1].divergence.message if results[-1].divergence else None,
        environment=here,
        notes=notes,
        files=tuple(folder / name for name in (MODEL, CURVE, RESULT, _copy_name(request.config))),
        verdict=verdict,
    )
    with writing(folder):
        save_model(folder / MODEL, run, config, run.data)
        _write_curve(folder / CURVE, results)
        _write(folder / RESULT, formats.to_json(_row(result, config)) + "\n")
        _write(folder / _copy_name(request.config), request.config.read_text(encoding="utf-8"))
    return result


def _verdict(
    results: Sequence[EpochResult],
    kept: EpochResult,
    origin: Origin,
    here: Mapping[str, Any],
    pictures: int,
) -> Verdict:
    recorded = origin.recorded
    assert recorded is not None  # or nothing is verified
    assert recorded.metric is not None
    theirs = {name: tuple(map(float, values)) for name, values in recorded.curve.items()}
    # Figures that are not finite cannot be written to a configuration file.
    ours = {
        name: tuple(
            value for each in results if math.isfinite(value := float(getattr(each, name)))
        )
        for name in theirs
        if name != "epoch"
    }
    epochs = tuple(float(each.epoch) for each in results)
    value = getattr(kept, recorded.metric)
    return compare(
        Outcome(recorded.value, theirs),
        Outcome(value if math.isfinite(value) else None, ours | {"epoch": epochs}),
        differences(
            origin.environment,
            here,
            resumed_elsewhere=origin.resumed_elsewhere,
        ),
        pictures,
    )


def _copy_name(config: Path) -> str:
    return f"config{config.suffix.lower()}"


def _row(result: TrainResult, config: TrainConfig) -> dict[str, Any]:
    row = {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name not in ("files", "verdict")
    }
    verdict = result.verdict
    row["verified"] = None if verdict is None else dataclasses.asdict(verdict)
    return row | {"seed": config.train.seed}


def _write_curve(path: Path, results: Sequence[EpochResult]) -> None:
    names = [field.name for field in dataclasses.fields(results[0]) if field.name != "divergence"]
    with written_beside(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([getattr(each, name) for name in names] for each in results)


def _write(path: Path, text: str) -> None:
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")
