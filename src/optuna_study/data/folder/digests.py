"""The digests of files' contents, remembered by size, times and number from one reading on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from optuna_study.paths import writing, written_beside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

THREADS = min(4, os.cpu_count() or 1)
"""Threads that read and decode: Pillow lets go of the interpreter while it works."""

SETTLED_SECONDS = 2.0
"""Age below which a file's times may not tell of a further change."""


def index_name(folder: Path) -> str:
    """The name of the index of a folder's files."""
    return f"index-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]}.json"


def file_digests(paths: Sequence[Path], index: Path | None = None) -> list[str]:
    """The SHA-256 of each file's content; only what the index does not know is read.

    A file that cannot be read has a digest of its name; decoding will find the same, and say it.
    """
    known = _read_index(index)
    now = time.time_ns()
    marks = [_mark(path) for path in paths]

    def digest(position: int) -> str:
        path = paths[position]
        remembered = known.get(str(path))
        if remembered is not None and remembered[:-1] == marks[position]:
            return str(remembered[-1])
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return hashlib.sha256(f"unreadable {path.name}".encode(errors="replace")).hexdigest()

    with ThreadPoolExecutor(THREADS) as pool:
        digests = list(pool.map(digest, range(len(paths))))
    settled = now - int(SETTLED_SECONDS * 1e9)
    fresh = {
        str(path): [*mark, found]
        for path, mark, found in zip(paths, marks, digests, strict=True)
        if 0 < max(mark[1], mark[2]) < settled
    }
    if index is not None and fresh != known:
        with writing(index.parent), written_beside(index) as beside:
            beside.write_text(json.dumps(fresh), encoding="utf-8")
    return digests


def _read_index(index: Path | None) -> dict[str, list[object]]:
    """What an earlier reading remembers; nothing where the file is missing or damaged."""
    try:
        known = json.loads(index.read_bytes()) if index is not None else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {path: mark for path, mark in known.items() if isinstance(mark, list) and mark}


def _mark(path: Path) -> list[int]:
    """Size, times and number of a file: another content has another one of them.

    Whoever replaces a file may keep its modification time; the time of its status nobody sets.
    """
    try:
        state = path.stat()
    except OSError:
        return [0, 0, 0, 0]
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
