"""A study copied to a store of the other kind, of the same kind, and within one."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from notes import save_note
from sqlalchemy import func, select

from optuna_study.definition.serialise import definition_hash, from_json
from optuna_study.errors import NotFoundError, StaleClaimError, StoreError, UsageError
from optuna_study.store.engine.open import open_store
from optuna_study.store.importances import Importance
from optuna_study.store.queue import queue
from optuna_study.store.queue.budget import SETTLE_AFTER
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, End, EndKind, NoTrialReason, TrialState
from optuna_study.store.schema import (
    ENDED_BY_KEY,
    optuna_tables,
    own_studies,
    own_tables,
    own_trials,
    trial_system_attributes,
)
from optuna_study.store.studies import copying, studies
from optuna_study.store.studies.dashboard_notes import write_note
from optuna_study.store.studies.deletion import delete_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord

NAME = "größe ✓@cpu"
POSTGRES = pytest.mark.postgres


@dataclass
class Places:
    """Where a study is and where its copy goes; two stores, though they may be of one URL."""

    source: Store
    target: Store

    @property
    def name(self) -> str | None:
        """The name the copy needs, if it cannot have the original's."""
        return "copy" if self.source.address.url == self.target.address.url else None

    def copy(self, study: StudyRecord, name: str | None = None) -> StudyRecord:
        new = copying.new_identity(study, name or self.name)
        copying.require_free(self.target, study, new)
        copying.copy_rows(self.source, study, self.target, new)
        return studies.load_study(self.target, new.name)


@pytest.fixture(
    params=[
        pytest.param(("sqlite", "postgres"), marks=POSTGRES),
        pytest.param(("postgres", "sqlite"), marks=POSTGRES),
        ("sqlite", "sqlite"),
        pytest.param(("postgres", "postgres"), marks=POSTGRES),
    ],
    ids="-".join,
)
def places(request: pytest.FixtureRequest, clock: Any) -> Iterator[Places]:
    urls = {kind: request.getfixturevalue(f"{kind}_url") for kind in set(request.param)}
    source, target = (open_store(urls[kind], clock=clock) for kind in request.param)
    yield Places(source, target)
    source.close()
    target.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=POSTGRES)])
def across(request: pytest.FixtureRequest, sqlite_url: str, clock: Any) -> Iterator[Places]:
    """For what reads and writes a copy as any other study; `places` shows that it is one."""
    url = request.getfixturevalue(f"{request.param}_url")
    source, target = open_store(sqlite_url, clock=clock), open_store(url, clock=clock)
    yield Places(source, target)
    source.close()
    target.close()


@pytest.fixture
def within(sqlite_url: str, clock: Any) -> Iterator[Places]:
    source, target = open_store(sqlite_url, clock=clock), open_store(sqlite_url, clock=clock)
    yield Places(source, target)
    source.close()
    target.close()


@pytest.fixture
def definition(stored_study: Any) -> Mapping[str, Any]:
    """A definition as `launch` pins it: a new name becomes part of it."""
    found: Mapping[str, Any] = stored_study.study.definition
    return found


def take(store: Store, study: StudyRecord, owner: str = "w1") -> Claim:
    claim = queue.claim(store, study, owner)
    assert isinstance(claim, Claim), claim
    return claim


@pytest.fixture
def fill(
    make_study: Any, planned: Any, clock: Any, definition: Any, epoch: Callable[..., EpochRecord]
) -> Callable[[Store], StudyRecord]:
    """A study with a trial of each end, odd values, trials of plain Optuna, one running."""

    def make(store: Store) -> StudyRecord:
        study: StudyRecord = make_study(
            store,
            name=NAME,
            budget=20,
            definition={**definition, "name": NAME},
            planned=(planned("relu", width=2), planned("größe ✓")),
        )
        ends = [
            End(EndKind.COMPLETED, "all epochs", 0.5, attributes={"loss": math.nan, "é✓": "\0"}),
            End(EndKind.COMPLETED, "all epochs", math.inf),
            End(EndKind.PRUNED, "rung 2"),
            End(EndKind.DIVERGED, "non_finite"),
            End(EndKind.FAILED, "ValueError: größe ✓", traceback="Traceback\n  größe ✓"),
        ]
        for end in ends:
            claim = take(store, study)
            queue.report(store, claim, [epoch(1, 0.9), epoch(2, math.nan, train_loss=math.inf)])
            clock.now += 10
            queue.end(store, claim, end, [epoch(3, -math.inf)])
        storage = optuna.storages.RDBStorage(store.address.url)
        _run_plainly(optuna.load_study(study_name=NAME, storage=storage))
        storage.remove_session()
        storage.engine.dispose()
        lost = take(store, study)
        queue.report(store, lost, [epoch(1, 0.7)])
        clock.now += 100
        assert queue.reap(store, study) == [lost.number]
        held = take(store, study)
        queue.record_checkpoint(store, held, 1)
        studies.save_importances(store, study, {"lr": Importance(2, 1.0)}, 2)
        return studies.load_study(store, NAME)

    return make


def _run_plainly(study: optuna.Study) -> None:
    study.set_user_attr("asked by", "größe ✓")
    stranger = "dashboard:999999:note_ver"  # of a trial that another study had
    study._storage.set_study_system_attr(study._study_id, stranger, 1)
    trial = study.ask({"lr": optuna.distributions.FloatDistribution(0.001, 1.0, log=True)})
    trial.report(math.nan, 1)
    trial.set_user_attr("nothing", None)
    trial.set_constraint("too large", 1.0)
    study.tell(trial, -math.inf)
    for rate in (0.25, 0.5):
        study.enqueue_trial({"lr": rate})
    save_note(study, "of the study" * 300)
    save_note(trial, "of the trial ✓")


def as_optuna_reads_it(store: Store, name: str) -> tuple[list[Any], dict[str, Any]]:
    storage = optuna.storages.RDBStorage(store.address.url)
    study = optuna.load_study(study_name=name, storage=storage)
    rows = [
        (
            trial.number,
            trial.state.name.replace("RUNNING", "WAITING"),
            repr(trial.values),
            trial.params,
            trial.distributions,
            trial.user_attrs,
            {key: said for key, said in trial.system_attrs.items() if key != ENDED_BY_KEY},
            repr(trial.intermediate_values),
            trial.datetime_start,
            trial.datetime_complete,
        )
        for trial in study.trials
    ]
    about = {"direction": study.direction, "user": study.user_attrs}
    storage.remove_session()
    storage.engine.dispose()
    return rows, about


@pytest.mark.slow
def test_optuna_reads_the_copy_as_it_reads_the_original(places: Places, fill: Any) -> None:
    study = fill(places.source)
    copy = places.copy(study)
    original = as_optuna_reads_it(places.source, study.name)
    assert len(original[0]) == 8
    assert as_optuna_reads_it(places.target, copy.name) == original


@POSTGRES
@pytest.mark.slow
def test_a_copys_note_is_renewed_unless_a_person_wrote_it(across: Places, fill: Any) -> None:
    study = fill(across.source)  # whose note is a person's
    assert not write_note(across.target, across.copy(study, "first"), "ours")
    storage = optuna.storages.RDBStorage(across.source.address.url)
    save_note(optuna.load_study(study_name=study.name, storage=storage), "")
    storage.remove_session()
    storage.engine.dispose()
    assert write_note(across.source, study, "ours")
    assert write_note(across.target, across.copy(study, "second"), "ours, renewed")


@pytest.mark.slow
def test_no_token_is_copied(within: Places, fill: Any) -> None:
    copy = within.copy(fill(within.source))
    ids = {trial.trial_id for trial in reads.trials(within.target, copy)}
    of_ends = trial_system_attributes.c
    with within.target.read() as connection:
        tokens = connection.execute(
            select(own_trials.c.token).where(own_trials.c.uuid == copy.uuid)
        )
        assert set(tokens.scalars()) == {None}
        ended = connection.execute(select(of_ends.trial_id).where(of_ends.key == ENDED_BY_KEY))
        of_the_original = set(ended.scalars())
    assert of_the_original
    assert not of_the_original & ids


@pytest.mark.slow
def test_our_records_are_the_same_but_for_names_ids_and_leases(places: Places, fill: Any) -> None:
    study = fill(places.source)
    copy = places.copy(study)
    renamed = places.name is not None
    assert (copy.name, copy.uuid == study.uuid) == ("copy@cpu" if renamed else NAME, False)
    own = ("uuid", "study_id", "name", "definition", "definition_hash")
    assert _but(copy, *own) == _but(study, *own)
    assert copy.definition == {**study.definition, "name": copy.name}
    before, after = reads.trials(places.source, study), reads.trials(places.target, copy)
    assert [trial.number for trial in after] == list(range(8))
    assert sorted(trial.trial_id for trial in after) == [trial.trial_id for trial in after]
    left = ("trial_id", "owner", "lease_until", "reason", "state")
    assert [_but(trial, *left) for trial in after] == [_but(trial, *left) for trial in before]
    assert [trial.reason for trial in after if trial.end] == [
        trial.reason for trial in before if trial.end
    ]
    assert TrialState.RUNNING not in {trial.state for trial in after}
    assert {(trial.owner, trial.lease_until) for trial in after} == {(None, None)}
    for number in range(8):
        assert repr(reads.epochs(places.target, copy, number)) == repr(
            reads.epochs(places.source, study, number)
        )


def _but(record: Any, *names: str) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(record).items() if key not in names}


@pytest.mark.slow
def test_a_running_trial_waits_in_the_copy_with_all_it_has(within: Places, fill: Any) -> None:
    study = fill(within.source)
    running = next(
        trial for trial in reads.trials(within.source, study) if trial.state is TrialState.RUNNING
    )
    copy = within.copy(study)
    waiting = reads.trial(within.target, copy, running.number)
    assert (waiting.state, waiting.reason) == (TrialState.WAITING, "copied while it ran")
    claim = take(within.target, copy, "elsewhere")
    assert (claim.number, claim.resumed, claim.checkpoint_epoch) == (running.number, True, 1)
    assert (claim.baseline, claim.seed) == (running.baseline, running.seed)
    queue.end(within.target, claim, End(EndKind.COMPLETED, "all epochs", 0.5))
    again = reads.trial(within.source, study, running.number)
    assert (again.state, again.owner) == (TrialState.RUNNING, "w1")


def test_strikes_go_with_a_trial(
    within: Places, make_study: Any, definition: Any, clock: Any
) -> None:
    study = make_study(within.source, name="cats", definition=definition)
    take(within.source, study)
    clock.now += 100
    assert queue.reap(within.source, study) == [0]
    take(within.source, study)
    copy = within.copy(study)
    assert reads.trial(within.target, copy, 0).strikes == 1


@pytest.mark.slow
def test_the_original_s_owner_cannot_write_to_the_copy(within: Places, fill: Any) -> None:
    study = fill(within.source)
    claim = take(within.source, study, "zombie")
    copy = within.copy(study)
    theirs = reads.trial(within.target, copy, claim.number)
    with pytest.raises(StaleClaimError):
        queue.renew(
            within.target,
            dataclasses.replace(claim, study_uuid=copy.uuid, trial_id=theirs.trial_id),
        )
    queue.end(within.source, claim, End(EndKind.COMPLETED, "all epochs", 0.1))
    assert reads.trial(within.target, copy, claim.number).end is None


@pytest.mark.slow
def test_the_copy_runs_exactly_the_rest_of_the_budget(
    within: Places, make_study: Any, definition: Any
) -> None:
    """The original's count of settled trials goes by ids that mean others in the copy."""
    ended = SETTLE_AFTER + 2
    study = make_study(within.source, name="cats", budget=ended + 3, definition=definition)
    for _ in range(ended):
        queue.end(within.source, take(within.source, study), End(EndKind.COMPLETED, "done", 0.5))
    copy = within.copy(study)
    for number in range(3):
        claim = take(within.target, copy)
        assert claim.number == ended + number
        queue.end(within.target, claim, End(EndKind.COMPLETED, "done", 0.5))
    assert queue.claim(within.target, copy, "w1") is NoTrialReason.BUDGET_MET


@pytest.mark.slow
def test_another_name_keeps_the_variant_and_is_part_of_the_definition(
    within: Places, fill: Any
) -> None:
    study = fill(within.source)
    copy = within.copy(study, "second")
    assert copy.name == from_json(copy.definition).name == "second@cpu"
    assert copy.definition_hash == definition_hash(copy.definition)
    with pytest.raises(UsageError, match=r"'\.\./up' cannot be the name of a study"):
        copying.new_identity(study, "../up")


@pytest.mark.slow
def test_a_name_that_is_taken_is_refused_and_nothing_written(within: Places, fill: Any) -> None:
    study = fill(within.source)
    copy = within.copy(study)
    before = _counts(within.target)
    new = dataclasses.replace(copying.new_identity(study, None), name=copy.name)
    said = f"{copy.name} in .*: a study of that name is there already; .* with --name"
    with pytest.raises(UsageError, match=said):
        copying.require_free(within.target, study, new)
    with pytest.raises(UsageError, match=said):
        copying.copy_rows(within.source, study, within.target, new)
    assert _counts(within.target) == before


@pytest.mark.slow
def test_the_study_itself_is_no_place_for_its_copy(within: Places, fill: Any) -> None:
    study = fill(within.source)
    with pytest.raises(UsageError, match="that is the study itself; choose another name"):
        copying.require_free(within.target, study, copying.new_identity(study, None))


@POSTGRES
@pytest.mark.slow
def test_a_name_that_plain_optuna_takes_meanwhile_is_refused(
    sqlite_store: Store, postgres_url: str, fill: Any, name_taken_while: Any
) -> None:
    study = fill(sqlite_store)
    target = open_store(postgres_url)
    new = copying.new_identity(study, None)
    with pytest.raises(UsageError, match="a study of that name is there already"):
        name_taken_while(NAME, lambda: copying.copy_rows(sqlite_store, study, target, new))
    target.close()


@pytest.mark.slow
@POSTGRES
def test_nothing_is_left_of_a_copy_that_fails(
    sqlite_store: Store, postgres_url: str, fill: Any
) -> None:
    """SQLite takes any length, PostgreSQL does not: the last table to be copied breaks it."""
    study = fill(sqlite_store)
    with sqlite_store.write() as connection:
        connection.exec_driver_sql(
            "UPDATE trial_user_attributes SET key = key || hex(zeroblob(300))"
        )
    target = open_store(postgres_url)
    with pytest.raises(StoreError) as caught:
        copying.copy_rows(sqlite_store, study, target, copying.new_identity(study, None))
    assert "\n" not in str(caught.value)
    assert "too long" in str(caught.value)
    assert set(_counts(target).values()) == {0}
    target.close()


@pytest.mark.slow
def test_a_study_deleted_meanwhile_is_not_found(within: Places, fill: Any) -> None:
    study = fill(within.source)
    delete_study(within.source, study)
    new = copying.new_identity(study, within.name)
    with pytest.raises(NotFoundError, match="was deleted"):
        copying.copy_rows(within.source, study, within.target, new)
    assert set(_counts(within.target).values()) == {0}


def _counts(store: Store) -> dict[str, int]:
    kept = {"alembic_version", "optuna_study_schema"}
    tables = {**optuna_tables.tables, **own_tables.tables}
    with store.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in tables.items()
            if name not in kept
        }


@POSTGRES
@pytest.mark.slow
def test_the_dashboard_shows_notes_and_artifacts_of_the_copy(
    across: Places, fill: Any, tmp_path: Path
) -> None:
    study = fill(across.source)
    (tmp_path / "curve ✓.png").write_bytes(b"picture")
    shelf = optuna.artifacts.FileSystemArtifactStore(str(tmp_path))
    storage = optuna.storages.RDBStorage(across.source.address.url)
    plain = optuna.load_study(study_name=NAME, storage=storage)
    running = optuna.Trial(plain, plain.trials[-2]._trial_id)
    old = [
        optuna.artifacts.upload_artifact(
            artifact_store=shelf, file_path=str(tmp_path / "curve ✓.png"), study_or_trial=owner
        )
        for owner in (running, plain)
    ]
    storage.engine.dispose()
    assert sorted(copying.artifact_ids(across.source, study)) == sorted(old)
    new = copying.new_identity(study, across.name)
    copying.copy_rows(across.source, study, across.target, new)
    copy = studies.load_study(across.target, new.name)
    expected = [new.artifact(each) for each in old]
    assert sorted(copying.artifact_ids(across.target, copy)) == sorted(expected)
    shown = _dashboard(across.target, copy)
    assert shown["note"]["body"] == "of the study" * 300
    notes = {trial["number"]: trial["note"]["body"] for trial in shown["trials"]}
    assert [number for number, body in notes.items() if body] == [5]
    assert notes[5] == "of the trial ✓"
    artifacts = [
        *shown["artifacts"],
        *(a for trial in shown["trials"] for a in trial["artifacts"]),
    ]
    assert [each["artifact_id"] for each in artifacts] == expected[::-1]
    assert {each["filename"] for each in artifacts} == {"curve ✓.png"}


def _dashboard(store: Store, study: StudyRecord) -> Any:
    from optuna_dashboard import wsgi

    storage = optuna.storages.RDBStorage(store.address.url)
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/api/studies/{study.study_id}",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }
    body = b"".join(wsgi(storage)(environment, lambda *_: None))
    storage.engine.dispose()
    return json.loads(body)


@POSTGRES
@pytest.mark.slow
def test_a_copy_of_a_copy_goes_back(across: Places, fill: Any) -> None:
    study = fill(across.source)
    there = across.copy(study)
    back = Places(across.target, across.source).copy(there, "back")
    assert as_optuna_reads_it(across.source, back.name) == as_optuna_reads_it(
        across.source, study.name
    )
    with across.source.read() as connection:
        uuids = list(connection.execute(select(own_studies.c.uuid)).scalars())
    assert len(set(uuids)) == len(uuids) >= 2
