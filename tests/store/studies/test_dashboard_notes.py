"""Notes that optuna-dashboard reads, beside those that people write in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from notes import get_note, note_version, save_note

from optuna_study.errors import NotFoundError
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.records import Claim
from optuna_study.store.studies import dashboard_notes
from optuna_study.store.studies.dashboard_notes import adopt, write_note
from optuna_study.store.studies.deletion import delete_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.store.engine.connection import Store

THEIRS = "MY OWN NOTE: do not use before Monday"
LONG, SHORT = "größe ✓ | " * 700, "## 5 of 10 trials have ended"


def _version(study: optuna.Study) -> int:
    return note_version(study._storage.get_study_system_attrs(study._study_id))


def test_a_note_is_read_by_the_dashboard_and_renewed(
    store: Store, make_study: Callable[..., Any], plain: Callable[[str], optuna.Study]
) -> None:
    study = make_study(store)
    seen = plain(study.name)
    for text in (SHORT, LONG, SHORT, SHORT, ""):
        assert write_note(store, study, text)
        assert get_note(seen) == text
    from optuna_dashboard import _note

    assert _note.SYSTEM_ATTR_MAX_LENGTH == dashboard_notes.PART


@pytest.mark.parametrize("theirs", [THEIRS, LONG, f"{SHORT}\n{THEIRS}"])
def test_what_a_person_wrote_stays_until_they_empty_it(
    store: Store, make_study: Callable[..., Any], plain: Callable[[str], optuna.Study], theirs: str
) -> None:
    study = make_study(store)
    seen = plain(study.name)
    write_note(store, study, SHORT)
    save_note(seen, theirs)
    version = _version(seen)
    assert not write_note(store, study, "## 6 of 10 trials have ended")
    assert (get_note(seen), _version(seen)) == (theirs, version)
    save_note(seen, "")
    assert write_note(store, study, SHORT)
    assert get_note(seen) == SHORT


def test_a_note_from_before_hashes_were_kept_is_ours(
    store: Store, make_study: Callable[..., Any], plain: Callable[[str], optuna.Study]
) -> None:
    study, other = make_study(store), make_study(store, name="other")
    seen = plain(study.name)
    save_note(seen, LONG)
    with store.write() as connection:
        adopt(connection)
    assert write_note(store, study, SHORT)
    assert write_note(store, other, SHORT)
    assert get_note(seen) == SHORT


@pytest.mark.slow
def test_a_person_who_saves_while_a_note_is_looked_at_is_not_overwritten(
    store: Store,
    make_study: Callable[..., Any],
    plain: Callable[[str], optuna.Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(store)
    write_note(store, study, SHORT)
    seen, saving = plain(study.name), ThreadPoolExecutor(1)
    read = dashboard_notes._read

    def look(*arguments: Any) -> dict[str, Any]:
        found = read(*arguments)
        saved = saving.submit(save_note, seen, THEIRS)
        wait([saved], timeout=0.5)  # where it has to wait for us, it does
        return found

    monkeypatch.setattr(dashboard_notes, "_read", look)
    write_note(store, study, "## 6 of 10 trials have ended")
    saving.shutdown()
    assert get_note(seen) == THEIRS


def test_a_text_begun_before_we_renewed_ours_can_be_saved(
    store: Store, make_study: Callable[..., Any], plain: Callable[[str], optuna.Study]
) -> None:
    """The dashboard saves what is of the next version only."""
    study = make_study(store)
    write_note(store, study, SHORT)
    seen = plain(study.name)
    begun = _version(seen)
    write_note(store, study, LONG)
    attributes = seen._storage.get_study_system_attrs(seen._study_id)
    from optuna_dashboard import _note

    assert _note.version_is_incremented(attributes, None, begun + 1)


def test_a_trials_note_stays_as_it_was_written_while_it_ran(
    store: Store, make_study: Callable[..., Any], plain: Callable[[str], optuna.Study]
) -> None:
    study = make_study(store)
    claims = [queue.claim(store, study, owner) for owner in ("w1", "w2")]
    seen = plain(study.name)
    ids = [each.trial_id for each in claims if isinstance(each, Claim)]
    first, second = (optuna.Trial(seen, each) for each in ids)
    save_note(first, THEIRS)
    assert not write_note(store, study, SHORT, first._trial_id)
    assert write_note(store, study, LONG, second._trial_id)
    assert (get_note(first), get_note(second), get_note(seen)) == (THEIRS, LONG, "")


@pytest.mark.slow
def test_workers_that_write_at_once_leave_a_note_that_is_known_as_ours(
    store: Store, make_study: Callable[..., Any], plain: Callable[[str], optuna.Study]
) -> None:
    study = make_study(store)

    def write(worker: int) -> bool:
        own = open_store(store.address.url)
        try:
            return all(write_note(own, study, f"{worker}.{n} " * 1500) for n in range(10))
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(write, range(4)))
    assert write_note(store, study, SHORT)
    assert get_note(plain(study.name)) == SHORT


def test_a_deleted_studys_note_is_not_written(
    store: Store, make_study: Callable[..., Any]
) -> None:
    study = make_study(store)
    delete_study(store, study)
    with pytest.raises(NotFoundError):
        write_note(store, study, SHORT)
