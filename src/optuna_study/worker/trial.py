"""A worker's place of work, and what it does with one claimed trial there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.artifacts import decision_boundary, figures, retention, tensorboard, upload
from optuna_study.config.catalogue import import_reference
from optuna_study.config.text import config_text
from optuna_study.definition.model import PRUNERS
from optuna_study.errors import (
    DeviceLostError,
    DiskFullError,
    FolderError,
    UsageError,
)
from optuna_study.report import notes
from optuna_study.search.ledger import PatientLedger, StoreLedger
from optuna_study.search.objective import Left, Outcome, Rules, Started, Tools, run_trial
from optuna_study.search.propose import propose
from optuna_study.search.resume import CheckpointedRun, find_point
from optuna_study.store.engine.retry import MAX_WAIT, retry_until_done
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.reads.provenance import provenance, recorded
from optuna_study.store.records import EndKind
from optuna_study.store.schema import TEST_ACCURACY, TEST_LOSS
from optuna_study.training.predict import save_model
from optuna_study.worker.open_study import Site, T, _seen, insist
from optuna_study.worker.upkeep import _afterwards

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import optuna

    from optuna_study.config.settings import TrainConfig
    from optuna_study.search.objective import Training
    from optuna_study.search.stop_signal import Brake
    from optuna_study.store.records import Claim, End, EpochRecord

log = logging.getLogger(__name__)


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
            decide=import_reference(PRUNERS[search.pruner]),
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
        files = {upload.CONFIG: self._config_file(end, records).encode()}
        if records:
            files[upload.CURVE] = figures.curve_picture(f"{about} · {end.kind}", records)
        if records and end.kind in (EndKind.COMPLETED, EndKind.PRUNED):
            files |= _answers(about, training)
        self._put_up(lambda: site.storage.get_trial(claim.trial_id), files)
        if claim.number == 0 and decision_boundary.is_plane(
            site.data
        ):  # one alone, so that no two publish it
            picture = decision_boundary.data_picture(f"{site.study.name} · data", site.data)
            self._put_up(lambda: _seen(site, site.study), {upload.DATA: picture})
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
                upload.publish(site.workspace, site.storage, about(), files)
            except DiskFullError as error:
                site.shelf.record_failure(error)
                raise
            site.shelf.record_success()

        retry_until_done(
            lambda: self._insist(publish),
            self.brake.wait,
            passing=DiskFullError,
            max_wait=MAX_WAIT - site.shelf.seconds,
        )

    def _insist(self, call: Callable[[], T]) -> T:
        return insist(self.site, call, self.brake.wait)

    def _keep_model(self, training: CheckpointedRun, value: float) -> None:
        site, claim = self.site, self.claim
        if not self._insist(lambda: retention.is_among_best(site.store, site.study, value)):
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
            "reason": str(end.reason),
            "value": end.value,
            "environment": dict(site.environment),
        }
        return config_text(self.config, origin, recorded(site.study, end.value, records))


def _answers(about: str, training: CheckpointedRun) -> dict[str, bytes]:
    """Pictures of what a trained model makes of the validation pictures, and of a plane."""
    data = training.run.data
    files = {
        upload.CONFUSION: figures.confusion_picture(
            f"{about} · validation", training.confusion(), data.classes
        )
    }
    if decision_boundary.is_plane(data):
        chances = training.predict_proba(decision_boundary.plane_points(data.device))
        files[upload.BOUNDARY] = decision_boundary.boundary_picture(about, data, chances)
    return files
