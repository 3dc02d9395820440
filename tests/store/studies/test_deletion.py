"""Studies deleted, by us and by others."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from optuna_study.errors import NotFoundError, StaleClaimError
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, End, EndKind
from optuna_study.store.schema import own_tables
from optuna_study.store.studies import studies
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.deletion import delete_study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord


def test_deleting_removes_every_row_of_it_and_no_other(
    store: Store, make_study: Any, planned: Any, epoch: Any
) -> None:
    keep = make_study(store, name="keep", planned=(planned(),))
    gone = make_study(store, name="gone", planned=(planned(),))
    for study in (keep, gone):
        claim = queue.claim(store, study, "w1")
        assert isinstance(claim, Claim)
        queue.report(store, claim, [epoch(1, 0.5)])
    delete_study(store, gone)
    delete_study(store, gone)  # gone already: nothing to do
    assert [row.name for row in reads.list_studies(store)] == ["keep"]
    assert reads.trial(store, keep, 0).epochs == 1
    assert len(reads.epochs(store, keep, 0)) == 1
    with store.read() as connection:
        for table in own_tables.sorted_tables:
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 1


def test_a_deleted_study_cannot_be_changed(store: Store, make_study: Any) -> None:
    study = make_study(store)
    delete_study(store, study)
    with pytest.raises(NotFoundError, match="was deleted"):
        set_budget(store, study, 3)


def test_deleting_an_old_record_spares_a_study_with_its_ids(
    sqlite_store: Store, make_study: Any
) -> None:
    old = make_study(sqlite_store)
    delete_study(sqlite_store, old)
    new = make_study(sqlite_store, name="new")
    assert new.study_id == old.study_id
    delete_study(sqlite_store, old)
    assert studies.load_study(sqlite_store, "new") == new


def _work(url: str, study: StudyRecord, owner: str, epochs: Sequence[EpochRecord]) -> int:
    """End trials until the study is gone; how many."""
    store, ended = open_store(url), 0
    try:
        while True:
            claim = queue.claim(store, study, owner)
            assert isinstance(claim, Claim)
            for each in epochs:
                queue.report(store, claim, [each])
            queue.end(store, claim, End(EndKind.COMPLETED, "all epochs", 0.5))
            ended += 1
    except (NotFoundError, StaleClaimError):
        return ended
    finally:
        store.close()


@pytest.mark.slow
def test_a_study_is_deleted_while_workers_write_to_it(
    url: str, make_study: Any, epoch: Callable[..., EpochRecord]
) -> None:
    """None of them waits in a circle with the deletion, or meets half of the study."""
    store = open_store(url)
    epochs = [epoch(number, 0.5) for number in (1, 2, 3)]
    for _ in range(4):
        study = make_study(store, budget=10_000)
        with ThreadPoolExecutor(3) as pool:
            at_work = [pool.submit(_work, url, study, f"w{n}", epochs) for n in range(3)]
            while reads.counts(store, study).ended < 6:
                time.sleep(0.01)
            delete_study(store, study)
            assert sum(each.result() for each in at_work) >= 6
        assert studies.find_study(store, study.name) is None
    store.close()
