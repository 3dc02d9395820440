"""The queue of trials: who may run which, so that exactly the budget is run.

The contract, which `tests/store/queue/test_queue.py` states again as one class over every kind of
store:

1. A claim is one write transaction. It releases lost trials, then refuses (see `NoTrialReason`)
   or hands out one trial: the waiting one with the lowest number, else a new one with the next
   number. Numbers run from 0 without a gap.
2. Ended and running trials together never exceed the budget and what stands beside it: baselines
   and confirmation runs, which the claim that finds the budget met plans (see `confirmation`), a
   round at a time. Trials that plain Optuna runs in the study count; nothing here ever releases
   or ends them. Trials that it enqueues are claimed like returned ones. The last new ones that
   the budget allows get their settings in the claim where the study says so (see `finetuning`),
   once none of those runs from which they are taken.
3. A claim carries a token and a lease. As long as its token stands, and only then, its owner may
   write: `renew`, `write_parameters`, `rewind`, `report`, `record_checkpoint`, `annotate`,
   `release` and `end` check it in the transaction that writes and raise StaleClaimError, with
   nothing of the write kept, once the trial is another's, has ended, or its study is gone. A lease
   that has run out takes nothing away until somebody reaps. It goes by a clock that all share and
   nobody sets (see `clock`).
   An owner's files carry the claim instead, in names that no other owner writes, and count only
   once such a write names them: a checkpoint by `record_checkpoint`, after `rewind` has taken over
   the one before; artifacts and the kept model by `end`. What carries neither is the same whoever
   writes it, or lies outside the store: a worker's log, a trial's event files for TensorBoard, the
   notes and importances that any worker renews of trials that have ended.
4. A trial that is released waits again with its number, parameters, attributes, reports,
   checkpoint and first start. Its next owner drops the reports after the epoch it resumes from
   (`rewind`), so that no curve is of two runs.
5. A death is a strike unless a checkpoint was written since the claim that goes further than any
   before it; such a checkpoint clears the strikes; the third in a row ends the trial as failed.
   A release on a signal is no strike.
6. An end writes state, value, times, attributes, constraint and the last epochs in one
   transaction, and nothing changes the trial after it. A pruned trial's value is the last it
   reported, as with Optuna's own `tell`.
7. So many `failed` ends in a row as the study allows stop it, until it is set active again.
8. Claims and ends survive a power loss; reports survive the death of the process.
9. Whatever fails may be tried again with the same arguments, also when the failure was that of a
   connection that died while it committed: a claim with the token of one that was committed is
   that claim, with a fresh lease; an end that was committed is not written twice and not stale;
   reports and checkpoints overwrite themselves.
"""

from __future__ import annotations

import math
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select, update

from optuna_study.errors import StaleClaimError
from optuna_study.store.queue.budget import count_trials, find_refusal, is_of_second_stage
from optuna_study.store.queue.confirmation import plan_round, read_confirmation
from optuna_study.store.queue.ends import (
    end_lost,
    end_trial,
    is_ended_by,
    release_lost,
    set_waiting,
)
from optuna_study.store.queue.finetuning import fix_settings, waits_for_others
from optuna_study.store.queue.ownership import (
    IS_HELD,
    OF_NUMBER,
    OF_UUID,
    execute_if_owner,
    find_held,
    hold,
    lock,
    lock_study,
    read_claim,
    start_waiting,
    update_if_owner,
)
from optuna_study.store.records import Claim, EndKind, NoTrialReason, TrialState
from optuna_study.store.rows import (
    artifact_attributes,
    drop_epochs,
    insert_trial,
    parameter_rows,
    storable,
    upsert,
    write_attributes,
    write_epochs,
)
from optuna_study.store.schema import (
    ENDED_BY_KEY,
    RETRIED_AFTER,
    own_epochs,
    own_trials,
    trial_params,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import End, EpochRecord, StoredParameter, StudyRecord

LEASE_SECONDS = 60.0


def new_token() -> str:
    """A token for one claim, made before it so that the claim can be tried again."""
    return secrets.token_hex(16)


def claim(
    store: Store,
    study: StudyRecord,
    owner: str,
    *,
    lease: float = LEASE_SECONDS,
    token: str | None = None,
    cores: int | None = None,
) -> Claim | NoTrialReason:
    """Take the next trial for `owner`, or say why there is none; the lease is in seconds.

    Whoever may try again gives a `token` and gives the same one again. `cores` are those that the
    workers of its launch share, where they do.

    Raises:
        NotFoundError: the study is gone.
        StoreError: the store fails.
    """
    with store.write(durable=True) as connection:
        settings = lock_study(connection, study)
        times = store.times(connection)
        if token is not None:
            mine = find_held(connection, study, token, times.lease + lease)
            if mine is not None:
                return mine
        if release_lost(connection, study, lambda held: held.lease_until < times.lost, times.utc):
            settings = lock_study(connection, study)  # one more may have failed
        counted = count_trials(connection, study, settings)
        refusal = find_refusal(settings, counted)
        while refusal is NoTrialReason.BUDGET_MET and read_confirmation(settings.confirm):
            plan_round(connection, study, settings, counted.next_number, times.utc)
            settings = lock_study(connection, study)
            counted = count_trials(connection, study, settings)
            refusal = find_refusal(settings, counted)
        if refusal is not None:
            return refusal
        left = settings.budget + settings.beside - counted.ended - counted.running
        if waits_for_others(connection, study, settings, counted, left, owner, cores):
            return NoTrialReason.WAITS_FOR_OTHERS
        number = counted.lowest_waiting
        if number is None:
            number = counted.next_number
            trial_id = insert_trial(
                connection, study.study_id, number, TrialState.RUNNING, times.utc
            )
            if is_of_second_stage(study.definition, settings.budget, left):
                fix_settings(connection, study, number, trial_id, times.utc)
        else:
            trial_id = start_waiting(connection, settings, study.study_id, number, times.utc)
        hold(
            connection,
            study,
            number,
            trial_id,
            token=token or new_token(),
            owner=owner,
            now=times.utc,
            lease_until=times.lease + lease,
        )
        return read_claim(connection, study, number)


def renew(store: Store, claim: Claim, lease: float = LEASE_SECONDS) -> None:
    """Hold the trial for another `lease` seconds.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    with store.write() as connection:
        times = store.times(connection)
        update_if_owner(connection, claim, lease_until=times.lease + lease, touched=times.utc)


def write_parameters(
    store: Store,
    claim: Claim,
    parameters: Sequence[StoredParameter],
    attributes: Mapping[str, Any],
) -> None:
    """Write what was drawn for the trial, and what its sampler notes of it, in one transaction.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    with store.write() as connection:
        update_if_owner(connection, claim, touched=store.now(connection))
        rows = parameter_rows(claim.trial_id, parameters)
        upsert(connection, trial_params, ("trial_id", "param_name"), rows)
        write_attributes(connection, claim.trial_id, attributes, system=True)


def report(store: Store, claim: Claim, epochs: Sequence[EpochRecord]) -> None:
    """Write epochs, all in one transaction; one that was written before is overwritten.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    with store.write() as connection:
        _write_epochs(connection, claim, epochs, store.now(connection))


def _write_epochs(
    connection: Connection, claim: Claim, epochs: Sequence[EpochRecord], now: float
) -> None:
    update_if_owner(connection, claim, touched=now)
    if not epochs:
        return
    write_epochs(connection, claim.study_uuid, claim.number, claim.trial_id, epochs)
    _sum_up(connection, claim)


_EPOCHS = (own_epochs.c.uuid == OF_UUID) & (own_epochs.c.number == OF_NUMBER)
_LAST, _SECONDS = (
    select(func.coalesce(figure, 0)).where(_EPOCHS).scalar_subquery()
    for figure in (func.max(own_epochs.c.epoch), func.sum(own_epochs.c.seconds))
)
_SUM_UP = update(own_trials).where(IS_HELD).values(epochs=_LAST, worked=_SECONDS)


def _sum_up(connection: Connection, claim: Claim) -> None:
    """Note how far the epochs written go, and what they took."""
    execute_if_owner(connection, claim, _SUM_UP)


def record_checkpoint(store: Store, claim: Claim, epoch: int) -> None:
    """Say that a checkpoint after `epoch` lies on disk; flush the reports up to it first.

    It counts as progress when the trial never was as far before: workers that each begin anew,
    since none sees the others' checkpoints, get nowhere.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    own = own_trials.c
    further = own.checkpoint_epoch < epoch
    with store.write() as connection:
        update_if_owner(
            connection,
            claim,
            checkpoint_epoch=case((further, epoch), else_=own.checkpoint_epoch),
            checkpoint_claim=claim.ordinal,
            progressed=case((further, True), else_=own.progressed),
            strikes=case((further, 0), else_=own.strikes),
            touched=store.now(connection),
        )


def rewind(store: Store, claim: Claim, epoch: int) -> None:
    """Say that the trial resumes after `epoch`: what its former owner reported later is dropped.

    From now on the checkpoint that stands is this owner's, who has taken over the one before.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    with store.write() as connection:
        now = store.now(connection)
        update_if_owner(connection, claim, checkpoint_claim=claim.ordinal, touched=now)
        drop_epochs(connection, claim.study_uuid, claim.number, claim.trial_id, epoch)
        _sum_up(connection, claim)


def annotate(
    store: Store,
    claim: Claim,
    attributes: Mapping[str, Any],
    *,
    resumed_elsewhere: bool | None = None,
) -> None:
    """Set attributes that Optuna shows, and mark a trial that resumes on other hardware.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    marked = {} if resumed_elsewhere is None else {"resumed_elsewhere": resumed_elsewhere}
    with store.write() as connection:
        update_if_owner(connection, claim, touched=store.now(connection), **marked)
        write_attributes(connection, claim.trial_id, attributes)


def release(store: Store, claim: Claim, reason: str, *, retried: bool = False) -> None:
    """Let the trial wait again, with all it has; no strike.

    `retried` says that an exception is why: it is counted, and the reason kept for good.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    with store.write(durable=True) as connection:
        lock(connection, claim.study_id)
        now = store.now(connection)
        update_if_owner(
            connection,
            claim,
            token=None,
            owner=None,
            lease_until=None,
            reason=storable(reason),
            retried=own_trials.c.retried + int(retried),
            touched=now,
        )
        if retried:
            write_attributes(connection, claim.trial_id, {RETRIED_AFTER: storable(reason)})
        set_waiting(connection, claim.trial_id)


def end(store: Store, claim: Claim, end: End, epochs: Sequence[EpochRecord] = ()) -> None:
    """End the trial, with the epochs not yet reported.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
        ValueError: completed without a value that can be compared.
    """
    if end.kind is EndKind.COMPLETED and (end.value is None or math.isnan(end.value)):
        raise ValueError(f"trial {claim.number} cannot be completed with the value {end.value}")
    with store.write(durable=True) as connection:
        lock(connection, claim.study_id)
        now = store.now(connection)
        try:
            _write_epochs(connection, claim, epochs, now)
        except StaleClaimError:
            if is_ended_by(connection, claim, end):
                return
            raise
        named = {**artifact_attributes(end.artifacts), ENDED_BY_KEY: claim.token}
        end_trial(
            connection, claim.study_uuid, claim.number, claim.trial_id, end, now, system=named
        )


def reap(store: Store, study: StudyRecord) -> list[int]:
    """Release the trials whose leases have run out, and return their numbers; any worker may.

    Raises:
        NotFoundError: the study is gone.
    """
    with store.write(durable=True) as connection:
        lock_study(connection, study)
        times = store.times(connection)
        return release_lost(
            connection, study, lambda held: held.lease_until < times.lost, times.utc
        )


def release_owner(
    store: Store,
    study: StudyRecord,
    owner_prefix: str,
    *,
    end: End | None = None,
    strike: bool = True,
) -> list[int]:
    """Release at once the trials of a worker known to be dead, or `end` them; their numbers.

    `strike` says that the worker was not killed from outside.

    Raises:
        NotFoundError: the study is gone.
    """
    with store.write(durable=True) as connection:
        lock_study(connection, study)
        now = store.now(connection)
        is_its = partial(_is_of, owner_prefix)
        if end is not None:
            return end_lost(connection, study, is_its, end, now)
        return release_lost(connection, study, is_its, now, strike=strike)


def _is_of(prefix: str, held: Row[Any]) -> bool:
    """Whether an owner begins with the prefix as a whole: `host-1` does not begin `host-10`."""
    if not held.owner.startswith(prefix):
        return False
    rest = held.owner[len(prefix) :]
    return not (prefix[-1:].isalnum() and rest[:1].isalnum())
