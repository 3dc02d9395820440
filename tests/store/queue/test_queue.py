"""The contract of the queue, stated in words by `store/queue/queue.py`, over every store."""

from __future__ import annotations

import dataclasses
import math
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.config.reasons import (
    AllEpochs,
    Exploding,
    Failed,
    OutOfMemory,
    Pruned,
    Reused,
    WorkersLost,
)
from optuna_study.errors import NotFoundError, StaleClaimError, UnreachableError
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.queue.budget import SETTLE_AFTER
from optuna_study.store.reads import reads
from optuna_study.store.records import (
    Claim,
    End,
    EndKind,
    NoTrialReason,
    StoredParameter,
    StudyState,
    TrialState,
)
from optuna_study.store.studies import studies
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.deletion import delete_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord

OK = End(EndKind.COMPLETED, AllEpochs(3, "validation_accuracy", 0.5), 0.5)
FAILED = End(EndKind.FAILED, Failed("ValueError: no", 1), traceback="Traceback ...")


class Deaf:
    """A store whose writes are kept while the answer never comes back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.now = store.now
        self.times = store.times

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        with self._store.write(durable=durable) as connection:
            yield connection
        raise UnreachableError("the connection was lost")


def deaf(store: Store) -> Any:
    return Deaf(store)


def take(store: Store, study: StudyRecord, owner: str = "w1", lease: float = 60) -> Claim:
    claim = queue.claim(store, study, owner, lease=lease)
    assert isinstance(claim, Claim), claim
    return claim


class TestContract:
    def test_baselines_come_first_then_new_numbers_without_a_gap(
        self, store: Store, make_study: Any, planned: Any
    ) -> None:
        study = make_study(store, planned=(planned("a"), planned("b", width=2)), budget=4)
        claims = [take(store, study) for _ in range(4)]
        assert [claim.number for claim in claims] == [0, 1, 2, 3]
        assert [claim.baseline for claim in claims] == ["a", "b", None, None]
        assert claims[1].fixed == {"width": 2}
        assert not any(claim.resumed for claim in claims)
        assert len({claim.token for claim in claims}) == 4

    def test_a_reason_may_hold_what_no_store_takes(self, store: Store, make_study: Any) -> None:
        """An exception may quote a file's name that is no UTF-8, or anything else."""
        study = make_study(store)
        odd = "caf\udce9 \0 größe ✓\n"
        queue.release(store, take(store, study), odd)
        spelled = "caf\\udce9 \\x00 größe ✓\n"
        assert reads.trial(store, study, 0).reason == spelled
        end = End(EndKind.FAILED, Failed(odd, 1), traceback=odd, attributes={odd[:3]: odd})
        queue.end(store, take(store, study), end)
        trial = reads.trial(store, study, 0)
        assert (trial.reason, trial.traceback) == (Failed(spelled, 1), spelled)

    def test_what_an_exception_interrupted_waits_with_its_reason_and_count(
        self, store: Store, make_study: Any, plain: Any
    ) -> None:
        study = make_study(store)
        first = take(store, study)
        queue.release(store, first, "ValueError: a hiccup", retried=True)
        again = take(store, study)
        assert (first.retried, again.retried, again.number) == (0, 1, first.number)
        assert reads.trial(store, study, 0).strikes == 0
        queue.end(store, again, OK)
        [trial] = plain(study.name).trials
        assert trial.user_attrs["retried_after"] == "ValueError: a hiccup"

    def test_ended_and_running_trials_never_exceed_the_budget(
        self, store: Store, make_study: Any
    ) -> None:
        study = make_study(store, budget=2)
        first = take(store, study)
        second = take(store, study)
        assert queue.claim(store, study, "w2") is NoTrialReason.BUDGET_TAKEN
        queue.end(store, first, OK)
        assert queue.claim(store, study, "w2") is NoTrialReason.BUDGET_TAKEN
        queue.release(store, second, "SIGTERM")
        assert take(store, study, "w2").number == second.number

    def test_every_kind_of_end_counts_against_the_budget(
        self, store: Store, make_study: Any
    ) -> None:
        study = make_study(store, budget=len(EndKind))
        for kind in EndKind:
            queue.end(store, take(store, study), End(kind, "because", 0.5))
        assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_MET
        set_budget(store, study, len(EndKind) + 1)
        assert take(store, study).number == len(EndKind)

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            (StudyState.PAUSED, NoTrialReason.PAUSED),
            (StudyState.STOPPING, NoTrialReason.STOPPING),
        ],
    )
    def test_a_study_that_is_not_active_hands_nothing_out(
        self, store: Store, make_study: Any, state: StudyState, reason: NoTrialReason
    ) -> None:
        study = make_study(store)
        studies.set_state(store, study, state)
        assert queue.claim(store, study, "w1") is reason
        studies.set_state(store, study, StudyState.ACTIVE)
        assert take(store, study).number == 0

    def test_a_returned_trial_keeps_all_it_has(
        self, store: Store, make_study: Any, clock: Any, epoch: Callable[..., EpochRecord]
    ) -> None:
        study = make_study(store)
        first = take(store, study)
        queue.annotate(store, first, {"note": "mine"}, resumed_elsewhere=True)
        queue.report(store, first, [epoch(1, 0.2), epoch(2, 0.3)])
        queue.record_checkpoint(store, first, 2)
        queue.release(store, first, "SIGTERM")
        waiting = reads.trial(store, study, 0)
        assert waiting.state is TrialState.WAITING
        assert (waiting.owner, waiting.lease_until) == (None, None)
        clock.now += 500
        again = take(store, study, "w2")
        assert (again.number, again.trial_id, again.seed) == (0, first.trial_id, first.seed)
        assert again.resumed
        assert again.checkpoint_epoch == 2
        assert again.token != first.token
        found = reads.trial(store, study, 0)
        assert found.started == clock.now - 500
        assert (found.claims, found.strikes, found.epochs, found.worked) == (2, 0, 2, 6.0)
        assert found.resumed_elsewhere
        assert [record.value for record in reads.epochs(store, study, 0)] == [0.2, 0.3]

    def test_the_lowest_waiting_number_comes_first(self, store: Store, make_study: Any) -> None:
        study = make_study(store)
        claims = [take(store, study) for _ in range(3)]
        for claim in (claims[2], claims[0]):
            queue.release(store, claim, "SIGTERM")
        assert [take(store, study).number for _ in range(3)] == [0, 2, 3]

    def test_a_reported_epoch_can_be_written_again(
        self, store: Store, make_study: Any, epoch: Callable[..., EpochRecord]
    ) -> None:
        study = make_study(store)
        claim = take(store, study)
        queue.report(store, claim, [epoch(1, 0.2), epoch(2, 0.3)])
        queue.report(store, claim, [epoch(2, 0.25, seconds=5.0), epoch(3, math.nan)])
        written = reads.epochs(store, study, claim.number)
        assert [record.value for record in written[:2]] == [0.2, 0.25]
        assert math.isnan(written[2].value)
        found = reads.trial(store, study, claim.number)
        assert (found.epochs, found.worked) == (3, 11.0)

    def test_a_lease_that_ran_out_takes_nothing_until_somebody_reaps(
        self, store: Store, make_study: Any, clock: Any, epoch: Callable[..., EpochRecord]
    ) -> None:
        study = make_study(store)
        claim = take(store, study, lease=60)
        clock.now += 3600
        queue.report(store, claim, [epoch(1, 0.1)])
        queue.renew(store, claim, 60)
        assert queue.reap(store, study) == []
        clock.now += 61
        assert queue.reap(store, study) == [claim.number]
        with pytest.raises(StaleClaimError):
            queue.renew(store, claim)

    def test_a_claim_reaps(self, store: Store, make_study: Any, clock: Any) -> None:
        study = make_study(store, budget=1)
        lost = take(store, study, "w1", lease=10)
        assert queue.claim(store, study, "w2") is NoTrialReason.BUDGET_TAKEN
        clock.now += 11
        assert take(store, study, "w2").number == lost.number

    @pytest.mark.slow
    @pytest.mark.postgres
    def test_a_read_only_server_is_waited_for(
        self, postgres_url: str, make_study: Any, read_only_server: AbstractContextManager[None]
    ) -> None:
        """As a standby is before its promotion, or a server while another takes its place."""
        with closing(open_store(postgres_url)) as store:
            study = make_study(store)
            store.close()  # what is connected already goes on writing
            said = r"takes no writes for now.*target_session_attrs=read-write"
            with read_only_server, pytest.raises(UnreachableError, match=said):
                queue.claim(store, study, "w1")
            store.close()
            assert isinstance(queue.claim(store, study, "w1"), Claim)

    @pytest.mark.parametrize("how", ["reaped", "reclaimed", "given back", "ended", "told", "gone"])
    def test_a_zombie_writes_nothing(
        self,
        store: Store,
        make_study: Any,
        clock: Any,
        plain: Any,
        epoch: Callable[..., EpochRecord],
        how: str,
    ) -> None:
        study = make_study(store)
        zombie = take(store, study, "w1", lease=10)
        lose(store, study, zombie, clock, how, plain)
        before = None if how == "gone" else reads.trial(store, study, 0)
        writes: list[Callable[[], None]] = [
            lambda: queue.renew(store, zombie),
            lambda: queue.rewind(store, zombie, 0),
            lambda: queue.report(store, zombie, [epoch(1, 0.9)]),
            lambda: queue.write_parameters(
                store, zombie, [StoredParameter("x", 1.0, "{}")], {"x": 1}
            ),
            lambda: queue.record_checkpoint(store, zombie, 1),
            lambda: queue.annotate(store, zombie, {"x": 1}),
            lambda: queue.release(store, zombie, "SIGTERM"),
            lambda: queue.end(store, zombie, OK, [epoch(1, 0.9)]),
        ]
        for write in writes:
            with pytest.raises(StaleClaimError, match="no longer this worker's"):
                write()
        if before is not None:
            assert reads.trial(store, study, 0) == before
            assert reads.epochs(store, study, 0) == []

    def test_three_deaths_in_a_row_end_a_trial(
        self, store: Store, make_study: Any, clock: Any
    ) -> None:
        study = make_study(store)
        for death in range(3):
            assert take(store, study, f"w{death}", lease=10).number == 0
            clock.now += 11
            queue.reap(store, study)
        found = reads.trial(store, study, 0)
        assert (found.state, found.end) == (TrialState.FAIL, EndKind.FAILED)
        assert found.reason == WorkersLost(3, "w2")
        assert found.completed == clock.now
        assert take(store, study).number == 1

    def test_a_checkpoint_clears_the_strikes(
        self, store: Store, make_study: Any, clock: Any
    ) -> None:
        study = make_study(store)
        for death in range(8):
            claim = take(store, study, lease=10)
            assert claim.number == 0
            if death % 3 == 2:
                queue.record_checkpoint(store, claim, death)
            clock.now += 11
            queue.reap(store, study)
        assert reads.trial(store, study, 0).strikes == 2

    def test_a_checkpoint_that_goes_no_further_than_another_does_not(
        self, store: Store, make_study: Any, clock: Any
    ) -> None:
        """Workers that begin anew each time, since none sees the others' files, get nowhere."""
        study = make_study(store)
        queue.record_checkpoint(store, take(store, study, lease=10), 2)
        for _ in range(3):
            clock.now += 11
            assert reads.trial(store, study, 0).state is TrialState.RUNNING
            queue.record_checkpoint(store, take(store, study, lease=10), 1)
        assert reads.trial(store, study, 0).strikes == 2
        assert reads.trial(store, study, 0).checkpoint_epoch == 2
        clock.now += 11
        queue.reap(store, study)
        assert reads.trial(store, study, 0).end is EndKind.FAILED

    @pytest.mark.parametrize("point", [0, 2])
    def test_no_curve_is_of_two_runs(
        self,
        store: Store,
        make_study: Any,
        plain: Any,
        epoch: Callable[..., EpochRecord],
        point: int,
    ) -> None:
        """A trial goes on from an earlier epoch than was reported, and ends sooner."""
        study = make_study(store)
        claim = take(store, study, "w1")
        queue.report(store, claim, [epoch(n, n / 10, seconds=1.0) for n in range(1, 6)])
        queue.release(store, claim, "SIGTERM")
        again = take(store, study, "w2")
        queue.rewind(store, again, point)
        found = reads.trial(store, study, 0)
        assert (found.epochs, found.worked) == (point, point)
        end = End(EndKind.PRUNED, "rungs: too low", 0.05)
        queue.end(store, again, end, [epoch(point + 1, 0.05, seconds=1.0)])
        assert [each.epoch for each in reads.epochs(store, study, 0)] == [*range(1, point + 2)]
        trial = reads.trial(store, study, 0)
        assert (trial.value, trial.epochs, trial.worked) == (0.05, point + 1, point + 1)
        assert list(plain(study.name).trials[0].intermediate_values) == [*range(1, point + 2)]

    def test_giving_back_on_a_signal_is_no_strike(self, store: Store, make_study: Any) -> None:
        study = make_study(store)
        for _ in range(5):
            queue.release(store, take(store, study), "SIGTERM")
        found = reads.trial(store, study, 0)
        assert (found.state, found.strikes, found.claims) == (TrialState.WAITING, 0, 5)
        assert found.reason == "SIGTERM"

    def test_a_worker_killed_from_outside_is_no_strike(
        self, store: Store, make_study: Any
    ) -> None:
        study = make_study(store)
        take(store, study, "host-1-a")
        assert queue.release_owner(store, study, "host-1-a", strike=False) == [0]
        found = reads.trial(store, study, 0)
        assert (found.state, found.strikes) == (TrialState.WAITING, 0)

    @pytest.mark.parametrize("prefix", ["host-1", "host-1-"])
    def test_a_supervisor_gives_back_at_once_and_it_counts(
        self, store: Store, make_study: Any, prefix: str
    ) -> None:
        study = make_study(store)
        for owner in ("host-1-a", "host-1-b", "host-10-a"):
            take(store, study, owner)
        assert queue.release_owner(store, study, prefix) == [0, 1]
        assert [reads.trial(store, study, number).strikes for number in range(3)] == [1, 1, 0]
        assert reads.trial(store, study, 2).state is TrialState.RUNNING

    @pytest.mark.parametrize(
        ("end", "value"),
        [
            (End(EndKind.COMPLETED, "done", 0.75), 0.75),
            (End(EndKind.COMPLETED, AllEpochs(2, "loss", math.inf), math.inf), math.inf),
            (End(EndKind.COMPLETED, AllEpochs(2, "loss", -math.inf), -math.inf), -math.inf),
            (End(EndKind.PRUNED, Pruned("rungs", "loss", "minimize", 2, 0.9, 0.5, 6), 0.9), 0.4),
            (End(EndKind.DIVERGED, Exploding(9.0, 0.5, epoch=3, step=40, rate=0.1)), 0.4),
            (End(EndKind.OUT_OF_MEMORY, OutOfMemory("MemoryError: no", 3)), 0.4),
            (FAILED, None),
        ],
    )
    def test_an_end_writes_everything_at_once(
        self,
        store: Store,
        make_study: Any,
        clock: Any,
        epoch: Callable[..., EpochRecord],
        end: End,
        value: float | None,
    ) -> None:
        study = make_study(store)
        claim = take(store, study)
        queue.report(store, claim, [epoch(1, 0.3)])
        clock.now += 60
        queue.end(store, claim, end, [epoch(2, 0.4)])
        found = reads.trial(store, study, 0)
        assert (found.state, found.end, found.value) == (end.kind.state, end.kind, value)
        assert (found.reason, found.traceback) == (end.reason, end.traceback)
        assert (found.started, found.completed) == (clock.now - 60, clock.now)
        assert found.epochs == 2
        assert found.owner is None

    def test_a_pruned_trial_without_a_number_has_no_value(
        self, store: Store, make_study: Any, epoch: Callable[..., EpochRecord]
    ) -> None:
        study = make_study(store)
        queue.end(store, take(store, study), End(EndKind.DIVERGED, "nan"), [epoch(1, math.nan)])
        queue.end(store, take(store, study), End(EndKind.OUT_OF_MEMORY, "at once"))
        assert [found.value for found in reads.trials(store, study)] == [None, None]

    @pytest.mark.parametrize("value", [None, math.nan])
    def test_completed_needs_a_value(
        self, store: Store, make_study: Any, value: float | None
    ) -> None:
        claim = take(store, study := make_study(store))
        with pytest.raises(ValueError, match="trial 0 cannot be completed"):
            queue.end(store, claim, End(EndKind.COMPLETED, "done", value))
        assert reads.trial(store, study, 0).state is TrialState.RUNNING

    def test_failures_in_a_row_stop_the_study_until_it_is_set_active(
        self, store: Store, make_study: Any
    ) -> None:
        study = make_study(store, budget=100)
        for end in (FAILED, FAILED, FAILED, FAILED, OK, FAILED, FAILED, FAILED, FAILED):
            queue.end(store, take(store, study), end)
        queue.end(store, take(store, study), FAILED)
        assert queue.claim(store, study, "w1") is NoTrialReason.TOO_MANY_FAILURES
        studies.set_state(store, study, StudyState.ACTIVE)
        assert take(store, study).number == 10

    def test_the_definition_says_how_many_failures(self, store: Store, make_study: Any) -> None:
        study = make_study(store, definition={"search": {"stop_after_failures": 2}})
        queue.end(store, take(store, study), FAILED)
        queue.end(store, take(store, study), FAILED)
        assert queue.claim(store, study, "w1") is NoTrialReason.TOO_MANY_FAILURES

    def test_a_known_end_told_again_forgives_no_failure(
        self, store: Store, make_study: Any
    ) -> None:
        study = make_study(store, definition={"search": {"stop_after_failures": 2}})
        queue.end(store, take(store, study), OK)
        queue.end(store, take(store, study), FAILED)
        queue.end(store, take(store, study), End(EndKind.COMPLETED, Reused(0, "done"), 0.5))
        queue.end(store, take(store, study), FAILED)
        assert queue.claim(store, study, "w1") is NoTrialReason.TOO_MANY_FAILURES

    def test_failures_count_in_the_order_of_their_ends(
        self, store: Store, make_study: Any
    ) -> None:
        study = make_study(store, definition={"search": {"stop_after_failures": 2}})
        early, middle, late = (take(store, study) for _ in range(3))
        queue.end(store, late, FAILED)
        queue.end(store, middle, OK)
        queue.end(store, early, FAILED)
        assert take(store, study).number == 3

    @pytest.mark.slow
    def test_plain_optuna_trials_count_and_are_never_reaped(
        self, store: Store, plain: Any, make_study: Any, clock: Any
    ) -> None:
        study = make_study(store, budget=4)
        take(store, study, lease=10)
        theirs = plain(study.name)
        ended, running = theirs.ask(), theirs.ask()
        theirs.tell(ended, 0.25)
        assert (ended.number, running.number) == (1, 2)
        assert take(store, study, "w2", lease=100).number == 3
        assert queue.claim(store, study, "w2") is NoTrialReason.BUDGET_TAKEN
        clock.now += 50
        assert queue.reap(store, study) == [0]
        assert reads.trial(store, study, 2).state is TrialState.RUNNING

    def test_a_trial_that_plain_optuna_enqueues_is_claimed(
        self, store: Store, plain: Any, make_study: Any
    ) -> None:
        study = make_study(store)
        plain(study.name).enqueue_trial({"lr": 0.125})
        claim = take(store, study)
        assert (claim.number, claim.resumed, claim.baseline) == (0, False, None)

    def test_a_deleted_study_hands_nothing_out(self, store: Store, make_study: Any) -> None:
        study = make_study(store)
        delete_study(store, study)
        make_study(store, name="other")  # which has the same id on SQLite
        with pytest.raises(NotFoundError, match="'cats@cpu' was deleted"):
            queue.claim(store, study, "w1")
        with pytest.raises(NotFoundError, match="'cats@cpu' was deleted"):
            queue.reap(store, study)

    @pytest.mark.slow
    def test_a_trial_that_is_given_back_late_is_still_found(
        self, store: Store, make_study: Any
    ) -> None:
        """Claims stop counting what has ended long ago; a trial that has not must hold that up."""
        many = 2 * SETTLE_AFTER + 5
        study = make_study(store, budget=many + 1)
        early = [take(store, study, "slow") for _ in range(10)]
        queue.end(store, early[0], OK)
        for _ in range(many - 10):
            queue.end(store, take(store, study), OK)
        queue.release(store, early[4], "SIGTERM")
        assert take(store, study).number == 4
        for claim in early[5:]:
            queue.end(store, claim, OK)
        assert take(store, study).number == many
        assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_TAKEN
        set_budget(store, study, many + 2)
        assert take(store, study).number == many + 1

    def test_a_claim_whose_answer_was_lost_is_found_again(
        self, store: Store, make_study: Any, planned: Any, clock: Any
    ) -> None:
        study = make_study(store, planned=(planned("a", width=2),), budget=2)
        token = queue.new_token()
        for number in (0, 1):
            with pytest.raises(UnreachableError):
                queue.claim(deaf(store), study, "w1", lease=60, token=token)
            clock.now += 50
            claim = queue.claim(store, study, "w1", lease=60, token=token)
            assert isinstance(claim, Claim)
            found = reads.trial(store, study, number)
            assert (claim.number, claim.token, claim.resumed) == (number, token, False)
            assert (claim.baseline, claim.fixed) == (found.baseline, found.fixed)
            assert (found.claims, found.lease_until) == (1, clock.now + 60)
            queue.end(store, claim, OK)
        assert reads.counts(store, study).ended == 2

    def test_a_lost_answer_costs_no_strike_and_no_budget(
        self, store: Store, make_study: Any
    ) -> None:
        study, token = make_study(store, budget=1), queue.new_token()
        with pytest.raises(UnreachableError):
            queue.claim(deaf(store), study, "w1", token=token)
        studies.set_state(store, study, StudyState.PAUSED)  # the budget is taken: by this claim
        claim = queue.claim(store, study, "w1", token=token)
        assert isinstance(claim, Claim)
        queue.end(store, claim, OK)
        assert reads.trial(store, study, 0).strikes == 0

    def test_a_lost_claim_that_was_reaped_meanwhile_is_made_anew(
        self, store: Store, make_study: Any, clock: Any
    ) -> None:
        study, token = make_study(store), queue.new_token()
        with pytest.raises(UnreachableError):
            queue.claim(deaf(store), study, "w1", lease=10, token=token)
        clock.now += 11
        other = take(store, study, "w2")
        claim = queue.claim(store, study, "w1", token=token)
        assert isinstance(claim, Claim)
        assert (other.number, claim.number) == (0, 1)
        for each in (other, claim):
            queue.end(store, each, OK)

    def test_an_end_whose_answer_was_lost_is_written_once(
        self, store: Store, make_study: Any, clock: Any, epoch: Callable[..., EpochRecord]
    ) -> None:
        study = make_study(store, definition={"search": {"stop_after_failures": 2}})
        claim = take(store, study)
        with pytest.raises(UnreachableError):
            queue.end(deaf(store), claim, FAILED, [epoch(1, 0.5)])
        before = reads.trial(store, study, 0)
        clock.now += 50
        queue.end(store, claim, FAILED, [epoch(1, 0.5)])
        assert reads.trial(store, study, 0) == before
        assert isinstance(queue.claim(store, study, "w1"), Claim)  # one failure, not two
        with pytest.raises(StaleClaimError):
            queue.end(store, claim, OK)

    def test_the_end_of_another_is_not_taken_for_ones_own(
        self, store: Store, make_study: Any, clock: Any
    ) -> None:
        study = make_study(store)
        zombie = take(store, study, lease=10)
        clock.now += 11
        queue.end(store, take(store, study, "w2"), OK)
        with pytest.raises(StaleClaimError):
            queue.end(store, zombie, OK)

    def test_reports_whose_answer_was_lost_are_sent_again(
        self, store: Store, make_study: Any, epoch: Callable[..., EpochRecord]
    ) -> None:
        claim = take(store, study := make_study(store))
        writes: list[Callable[[Any], None]] = [
            lambda to: queue.report(to, claim, [epoch(1, 0.5), epoch(2, 0.6)]),
            lambda to: queue.record_checkpoint(to, claim, 2),
            lambda to: queue.renew(to, claim),
            lambda to: queue.annotate(to, claim, {"note": "mine"}),
        ]
        for write in writes:
            with pytest.raises(UnreachableError):
                write(deaf(store))
            before = reads.trial(store, study, 0)
            write(store)
            assert reads.trial(store, study, 0) == before
        assert [each.value for each in reads.epochs(store, study, 0)] == [0.5, 0.6]

    def test_a_worker_that_died_of_its_trial_ends_it(
        self, store: Store, make_study: Any, epoch: Callable[..., EpochRecord]
    ) -> None:
        study = make_study(store, budget=2)
        claim = take(store, study, "host-1-001")
        queue.report(store, claim, [epoch(1, 0.4)])
        take(store, study, "host-1-002")
        end = End(EndKind.OUT_OF_MEMORY, "the system's memory ran out")
        assert queue.release_owner(store, study, "host-1-001", end=end) == [0]
        found = reads.trial(store, study, 0)
        assert (found.end, found.reason, found.value) == (end.kind, end.reason, 0.4)
        assert (found.strikes, found.owner) == (0, None)
        with pytest.raises(StaleClaimError):
            queue.end(store, claim, OK)
        assert queue.claim(store, study, "w3") is NoTrialReason.BUDGET_TAKEN

    def test_seeds_follow_from_study_and_number(self, store: Store, make_study: Any) -> None:
        one = [take(store, study := make_study(store)).seed, take(store, study).seed]
        two = [take(store, study := make_study(store, name="b")).seed, take(store, study).seed]
        other = take(store, make_study(store, name="c", seed=8)).seed
        assert one == two
        assert len({*one, other}) == 3


def lose(store: Store, study: StudyRecord, claim: Claim, clock: Any, how: str, plain: Any) -> None:
    """Take the trial from its owner in one of the ways there are."""
    if how in ("reaped", "reclaimed"):
        clock.now += 11
        queue.reap(store, study)
    if how == "reclaimed":
        take(store, study, "w2")
    if how == "given back":
        queue.release(store, claim, "SIGTERM")
    if how == "ended":
        queue.end(store, claim, dataclasses.replace(OK, reason="earlier", value=0.25))
    if how == "told":  # by plain Optuna, which asks nobody
        plain(study.name).tell(claim.number, 0.25)
    if how == "gone":
        delete_study(store, study)
