"""A trial's trained model as a folder to hand out: weights, programs, card."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from optuna_study.errors import CheckFailedError, FolderError, NotFoundError, UsageError
from optuna_study.paths import (
    CLASSES,
    CONFIG,
    ONNX,
    PREPROCESSING,
    PROGRAM,
    WEIGHTS,
    writing,
    written_beside,
)
from optuna_study.report.document.model_card import model_card
from optuna_study.report.export import export, trained, write
from optuna_study.report.formats import to_json
from optuna_study.report.load import load_summary
from optuna_study.store.reads import reads
from optuna_study.store.reads.aggregates import confirming
from optuna_study.text import Advice

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import torch
    from torch import nn
    from torch.export import ExportedProgram

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord, TrialRecord
    from optuna_study.training.model_file import ModelFile

TOLERANCE = 1e-4  # between the probabilities of the model and of its ONNX program
PICTURES = 3  # that both are asked about
MODES = {1: "L", 3: "RGB"}


def export_model(
    store: Store,
    study: StudyRecord,
    workspace: Workspace,
    number: int | None,
    folder: Path,
    allowed: Collection[str] = (),
) -> list[Path]:
    """Write the model of a trial, the winner when None, into a folder; the files.

    Where its own was not kept it is that of a run that confirmed it, and the card says so.

    The ONNX program is written where the extra is installed, and held against the model.

    Raises:
        NotFoundError: no such trial, none has completed, or its model was not kept here.
        UsageError: the model is somebody's own and its module is not allowed.
        CheckFailedError: the ONNX program answers otherwise than the model.
        FolderError: the folder cannot be written.
        DiskFullError: no space left.
    """
    summary = load_summary(store, study)
    trial = summary.winner if number is None else reads.trial(store, study, number)
    if trial is None:
        raise NotFoundError(f"no trial of '{study.name}' has completed")
    trial, kept = _kept(store, study, workspace, trained(store, study, trial))
    _make(folder)
    from optuna_study.training.model_file import read_model  # torch: seconds

    stored = read_model(kept)
    module = _program(stored, allowed)
    onnx = _has_onnx()
    texts = {
        CONFIG: export(study, trial, reads.epochs(store, study, trial.number), "toml"),
        CLASSES: to_json(stored.classes) + "\n",
        PREPROCESSING: to_json(_preprocessing(stored)) + "\n",
        "README.md": model_card(summary, trial, stored.classes, onnx=onnx),
    }
    with writing(folder):
        _save(folder / WEIGHTS, lambda path: _save_weights(path, module.get_submodule("network")))
        program = _exported(module, stored)
        _save(folder / PROGRAM, lambda path: _save_program(path, program))
        if onnx:
            _save(folder / ONNX, lambda path: _save_onnx(path, module, program, stored))
    for name, text in texts.items():
        write(folder / name, text)
    return [folder / name for name in (WEIGHTS, PROGRAM, *([ONNX] if onnx else []), *texts)]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot be made ({error.strerror}); choose another folder"
        ) from error


def _kept(
    store: Store, study: StudyRecord, workspace: Workspace, trial: TrialRecord
) -> tuple[TrialRecord, Path]:
    """The trial whose model is here, and its file: its own, or a run's that confirmed it."""
    runs = confirming(store, study)
    again = (number for number, confirmed in runs.items() if confirmed == trial.number)
    for each in (trial, *(reads.trial(store, study, number) for number in again)):
        path = workspace.kept_model(study.uuid, each.number, each.claims)
        if path.is_file() and (each is trial or each.excluded is None):
            return each, path
    path = workspace.kept_model(study.uuid, trial.number, trial.claims)
    export_it = ["export", study.name, "--trial", str(trial.number), "-o", "best.toml"]
    raise NotFoundError(
        f"{path}: the model of trial {trial.number} is not here; only those of the best few are "
        "kept, where they were trained",
        Advice("train it again: ", export_it, ", then ", ["train", "best.toml", "-o", "best"]),
    )


def _program(stored: ModelFile, allowed: Collection[str]) -> nn.Module:
    """A module from uint8 pictures (N, channels, side, side) to probabilities (N, classes)."""
    import torch
    from torch import nn

    from optuna_study.training import losses
    from optuna_study.training.evaluation import evaluation_logits
    from optuna_study.training.model_file import load_network, without_pictures

    device = torch.device("cpu")

    class Program(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = load_network(stored, device, allowed)
            self.data = without_pictures(stored, device)
            # Both programs come of one torch.export, and ONNX has no operators that change their
            # input: torch would take them to pieces one by one, slowly. The answers are the same.
            # In the module's dictionary, since nn.Module declares no attribute of this name.
            for each in self.network.modules():
                if getattr(each, "inplace", None) is True:
                    vars(each)["inplace"] = False

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = evaluation_logits(self.network, stored.config, self.data, images)
            return losses.probabilities(stored.config, logits)

    return Program().eval()


def _preprocessing(stored: ModelFile) -> dict[str, Any]:
    """What a program needs to make its input of a picture; the rest is inside the programs."""
    data = stored.config.data
    return {
        "channels": stored.channels,
        "mode": MODES.get(stored.channels),
        "decoded_side": stored.cache_size,
        "image_size": data.image_size,
        "fit": data.fit,
        "evaluation": data.evaluation,
        "mean": stored.mean.tolist(),
        "std": stored.std.tolist(),
        "grey_ranges": {kind: list(ends) for kind, ends in stored.grey_ranges.items()},
        "permuted": stored.permutation is not None,
        "permutation": None if stored.permutation is None else stored.permutation.tolist(),
    }


def _save(path: Path, save: Callable[[Path], None]) -> None:
    with written_beside(path) as beside:
        save(beside)


def _save_weights(path: Path, network: nn.Module) -> None:
    from safetensors.torch import save

    weights = {name: weight.contiguous().clone() for name, weight in network.state_dict().items()}
    path.write_bytes(save(weights, metadata={"format": "pt"}))


def _exported(module: nn.Module, stored: ModelFile) -> ExportedProgram:
    """The module as torch's own program, for any number of pictures."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's own parts
        return torch.export.export(module, (_pictures(stored),), dynamic_shapes=_shapes())


def _shapes() -> tuple[dict[int, Any]]:
    import torch

    return ({0: torch.export.Dim("batch")},)


def _save_program(path: Path, program: ExportedProgram) -> None:
    import torch

    with warnings.catch_warnings(), path.open("wb") as file:
        warnings.simplefilter("ignore")  # of torch's own parts
        torch.export.save(program, file)


def _save_onnx(path: Path, module: nn.Module, program: ExportedProgram, stored: ModelFile) -> None:
    import onnxruntime
    import torch

    pictures = _pictures(stored)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's and onnxscript's own parts
        made = torch.onnx.export(
            program,
            (pictures,),
            dynamo=True,
            dynamic_shapes=_shapes(),
            input_names=["images"],
            output_names=["probabilities"],
            verbose=False,
        )
        assert made is not None
        made.save(path)
        expected = module(pictures)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"images": pictures.numpy()})
    off = (torch.from_numpy(given) - expected).abs().max().item()
    if not off <= TOLERANCE:
        raise CheckFailedError(
            f"the ONNX program's probabilities are up to {off:.1e} off the model's, more than "
            f"{TOLERANCE:g}; leave ONNX out by uninstalling onnxruntime"
        )


def _pictures(stored: ModelFile) -> torch.Tensor:
    import torch

    shape = (PICTURES, stored.channels, stored.cache_size, stored.cache_size)
    noise = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=noise)


def _has_onnx() -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("onnx", "onnxruntime", "onnxscript"))


def require_alone(output: Path | None, form: str | None) -> None:
    """Refuse `-o` and `-f` beside `--model`: a folder has all of its files.

    Raises:
        UsageError: one of them is given.
    """
    if output is not None or form is not None:
        raise UsageError("--model writes a folder of its own; leave out -o and -f")
