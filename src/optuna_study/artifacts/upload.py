"""What a trial leaves to look at: configurations, answers as numbers.

Files are written before the trial's end, which names them in its own transaction: those of an
owner that has lost the trial belong to nothing.
"""

from __future__ import annotations

import io
import mimetypes
import uuid
from typing import TYPE_CHECKING

from optuna.artifacts import FileSystemArtifactStore

from optuna_study.paths import Workspace, writing
from optuna_study.store.records import Artifact, Claim

if TYPE_CHECKING:
    from collections.abc import Mapping


CONFIG = "config.toml"


def write_files(workspace: Workspace, claim: Claim, files: Mapping[str, bytes]) -> list[Artifact]:
    """Put files into Optuna's artifact store, for the end of the claimed trial to name.

    Their ids are the claim's own: tried again it writes the same files, and no other owner's.

    Raises:
        DiskFullError: no space left.
        FolderError: the folder cannot be written.
    """
    written = []
    with writing(workspace.artifacts):
        workspace.artifacts.mkdir(parents=True, exist_ok=True)
        artifact_store = FileSystemArtifactStore(str(workspace.artifacts))
        for name, content in files.items():
            artifact_id = str(uuid.uuid5(uuid.UUID(claim.token), name))
            artifact_store.write(artifact_id, io.BytesIO(content))
            # The dashboard shows text that it is told is text.
            guessed = "text/plain" if name.endswith(".toml") else mimetypes.guess_type(name)[0]
            kind = guessed or "application/octet-stream"
            written.append(Artifact(artifact_id, name, kind))
    return written
