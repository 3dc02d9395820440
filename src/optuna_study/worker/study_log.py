"""The worker's log file, in the folder of the study that it works on."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from optuna_study.paths import writing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from optuna_study.worker.open_study import Site


class _StudyLog:
    """The worker's log file, in the folder of the study that it works on."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._path: Path | None = None
        self._handler: logging.Handler | None = None

    def turn_to(self, site: Site) -> None:
        """Write to the file in this study's folder from now on."""
        path = site.workspace.log(site.study.uuid, self._worker)
        if path == self._path:
            return
        self.close()
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(handler)
        logging.getLogger(_LOGGERS[0]).setLevel(logging.INFO)
        logging.captureWarnings(True)
        self._path, self._handler = path, handler

    def begin(self, site: Site, number: int) -> None:
        """Write to the file in this study's folder; what follows is about this trial."""
        self.turn_to(site)
        path = site.workspace.log(site.study.uuid, self._worker)
        with suppress(OSError), site.workspace.log_index(path).open("a") as index:
            index.write(json.dumps({"trial": number, "from": path.stat().st_size}) + "\n")

    def close(self) -> None:
        """Write nowhere."""
        if self._handler is None:
            return
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)
        self._handler.close()
        self._path = self._handler = None


_LOGGERS: Sequence[str] = ("optuna_study", "optuna", "py.warnings")
