"""Notes of a study and its trials, as optuna-dashboard keeps them: among the study's attributes.

People may write there, too, also while trials run, and their text is never overwritten: what we
wrote is known by its hash, which stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, cast, exists, literal, or_, select

from optuna_study.store.queue.ownership import lock_study
from optuna_study.store.rows import upsert
from optuna_study.store.schema import UUID_KEY, own_trials, study_system_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

PART = 2045  # characters of a note in one attribute: the dashboard writes no more
_OF_TRIAL = re.compile(r"dashboard:(\d+):note_(?:ver|str:(\d+))")
OURS_KEY = "optuna_study:note"  # the hash of what we last wrote as a study's note


def write_note(store: Store, study: StudyRecord, text: str, trial_id: int | None = None) -> bool:
    """Write the note of a study, or of a trial that has none; False where a person's stands.

    An emptied note counts as none. The version stays that of the person's last change: the
    dashboard refuses to save a text that was begun on an earlier one, and workers renew a note
    every few seconds.

    Raises:
        NotFoundError: the study is gone.
        StoreError: the store fails.
    """
    return write_notes(store, study, {trial_id: text}) > 0


def write_notes(store: Store, study: StudyRecord, texts: Mapping[int | None, str]) -> int:
    """Write several notes in one transaction, by the id of the trial; how many were written.

    None stands for the study itself. As `write_note`.

    Raises:
        NotFoundError: the study is gone.
        StoreError: the store fails.
    """
    written, rows = 0, []
    with store.write() as connection:
        lock_study(connection, study)  # two workers at once would mix their texts and hashes
        for trial_id, text in texts.items():
            changed = _changes(connection, study.study_id, text, trial_id)
            written += changed is not None
            rows += [
                {"study_id": study.study_id, "key": key, "value_json": json.dumps(value)}
                for key, value in (changed or {}).items()
            ]
        upsert(connection, study_system_attributes, ("study_id", "key"), rows)
    return written


def _changes(
    connection: Connection, study_id: int, text: str, trial_id: int | None
) -> dict[str, Any] | None:
    """The attributes that a note changes; None where a person's stands."""
    about = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    version, part = f"{about}note_ver", f"{about}note_str:"
    found = _read(connection, study_id, version, part)
    parts = _parts(found, part)
    stands = "".join(found[key] for key in parts)
    if stands and _hash(stands) != found.get(OURS_KEY):
        return None
    pieces = [text[start : start + PART] for start in range(0, len(text), PART)]
    changed = {
        version: found.get(version, 1),
        **dict.fromkeys(parts, ""),
        **{f"{part}{index}": piece for index, piece in enumerate(pieces)},
    }
    if trial_id is None:
        changed[OURS_KEY] = _hash(text)
    return {key: value for key, value in changed.items() if found.get(key) != value}


def read_trial_notes(store: Store, study_id: int) -> dict[int, dict[str, Any]]:
    """The notes of a study's trials by their ids, each its version and body; one statement.

    Raises:
        StoreError: the store fails.
    """
    key, value = study_system_attributes.c.key, study_system_attributes.c.value_json
    query = select(key, value).where(
        study_system_attributes.c.study_id == study_id, key.like("dashboard:%:note_%")
    )
    versions: dict[int, int] = {}
    parts: dict[int, dict[int, str]] = {}
    with store.read() as connection:
        for name, stored in connection.execute(query):
            found = _OF_TRIAL.fullmatch(name)
            if found and found[2] is None:
                versions[int(found[1])] = int(json.loads(stored))
            elif found:
                parts.setdefault(int(found[1]), {})[int(found[2])] = json.loads(stored)
    return {
        trial_id: {
            "version": version,
            "body": "".join(text for _, text in sorted(parts.get(trial_id, {}).items())),
        }
        for trial_id, version in versions.items()
    }


def without_note(store: Store, study: StudyRecord) -> list[int]:
    """The numbers of the ended trials that have no note and never had one.

    Raises:
        StoreError: the store fails.
    """
    own, version = own_trials.c, study_system_attributes.c
    key = literal("dashboard:") + cast(own.trial_id, String) + literal(":note_ver")
    noted = exists().where(version.study_id == study.study_id, version.key == key)
    query = (
        select(own.number)
        .where(own.uuid == study.uuid, own.end_kind.is_not(None), ~noted)
        .order_by(own.number)
    )
    with store.read() as connection:
        return list(connection.execute(query).scalars())


def is_trial_note(key: str) -> bool:
    """Whether a study's attribute belongs to the note of one of its trials."""
    return _OF_TRIAL.fullmatch(key) is not None


def adopt(connection: Connection) -> None:
    """Take the note that each study of ours has for our own, as it was before hashes were kept."""
    attribute, part = study_system_attributes, "dashboard:note_str:"
    query = select(attribute.c.study_id).where(attribute.c.key == UUID_KEY)
    for study_id in connection.execute(query).scalars().all():
        found = _read(connection, study_id, OURS_KEY, part)
        stands = "".join(found[key] for key in _parts(found, part))
        row = {"study_id": study_id, "key": OURS_KEY, "value_json": json.dumps(_hash(stands))}
        upsert(connection, attribute, ("study_id", "key"), [row])


def _read(connection: Connection, study_id: int, version: str, part: str) -> dict[str, Any]:
    """A note's attributes; on PostgreSQL the dashboard waits to write them meanwhile."""
    key, value = study_system_attributes.c.key, study_system_attributes.c.value_json
    is_its = study_system_attributes.c.study_id == study_id
    is_of_note = or_(key.in_((version, OURS_KEY)), key.startswith(part, autoescape=True))
    rows = connection.execute(select(key, value).where(is_its, is_of_note).with_for_update())
    return {name: json.loads(stored) for name, stored in rows}


def _parts(found: dict[str, Any], part: str) -> list[str]:
    """The keys of a note's parts, in order."""
    parts = [key for key in found if key.startswith(part)]
    return sorted(parts, key=lambda key: int(key.removeprefix(part)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
