"""What a trial or a study leaves for the dashboard: pictures, configurations.

Optuna refuses artifacts of an ended trial, so they are written just before. What is published
twice, since its worker died in between, keeps one of each file.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact

from optuna_study.paths import writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from optuna_study.paths import Workspace

CURVE, CONFUSION, CONFIG = "curve.png", "confusion.png", "config.toml"
BOUNDARY, DATA = "boundary.png", "data.png"  # of data that are points of a plane


def publish(
    workspace: Workspace,
    storage: BaseStorage,
    owner: FrozenTrial | Study,
    files: Mapping[str, bytes],
) -> None:
    """Hand files to Optuna's artifact store as those of a running trial or a study, by name.

    Raises:
        DiskFullError: no space left.
        FolderError: the folder cannot be written.
    """
    with writing(workspace.artifacts):
        workspace.artifacts.mkdir(parents=True, exist_ok=True)
        store = FileSystemArtifactStore(str(workspace.artifacts))
        known = {
            meta.filename: meta.artifact_id
            for meta in get_all_artifact_meta(owner, storage=storage)
        }
        for name, content in files.items():
            if name in known:
                store.write(known[name], io.BytesIO(content))
                continue
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name
                path.write_bytes(content)
                upload_artifact(
                    artifact_store=store,
                    file_path=str(path),
                    study_or_trial=owner,
                    storage=storage,
                    # The dashboard shows text whose kind is given as text.
                    mimetype="text/plain" if name.endswith(".toml") else None,
                )
