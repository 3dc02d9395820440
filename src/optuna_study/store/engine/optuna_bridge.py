"""Where the store meets Optuna; only `optuna_trials` imports it too, so reading never does."""

from __future__ import annotations

import copy
import logging
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import storage as rdb_storage
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from optuna_study.errors import NotFoundError, UnreachableError
from optuna_study.store.engine.connection import postgresql_options
from optuna_study.store.engine.failures import translate, translate_failures
from optuna_study.store.engine.optuna_trials import RowStorage
from optuna_study.store.engine.sqlite_file import open_writer
from optuna_study.store.pareto import second_metric
from optuna_study.store.records import EndKind, StoredParameter
from optuna_study.store.schema import CONFIRMS, REUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import Claim, StudyRecord

logging.getLogger("alembic").setLevel(logging.WARNING)
# Of a connection that is lost it tells in seven lines, with the statement; `Outage` does in one.
logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.ERROR)


def optuna_storage(store: Store) -> BaseStorage:
    """Optuna's cached storage over the store's own connections.

    `RDBStorage` makes an engine of its own; ours takes its place, so that a worker holds one
    PostgreSQL connection, and Optuna waits for SQLite as long as we do. Hand URLs to processes: a
    pickled storage would forget this.

    Raises:
        StoreError: the store fails.
    """
    with optuna_failures(store):
        return _CachedStorage(_rdb_storage(store, create=False))


def create_tables(store: Store) -> None:
    """Let Optuna make its tables; the caller holds the store's lock."""
    with optuna_failures(store):
        _rdb_storage(store, create=True)


def read_trials(store: Store, storage: BaseStorage, study: StudyRecord) -> None:
    """Let Optuna's storage read a study's trials, which it keeps; later it reads new ones alone.

    To be done before a trial is claimed: after 3,000 trials of 12 epochs it takes 2.4 s of
    computing, in which nothing else gets at a worker's one PostgreSQL connection, no heartbeat
    either.

    Raises:
        NotFoundError: the study is gone.
        StoreError: the store fails.
    """
    with optuna_failures(store):
        try:
            storage.get_all_trials(study.study_id, deepcopy=False)
        except KeyError:
            raise NotFoundError(f"study '{study.name}' was deleted") from None


def optuna_study(
    storage: BaseStorage, study: StudyRecord, sampler: optuna.samplers.BaseSampler
) -> optuna.Study:
    """Optuna's view of one of our studies, with its cache warm."""
    loaded = optuna.load_study(study_name=study.name, storage=storage, sampler=sampler)
    # A trial claimed by SQL is unknown to the cache, and its first suggest a KeyError, until all
    # are read once.
    storage.get_all_trials(study.study_id, deepcopy=False)
    return loaded


def find_alike(trials: Iterable[FrozenTrial], parameters: Mapping[str, Any]) -> int | None:
    """The number of the first trained trial with these parameters whose end its settings explain.

    A trial that failed or ran out of memory may have met with a passing trouble; one with fixed
    settings beside its parameters is another configuration.
    """
    for trial in trials:
        attributes = trial.user_attrs
        if (
            trial.params == parameters
            and attributes.get("end") in KNOWN_ENDS
            and not {"fixed", CONFIRMS, REUSES} & attributes.keys()
        ):
            return trial.number
    return None


KNOWN_ENDS = (EndKind.COMPLETED, EndKind.PRUNED, EndKind.DIVERGED)


class Draft:
    """A claimed trial as Optuna's: suggesting gives what is stored, and keeps here what it draws.

    Optuna would write each parameter, and what samplers note of a trial, at once and whoever asks;
    `queue.write_parameters` writes them together, for the trial's owner alone. The study's trials
    are read once: a sampler asks for all of them several times a proposal, each time 7 queries,
    and had better not see them change. `left_out` are the numbers of trials it is not to see: the
    storage keeps an ended trial as it was, so what was excluded since it does not know. Of the
    others it sees those that `learns_from` gives.
    """

    def __init__(
        self,
        storage: BaseStorage,
        study: StudyRecord,
        sampler: optuna.samplers.BaseSampler,
        claim: Claim,
        left_out: Container[int] = (),
        learns_from: Callable[..., Sequence[FrozenTrial]] = lambda trials, _: trials,
    ) -> None:
        self.parameters: list[StoredParameter] = []
        self.attributes: dict[str, Any] = {}  # the system's
        self._storage = storage
        self._study = study
        self._trial_id = claim.trial_id
        found = storage.get_all_trials(study.study_id, deepcopy=False)
        self._history = [
            each
            for each in found
            if CONFIRMS not in each.user_attrs and each.number not in left_out
        ]
        self._drawn_for = next(each for each in found if each.number == claim.number)
        if second_metric(study) is not None:
            self._history = list(map(_without_reports, self._history))
        self._seen = learns_from(self._history, study)
        view = optuna_study(cast("BaseStorage", self), study, sampler)
        self.trial = optuna.Trial(view, claim.trial_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    @property
    def stored(self) -> Mapping[str, Any]:
        """The parameters that the trial had when this was made."""
        params: dict[str, Any] = self._drawn_for.params
        return params

    def get_study_id_from_name(self, study_name: str) -> int:
        """The only study that there is."""
        assert study_name == self._study.name
        return self._study.study_id

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """What samplers learn from: confirmation runs, which repeat the best, are left out."""
        assert study_id == self._study.study_id
        found = [each for each in self._seen if states is None or each.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def alike(self, parameters: Mapping[str, Any]) -> int | None:
        """The trial of the study that had these parameters and whose end is known."""
        return find_alike(self._history, parameters)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial as it was when this was made."""
        assert trial_id == self._trial_id
        return copy.copy(self._drawn_for)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Keep a parameter of the trial."""
        assert trial_id == self._trial_id
        stored = distribution_to_json(distribution)
        self.parameters.append(StoredParameter(param_name, param_value_internal, stored))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep what a sampler notes of the trial."""
        assert trial_id == self._trial_id
        self.attributes[key] = value

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """What is stored of a trial, and what is kept here."""
        if trial_id != self._trial_id:
            attributes: dict[str, Any] = self._storage.get_trial_system_attrs(trial_id)
            return attributes
        return {**self._drawn_for.system_attrs, **self.attributes}


def _without_reports(trial: FrozenTrial) -> FrozenTrial:
    """A trial as its end alone tells it: TPE ranks reports by a study's only direction."""
    if trial.state != optuna.trial.TrialState.PRUNED:
        return trial
    bare = copy.copy(trial)
    bare.intermediate_values = {}
    return bare


@contextmanager
def optuna_failures(store: Store) -> Iterator[None]:
    """Turn what Optuna's storage raises when the database fails into errors of ours.

    Raises:
        UnreachableError: it does not answer right now, or no space is left.
        FolderError: a SQLite file that cannot be written.
        StoreError: everything else a database refuses.
    """
    try:
        with translate_failures(store.address):
            yield
    except UnreachableError as error:
        store.outage.record_failure(error)
        raise
    except StorageInternalError as error:
        cause = error.__cause__
        if not isinstance(cause, SQLAlchemyError):
            raise
        translated = translate(store.address, cause)
        if isinstance(translated, UnreachableError):
            store.outage.record_failure(translated)
        raise translated from error


def _rdb_storage(store: Store, *, create: bool) -> RowStorage:
    location = store.address.location
    if isinstance(location, Path):
        url = "sqlite://"
        options: dict[str, Any] = {
            "poolclass": NullPool,
            "creator": lambda: open_writer(location.resolve()),
        }
    else:
        # RDBStorage reads `{...}` in a URL as a template of its own.
        url = location.render_as_string(hide_password=False)
        url = url.replace("{", "{{").replace("}", "}}")
        options = {
            "poolclass": NullPool,
            "connect_args": postgresql_options(store.address)["connect_args"],
        }
    store.engine.dispose()  # idle connections: never two at once, not even while this one opens
    with nullcontext() if create else _without_migrations():
        storage = RowStorage(
            url,
            engine_kwargs=options,
            skip_table_creation=not create,
            skip_compatibility_check=not create,
        )
    storage.engine.dispose()
    storage.engine = store.engine
    storage.scoped_session = scoped_session(sessionmaker(bind=store.engine))
    return storage


@contextmanager
def _without_migrations() -> Iterator[None]:
    """Within the block a storage of Optuna's does not look which migrations its tables have had.

    They have all, `open_store` saw to it, and to look imports alembic: 0.4 of the 0.8 CPU seconds
    from a worker's start to its first claim.
    """
    names = vars(rdb_storage)
    manager = names["_VersionManager"]
    names["_VersionManager"] = lambda *_: None
    try:
        yield
    finally:
        names["_VersionManager"] = manager
