"""Studies that share workers: whose turn it is, on every kind of store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue, scheduling
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, End, EndKind, StudyState, TrialState
from optuna_study.store.studies import studies
from optuna_study.store.studies.deletion import delete_study

if TYPE_CHECKING:
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

FAILED = End(EndKind.FAILED, "ValueError: no", traceback="Traceback ...")


def names(store: Store) -> list[str]:
    return [study.name for study in scheduling.active_studies(store)]


def take_in_turn(store: Store, clock: Any, owner: str = "w1") -> tuple[str, Claim]:
    """What a worker that serves the whole store does, ten seconds later."""
    clock.now += 10
    first = scheduling.active_studies(store)[0]
    claim = queue.claim(store, first, owner, lease=1000)
    assert isinstance(claim, Claim), claim
    return first.name, claim


@pytest.fixture
def three(store: Store, make_study: Any, clock: Any) -> list[StudyRecord]:
    made = []
    for name in ("a", "b", "c"):
        made.append(make_study(store, name=name, budget=30))
        clock.now += 1
    return made


class TestContract:
    def test_equals_share_the_workers(
        self, store: Store, three: list[StudyRecord], clock: Any
    ) -> None:
        taken = [take_in_turn(store, clock) for _ in range(9)]
        assert [name for name, _ in taken] == ["a", "b", "c"] * 3
        # Whoever has the fewest at work comes next, however lately it has claimed.
        for name, claim in taken:
            if name == "c":
                queue.release(store, claim, "stopped")
        assert [take_in_turn(store, clock)[0] for _ in range(4)] == ["c", "c", "c", "a"]

    def test_of_equally_busy_ones_the_longest_without_a_claim_comes_first(
        self, store: Store, three: list[StudyRecord], clock: Any
    ) -> None:
        taken = []
        for _ in range(7):
            name, claim = take_in_turn(store, clock)
            queue.end(store, claim, End(EndKind.COMPLETED, "all epochs", 0.5))
            taken.append(name)
        assert taken == ["a", "b", "c", "a", "b", "c", "a"]
        assert names(store) == ["b", "c", "a"]

    def test_a_higher_priority_goes_before_everything_else(
        self, store: Store, three: list[StudyRecord], make_study: Any, clock: Any
    ) -> None:
        urgent = make_study(store, name="urgent", priority=5)
        assert studies.load_study(store, "urgent").priority == 5
        studies.set_priority(store, three[0], -1)
        assert [take_in_turn(store, clock)[0] for _ in range(3)] == ["urgent"] * 3
        assert names(store) == ["urgent", "b", "c", "a"]
        studies.set_priority(store, urgent, 0)
        assert names(store) == ["b", "c", "urgent", "a"]

    @pytest.mark.parametrize("state", [StudyState.PAUSED, StudyState.STOPPING])
    def test_a_study_that_is_not_to_go_on_has_no_turn(
        self, store: Store, three: list[StudyRecord], state: StudyState
    ) -> None:
        studies.set_state(store, three[1], state)
        assert names(store) == ["a", "c"]
        studies.set_state(store, three[1], StudyState.ACTIVE)
        assert names(store) == ["a", "b", "c"]

    def test_a_study_that_fails_again_and_again_has_no_turn(
        self, store: Store, three: list[StudyRecord]
    ) -> None:
        for _ in range(5):
            claim = queue.claim(store, three[0], "w1")
            assert isinstance(claim, Claim)
            queue.end(store, claim, FAILED)
        assert names(store) == ["b", "c"]

    def test_workers_that_are_lost_do_not_count_as_at_work(
        self, store: Store, three: list[StudyRecord], clock: Any
    ) -> None:
        for _ in range(3):
            queue.claim(store, three[2], "lost", lease=60)
            clock.now += 1
        assert names(store) == ["a", "b", "c"]
        queue.claim(store, three[0], "w1", lease=1000)
        queue.claim(store, three[1], "w1", lease=1000)
        clock.now += 100
        assert names(store) == ["c", "a", "b"]

    def test_a_lost_workers_trials_go_back_in_every_study(
        self, store: Store, three: list[StudyRecord]
    ) -> None:
        for study, owner in zip(three, ("host-1-001", "host-1-0010", "host-1-001"), strict=True):
            queue.claim(store, study, owner)
        assert scheduling.release_worker(store, "host-1-001") == [("a", 0), ("c", 0)]
        assert [reads.trial(store, study, 0).state for study in three] == [
            TrialState.WAITING,
            TrialState.RUNNING,
            TrialState.WAITING,
        ]
        assert scheduling.release_worker(store, "host-1-001") == []

    @pytest.mark.parametrize("state", [StudyState.PAUSED, StudyState.STOPPING])
    def test_lost_trials_go_back_in_studies_that_hand_out_none(
        self, store: Store, three: list[StudyRecord], clock: Any, state: StudyState
    ) -> None:
        queue.claim(store, three[0], "alive", lease=1000)
        queue.claim(store, three[1], "lost", lease=10)
        studies.set_state(store, three[1], state)
        clock.now += 11
        scheduling.reap_all(store)
        found = [reads.trial(store, study, 0).state for study in three[:2]]
        assert found == [TrialState.RUNNING, TrialState.WAITING]

    def test_a_deleted_study_has_no_turn_and_nothing_to_give_back(
        self, store: Store, three: list[StudyRecord]
    ) -> None:
        queue.claim(store, three[0], "host-1-001")
        delete_study(store, three[0])
        assert names(store) == ["b", "c"]
        assert scheduling.release_worker(store, "host-1-001") == []

    def test_progress_is_ended_trials_and_epochs_of_one_study_or_of_all(
        self, store: Store, three: list[StudyRecord], epoch: Any
    ) -> None:
        for study in (three[0], three[0], three[1]):
            claim = queue.claim(store, study, "w1")
            assert isinstance(claim, Claim)
            queue.end(store, claim, FAILED)
        claim = queue.claim(store, three[2], "w1")
        assert isinstance(claim, Claim)
        assert [scheduling.progress(store, study) for study in (*three, None)] == [2, 1, 0, 3]
        queue.report(store, claim, [epoch(number, 0.5) for number in (1, 2, 3, 4)])
        assert [scheduling.progress(store, study) for study in (*three, None)] == [2, 1, 4, 7]


@pytest.mark.slow
def test_workers_that_come_at_once_share_themselves_between_equals(
    url: str, make_study: Any
) -> None:
    with closing(open_store(url)) as store:
        equals = [make_study(store, name=name, budget=100) for name in ("a", "b")]
        urgent = make_study(store, name="urgent", budget=8, priority=1)
        together = threading.Barrier(4, timeout=60)
        with ThreadPoolExecutor(4) as pool:
            served = pool.map(serve, [url] * 4, [together] * 4)
            taken = [name for names in served for name in names]
        assert len(taken) == 4 * 12
        assert taken.count("urgent") == reads.counts(store, urgent).ended == 8
        # Of four workers two or three that look at the same moment may choose the same study; the
        # next to look takes the other one.
        assert [reads.counts(store, study).ended for study in equals] == pytest.approx(
            [20, 20], abs=10
        )


def serve(url: str, together: threading.Barrier) -> list[str]:
    """Run twelve trials of whichever study comes first and has one, in step with the others."""
    taken: list[str] = []
    with closing(open_store(url)) as store:
        while len(taken) < 12:
            name, claim = next(
                (study.name, claim)
                for study in scheduling.active_studies(store)
                if isinstance(claim := queue.claim(store, study, "w"), Claim)
            )
            together.wait()
            queue.end(store, claim, End(EndKind.COMPLETED, "all epochs", 0.5))
            taken.append(name)
            together.wait()
    return taken


def test_a_store_of_plain_optuna_has_no_turns(sqlite_store: Store) -> None:
    with sqlite_store.write() as connection:
        for table in ("schema", "studies", "trials", "epochs"):
            connection.exec_driver_sql(f"DROP TABLE optuna_study_{table}")
    assert scheduling.active_studies(sqlite_store) == []
    assert scheduling.progress(sqlite_store, None) == 0
    assert scheduling.release_worker(sqlite_store, "host-1-001") == []
