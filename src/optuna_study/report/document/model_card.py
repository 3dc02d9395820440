"""The model card of an exported model: what it is, what it reached, how it is used; Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.report import values
from optuna_study.report.confirmation.page import (
    WHAT_THEY_ARE,
    confirmed_columns,
    floors,
    sentence,
)
from optuna_study.report.export import telling_settings, trial_config
from optuna_study.report.tables import markdown_table
from optuna_study.store.schema import CLASS_COUNTS, SIDE_COUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.report.summary import Summary
    from optuna_study.store.records import TrialRecord

SNIPPET = """\
import json, pathlib, torch
import numpy as np
from PIL import Image

about, classes = (
    json.loads(pathlib.Path(f"{name}.json").read_text()) for name in ("preprocessing", "classes")
)
model = torch.export.load("model.pt2").module()
side = (about["decoded_side"], about["decoded_side"])
picture = Image.open("picture.png").convert(about["mode"]).resize(side)
pixels = torch.from_numpy(np.array(picture)).reshape(1, *side, -1).permute(0, 3, 1, 2)
print(classes[model(pixels)[0].argmax()])
"""
"""Plain PyTorch and Pillow, in the folder of the export."""

ONNX_SNIPPET = """\
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
print(classes[session.run(None, {"images": pixels.numpy()})[0][0].argmax()])
"""


def model_card(summary: Summary, trial: TrialRecord, classes: Sequence[str], *, onnx: bool) -> str:
    """The card of a trial's model."""
    study = summary.study
    title = study.definition["title"] or study.name
    which = f"trial {trial.number} of `{study.name}`"
    if trial.confirms is not None:
        which = (
            f"trial {trial.confirms} of `{study.name}`, trained again as trial {trial.number} on "
            "a fresh seed to confirm it"
        )
    lines = [f"# {title}", "", f"An image classifier: {which}.", ""]
    lines += ["## Classes", "", ", ".join(classes), ""]
    lines += ["## Data", "", *_data(summary), "## Figures", "", *_figures(summary, trial)]
    config = trial_config(study, trial)
    rows = [["model", f"{config.model.name} {config.model.variant}".rstrip()]]
    rows += values.setting_rows(telling_settings(study, trial), config)
    lines += ["## Settings", "", *markdown_table(["setting", "value"], rows)]
    lines += ["`config.toml` has all of them, for `optuna-study train`.", ""]
    lines += ["## Use", "", "```python", SNIPPET.rstrip(), "```", ""]
    if onnx:
        lines += ["```python", ONNX_SNIPPET.rstrip(), "```", ""]
    lines += [
        "The models take uint8 pictures (N, channels, side, side), scale them as in training, and "
        "give the probability of each class. `model.safetensors` has the weights alone. Pillow's "
        "own `resize` stretches a picture; what training did is `fit` in `preprocessing.json`.",
        "",
        "## Limits",
        "",
        *_limits(summary),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _data(summary: Summary) -> list[str]:
    environment = summary.study.environment
    # A card is handed on: the folder's name says enough, its place on this machine too much.
    rows = [["pictures from", Path(summary.study.data_source).name]]
    rows += [[side, f"{amount:,}"] for side, amount in environment.get(SIDE_COUNTS, {}).items()]
    counts = environment.get(CLASS_COUNTS)
    if counts:
        rows += [["training pictures of a class", f"{min(counts):,} to {max(counts):,}"]]
    rows += [["fingerprint", summary.study.fingerprint]]
    return markdown_table(["what", ""], rows)


def _figures(summary: Summary, trial: TrialRecord) -> list[str]:
    study = summary.study
    label = study.metric.replace("_", " ")
    where = "In the search" if trial.confirms is None else "In this run"
    lines = [f"{where}: {label} {values.metric(study.metric, trial.value)}.", ""]
    if known := floors(study):
        lines += [" ".join(known), ""]
    if summary.confirmation is not None:
        headers, rows = confirmed_columns(summary.confirmation, study.metric)
        lines += [sentence(summary.confirmation), "", *markdown_table(headers, rows)]
        lines += [WHAT_THEY_ARE, ""] if rows else []
    return lines


def _limits(summary: Summary) -> list[str]:
    lines = [
        "- It knows these classes alone and names one of them for any picture, of whatever it is.",
        "- Its figures are of one split of one set of pictures; pictures taken otherwise may fare "
        "worse.",
    ]
    if summary.confirmation is None or summary.confirmation.verdict is None:
        lines.append(
            "- Its figure is that of one run chosen for it, so too good on average: `optuna-study "
            "train config.toml -o DIR` measures on held-out pictures."
        )
    return lines
