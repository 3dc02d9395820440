"""A worker's place of work, and what it does with one claimed trial there."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import optuna

from optuna_study.definition.config_text import config_text
from optuna_study.definition.model import PRUNERS
from optuna_study.errors import (
    DeviceLostError,
    DiskFullError,
    FolderError,
    OptunaStudyError,
    UsageError,
)
from optuna_study.search import artifacts, figures, importance, kept, notes, plane, tensorboard
from optuna_study.search.ledger import StoreLedger
from optuna_study.search.objective import Left, Outcome, Rules, Started, Tools, run_trial
from optuna_study.search.patience import PatientLedger
from optuna_study.search.propose import propose
from optuna_study.search.resume import CheckpointedRun, find_point
from optuna_study.store import bridge, queue, reads, studies
from optuna_study.store.notes import keep_note
from optuna_study.store.origin import provenance, recorded
from optuna_study.store.outage import PATIENCE, Outage, patiently
from optuna_study.store.records import EndKind
from optuna_study.store.schema import TEST_ACCURACY, TEST_LOSS
from optuna_study.training.catalogue import resolve
from optuna_study.training.predict import save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch
    from optuna.storages import BaseStorage

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.search.brake import Brake
    from optuna_study.search.objective import Training
    from optuna_study.store.open import Store
    from optuna_study.store.records import Claim, End, EpochRecord, StudyRecord
    from optuna_study.training.config import TrainConfig
    from optuna_study.training.data import DeviceData

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """Everything a worker holds from one trial to the next."""

    store: Store
    storage: BaseStorage  # Optuna's, on the same connections
    study: StudyRecord
    definition: Definition
    workspace: Workspace
    data: DeviceData
    device: torch.device
    environment: Mapping[str, Any]
    tensorboard: Path | None = None  # folder of event files, where they are wanted
    shelf: Outage = field(default_factory=lambda: Outage("the folder of artifacts", reached=True))


def work_on(site: Site, claim: Claim, brake: Brake) -> Outcome:
    """Run a claimed trial to its end, or until the brake is pulled.

    Raises:
        StoreError: the store fails; the claim's lease then runs out.
        DeviceLostError: the trial ended, and this process can train no other.
    """
    work = _Work(site, claim, brake)
    tools = Tools(work.start, work.publish)
    ledger = PatientLedger(StoreLedger(site.store, site.study, claim), brake.wait, tools.clock)
    outcome = run_trial(ledger, tools, brake)
    if outcome.left is Left.ENDED:
        _afterwards(site, claim, work.config, brake.wait)
    if outcome.device_lost:
        raise DeviceLostError(
            f"trial {claim.number} failed on {site.device} with an error that this process does "
            "not recover from; a fresh one takes its place"
        )
    return outcome


def insist(site: Site, call: Callable[[], T], wait: Callable[[float], bool]) -> T:
    """Call something that reads or writes the store, also through Optuna, until it is back.

    Raises:
        StoreError: it fails for good, has been away for too long, or `wait` said to give up.
    """

    def once() -> T:
        with bridge.optuna_failures(site.store):
            return call()

    return patiently(once, wait)


@dataclass
class _Work:
    """The real things behind one trial; `config` is known once it has started."""

    site: Site
    claim: Claim
    brake: Brake
    config: TrainConfig | None = None

    def start(self) -> Started:
        """Find the configuration and the checkpoint, and build the run from them."""
        site, claim = self.site, self.claim
        config = self.config = self._insist(
            lambda: propose(site.store, site.storage, site.study, site.definition, claim)
        )
        path = site.workspace.checkpoint(claim.study_uuid, claim.number)
        reported: Sequence[EpochRecord] = ()
        if claim.resumed:
            reported = self._insist(lambda: reads.epochs(site.store, site.study, claim.number))
        point = find_point(path, claim, reported, site.environment)
        after = point.epoch if point else 0
        if claim.resumed:
            self._insist(lambda: queue.rewind(site.store, claim, after))
        if point is not None and point.elsewhere:
            text = "; ".join(point.elsewhere)
            log.warning("goes on elsewhere: %s", text)
            noted = {"resumed_elsewhere": text}
            self._insist(lambda: queue.annotate(site.store, claim, noted, resumed_elsewhere=True))
        run = CheckpointedRun(
            config,
            site.data,
            site.device,
            path,
            site.environment,
            self.brake.event,
            None if point is None else point.state,
        )
        log.info("begins after epoch %d", after)
        search = site.definition.search
        rules = Rules(
            metric=search.metric,
            direction=search.direction,
            epochs=config.train.epochs,
            decide=resolve(PRUNERS[search.pruner]),
            prunable=claim.baseline is None,
            timeout=search.trial_timeout,
        )
        return Started(run, rules, point.before if point else ())

    def publish(self, training: Training, end: End, records: Sequence[EpochRecord]) -> None:
        """Write the trial's files; of a completed one among the best few the model, too."""
        assert isinstance(training, CheckpointedRun)
        assert self.config is not None
        site, claim = self.site, self.claim
        about = f"{site.study.name} · trial {claim.number}"
        about += f" · {claim.baseline}" if claim.baseline else ""
        files = {artifacts.CONFIG: self._config_file(end, records).encode()}
        if records:
            files[artifacts.CURVE] = figures.curve_picture(f"{about} · {end.kind}", records)
        if records and end.kind in (EndKind.COMPLETED, EndKind.PRUNED):
            files |= _answers(about, training)
        self._put_up(lambda: site.storage.get_trial(claim.trial_id), files)
        if claim.number == 0 and plane.is_plane(site.data):  # one alone, so that no two publish it
            picture = plane.data_picture(f"{site.study.name} · data", site.data)
            self._put_up(lambda: _seen(site, site.study), {artifacts.DATA: picture})
        if site.definition.only is not None and end.kind is EndKind.COMPLETED:
            self._test(training)
        if end.kind is EndKind.COMPLETED and end.value is not None:
            self._keep_model(training, end.value)
        if site.tensorboard is not None:
            self._write_events(site.tensorboard, training, end, records)

    def _test(self, training: CheckpointedRun) -> None:
        """Look at the held-out pictures: a comparison chooses nothing that they could flatter."""
        test = training.run.test()
        figures = {TEST_ACCURACY: test.accuracy, TEST_LOSS: test.loss}
        self._insist(lambda: queue.annotate(self.site.store, self.claim, figures))

    def _put_up(
        self,
        about: Callable[[], optuna.trial.FrozenTrial | optuna.Study],
        files: Mapping[str, bytes],
    ) -> None:
        """Publish artifacts, and wait for a full disk to be cleared, once for all trials.

        When nobody cleared it within the patience there is, trials end without artifacts.
        """
        site = self.site

        def publish() -> None:
            try:
                artifacts.publish(site.workspace, site.storage, about(), files)
            except DiskFullError as error:
                site.shelf.failed(error)
                raise
            site.shelf.worked()

        patiently(
            lambda: self._insist(publish),
            self.brake.wait,
            passing=DiskFullError,
            patience=PATIENCE - site.shelf.seconds,
        )

    def _insist(self, call: Callable[[], T]) -> T:
        return insist(self.site, call, self.brake.wait)

    def _keep_model(self, training: CheckpointedRun, value: float) -> None:
        site, claim = self.site, self.claim
        if not self._insist(lambda: kept.worth_keeping(site.store, site.study, value)):
            return
        path = site.workspace.kept_model(claim.study_uuid, claim.number)
        try:
            save_model(path, training.run, training.run.config, site.data)
        except (DiskFullError, FolderError) as error:
            log.warning("model not kept: %s", error)

    def _write_events(
        self,
        folder: Path,
        training: CheckpointedRun,
        end: End,
        records: Sequence[EpochRecord],
    ) -> None:
        site, claim, config = self.site, self.claim, training.run.config
        space = site.definition.space.dimensions
        try:
            tensorboard.write_trial(
                tensorboard.run_folder(folder, site.study.name, claim.number, claim.baseline),
                config,
                dict.fromkeys((*notes.KEY_SETTINGS, *(each.setting for each in space))),
                training.run.data,
                end,
                records,
                site.study.metric,
            )
        except (DiskFullError, UsageError, ImportError) as error:
            log.warning("nothing written for TensorBoard: %s", error)

    def _config_file(self, end: End, records: Sequence[EpochRecord]) -> str:
        assert self.config is not None
        site, claim = self.site, self.claim
        origin = provenance(site.study, claim.number, claim.baseline) | {
            "end": end.kind.value,
            "reason": end.reason,
            "value": end.value,
            "environment": dict(site.environment),
        }
        return config_text(self.config, origin, recorded(site.study, end.value, records))


def _answers(about: str, training: CheckpointedRun) -> dict[str, bytes]:
    """Pictures of what a trained model makes of the validation pictures, and of a plane."""
    data = training.run.data
    files = {
        artifacts.CONFUSION: figures.confusion_picture(
            f"{about} · validation", training.confusion(), data.classes
        )
    }
    if plane.is_plane(data):
        chances = training.answers(plane.places(data.device))
        files[artifacts.BOUNDARY] = plane.boundary_picture(about, data, chances)
    return files


def _seen(site: Site, study: StudyRecord) -> optuna.Study:
    """Optuna's view of a study, for all but proposing."""
    return bridge.optuna_study(site.storage, study, optuna.samplers.RandomSampler(seed=0))


def _afterwards(
    site: Site, claim: Claim, config: TrainConfig | None, wait: Callable[[float], bool]
) -> None:
    """Notes and order among the files; the trial has ended, so nothing here can fail it."""

    def renew() -> None:
        kept.sweep(site.store, site.study, site.workspace)
        if config is not None:
            _note_trial(site, claim, config)

    try:
        insist(site, renew, wait)
    except OptunaStudyError as error:
        log.warning("files or notes not brought up to date: %s", error)
    except Exception:
        log.exception("files or notes not brought up to date")


def _note_trial(site: Site, claim: Claim, config: TrainConfig) -> None:
    trial = reads.trial(site.store, site.study, claim.number)
    text = notes.trial_note(trial, config, site.study)
    keep_note(site.store, site.study, text, claim.trial_id)


def _note_study(site: Site) -> None:
    study = studies.find_study(site.store, site.study.name)
    if study is None:
        return
    trials = reads.trials(site.store, study, with_parameters=False)
    text = notes.study_note(
        study,
        site.definition,
        reads.counts(site.store, study),
        reads.best(site.store, study),
        [trial for trial in trials if trial.baseline is not None],
    )
    keep_note(site.store, study, text)


def bring_up_to_date(site: Site, wait: Callable[[float], bool], *, last: bool = False) -> None:
    """Renew what a study shows of itself: importances if due, its note; `last` at its end."""

    def renew() -> None:
        kept.sweep(site.store, site.study, site.workspace)
        searched = site.definition.only is None
        if searched and importance.due(site.store, site.study, last=last):
            importance.refresh(site.store, site.storage, site.study)
        _note_study(site)

    try:
        insist(site, renew, wait)
    except OptunaStudyError as error:
        log.warning("the study's note or importances were not brought up to date: %s", error)
    except Exception:
        log.exception("the study's note or importances were not brought up to date")


def enough_without_improvement(site: Site) -> bool:
    """Whether so many trials have ended since the best that the study asks to be stopped.

    Those that had ended when somebody let the study go on count no more.
    """
    patience = site.definition.search.stop_without_improvement
    if patience is None:
        return False
    best, now = reads.best(site.store, site.study), studies.find_study(site.store, site.study.name)
    if best is None or best.completed is None or now is None:
        return False
    begin = max(best.completed, now.going_since or 0.0)
    trials = reads.trials(site.store, site.study, with_parameters=False)
    since = [t for t in trials if t.completed is not None and t.completed > begin]
    return len(since) >= patience
