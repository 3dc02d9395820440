"""One claimed trial in the hands of a worker: what `run_trial` does with the real things."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from optuna_study.artifacts import retention, tensorboard, upload
from optuna_study.artifacts.answers import answers, ask_outputs
from optuna_study.config.allowed import modules_of, require_allowed
from optuna_study.config.catalogue import import_reference
from optuna_study.config.reasons import Reused
from optuna_study.config.text import config_text
from optuna_study.definition.model import OPTUNAS_PRUNERS, PRUNERS
from optuna_study.errors import DiskFullError, FolderError, UnreachableError, UsageError
from optuna_study.report import notes
from optuna_study.report.figures import losses, predictions
from optuna_study.search.ledger import RetryingLedger, StoreLedger
from optuna_study.search.objective import KnownEnd, Ledger, Rules, Training
from optuna_study.search.propose import propose
from optuna_study.search.resume import CheckpointedRun, find_point
from optuna_study.store.engine.retry import MAX_WAIT, retry_until_done
from optuna_study.store.queue import queue
from optuna_study.store.queue.finetuning import begin_second_stage
from optuna_study.store.reads import reads
from optuna_study.store.reads.provenance import provenance, recorded
from optuna_study.store.records import Artifact, Claim, End, EndKind, EpochRecord
from optuna_study.store.schema import REUSES, TEST_ACCURACY, TEST_LOSS
from optuna_study.store.studies import studies
from optuna_study.training.backbone.trained_layers import way_of_norms
from optuna_study.training.model_file import save_model
from optuna_study.worker.heartbeat import keep_lease
from optuna_study.worker.upkeep import clean_up, enough_without_improvement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import torch

    from optuna_study.config.settings import TrainConfig
    from optuna_study.search.pruner import Decide
    from optuna_study.search.stop_signal import StopSignal
    from optuna_study.store.engine.clock import Jumps
    from optuna_study.training.recipe.step_losses import StepLosses
    from optuna_study.worker.open_study import OpenStudy, T

log = logging.getLogger(__name__)


class TrialJob:
    """A claimed trial of an open study; its configuration is known once it is proposed."""

    def __init__(
        self,
        study: OpenStudy,
        claim: Claim,
        stop: StopSignal,
        lease: float = queue.LEASE_SECONDS,
        jumps: Jumps | None = None,
    ) -> None:
        search = study.definition.search
        self.number = claim.number
        self.device: torch.device = study.device
        self.rules = Rules(
            metric=search.metric,
            direction=search.direction,
            decide=_rule(study, claim) if claim.proposed else None,
            timeout=search.trial_timeout,
            retries=max(0, search.retries - claim.retried),
            second=search.second_metric,
        )
        ledger = StoreLedger(study.store, study.record, claim)
        self.ledger: Ledger = RetryingLedger(ledger, stop.wait, time.monotonic)
        self.study = study
        self._claim = claim
        self._stop = stop
        self._lease = lease
        self._jumps = jumps
        self._config: TrainConfig | None = None

    def keep_lease(self) -> AbstractContextManager[None]:
        """Keep the claim while the block runs; losing it sets the worker's stop signal."""
        renew = partial(queue.renew, self.study.store, self._claim, self._lease)
        return keep_lease(renew, self._stop, self._lease, self.rules.timeout, self._jumps)

    def propose(self) -> CheckpointedRun | KnownEnd:
        """Find the configuration and the checkpoint, and build the run from them.

        Or what is known of it, where a trial that has ended had the same configuration.
        """
        study, claim = self.study, self._claim
        proposal = self._retry(
            lambda: propose(study.store, study.storage, study.record, study.definition, claim)
        )
        config = self._config = proposal.config
        require_allowed(study.record.name, modules_of(config), study.allowed)
        if proposal.known is not None:
            return self._known_end(proposal.known)
        path = study.workspace.checkpoint(claim.study_uuid, claim.number, claim.ordinal)
        point = None
        if claim.resumed:
            reported = self._retry(lambda: reads.epochs(study.store, study.record, claim.number))
            retention.take_over(study.workspace, claim)
            point = find_point(path, claim, reported, self._environment(config))
        run = CheckpointedRun.resumed(
            config,
            study.data,
            study.device,
            path,
            self._environment(config),
            self._stop.event,
            point,
            self.rules.metric,
        )
        after = len(run.before)
        if claim.resumed:
            self._retry(lambda: queue.rewind(study.store, claim, after))
        if point is not None and after and point.elsewhere:
            text = "; ".join(point.elsewhere)
            log.warning("resumes elsewhere: %s", text)
            noted = {"resumed_elsewhere": text}
            self._retry(lambda: queue.annotate(study.store, claim, noted, resumed_elsewhere=True))
        log.info("begins after epoch %d", after)
        if study.tensorboard is not None:
            self._watch_steps(study.tensorboard, run)
        return run

    def _environment(self, config: TrainConfig) -> dict[str, Any]:
        """Where the trial runs, and what of how it does its last bits depend on."""
        return {**self.study.environment, **way_of_norms(config)}

    def _known_end(self, number: int) -> KnownEnd:
        """The end of a trial of the same configuration, its curve at no cost."""
        study, claim = self.study, self._claim
        origin = self._retry(lambda: reads.trial(study.store, study.record, number))
        curve = self._retry(lambda: reads.epochs(study.store, study.record, number))
        if claim.resumed:
            self._retry(lambda: queue.rewind(study.store, claim, 0))
        assert origin.end is not None
        reason, noted = Reused(number, str(origin.reason)), {REUSES: number}
        end = End(
            origin.end, reason, origin.value, second_value=origin.second_value, attributes=noted
        )
        log.info("has the settings of trial %d, whose end is known", number)
        return KnownEnd(end, [replace(epoch, seconds=0.0) for epoch in curve])

    def publish(
        self, training: Training, end: End, epochs: Sequence[EpochRecord]
    ) -> Sequence[Artifact]:
        """Write the trial's files; the model, too, where it is to be kept."""
        assert isinstance(training, CheckpointedRun)
        training.run.use_kept_weights()
        study, claim, config = self.study, self._claim, training.run.config
        origin = provenance(study.record, claim.number, claim.baseline) | {
            "end": end.kind.value,
            "reason": str(end.reason),
            "value": end.value,
            "environment": self._environment(config) | training.run.way_of_steps,
        }
        text = config_text(config, origin, recorded(study.record, end.value, epochs))
        files = {upload.CONFIG: text.encode()}
        kept = self._keeps_model(end)
        looked_at = kept or claim.baseline is not None
        if epochs and end.kind in (EndKind.COMPLETED, EndKind.PRUNED):
            found = answers(
                training.run.data,
                training.confusion(),
                training.predict_proba,
                training.validation_proba,
                in_detail=kept,
                outputs=self._outputs(training) if looked_at else None,
            )
            files[predictions.FILE] = predictions.to_bytes(found)
        if looked_at and training.run.step_losses.points:
            files[losses.FILE] = losses.to_bytes(_losses(training.run.step_losses))
        artifacts = self._write_artifacts(files)
        nothing_chosen = study.definition.only is not None or claim.confirms is not None
        if end.kind is EndKind.COMPLETED and nothing_chosen:
            self._test(training)
        if kept:
            self._keep_model(training)
        if study.tensorboard is not None:
            self._write_events(study.tensorboard, training, end, epochs)
        return artifacts

    def clean_up(self) -> None:
        """Put files and notes in order, and end a search that no longer improves."""
        study, wait = self.study, self._stop.wait
        clean_up(study, self._claim, self._config, wait)

        def stop_if_enough() -> bool:
            if not enough_without_improvement(study):
                return False
            if study.definition.search.finetune.trials:
                return begin_second_stage(study.store, study.record)
            return studies.end_search(study.store, study.record)

        try:
            if retry_until_done(stop_if_enough, wait):
                log.info("no improvement for long: the search ends, or its second stage begins")
        except UnreachableError:
            if not self._stop.leaving:
                raise

    def _retry(self, call: Callable[[], T]) -> T:
        return self.study.retry_store(call, self._stop.wait)

    def _test(self, training: CheckpointedRun) -> None:
        """Look at the held-out pictures; only runs by which nothing is searched do."""
        test = training.run.test()
        measured = {TEST_ACCURACY: test.accuracy, TEST_LOSS: test.loss}
        self._retry(lambda: queue.annotate(self.study.store, self._claim, measured))

    def _outputs(self, training: CheckpointedRun) -> predictions.Outputs | None:
        """What the model gives for the training picture that the study names, if it names one."""
        record, data = self.study.definition.search.outputs_of, training.run.data
        if record is None:
            return None
        outputs = ask_outputs(data, training.outputs, record)
        if outputs is None:
            found = len(data.train_images)
            log.warning("outputs_of %d: there are only %d training pictures", record, found)
        return outputs

    def _write_artifacts(self, files: Mapping[str, bytes]) -> list[Artifact]:
        """Write artifacts, and wait for a full disk to be cleared, once for all trials.

        When nobody has cleared it in time, trials end without artifacts.
        """
        study, outage = self.study, self.study.artifact_outage

        def write() -> list[Artifact]:
            try:
                written = upload.write_files(study.workspace, self._claim, files)
            except DiskFullError as error:
                outage.record_failure(error)
                raise
            outage.record_success()
            return written

        return retry_until_done(
            write,
            self._stop.wait,
            passing=DiskFullError,
            max_wait=MAX_WAIT - outage.seconds,
        )

    def _keeps_model(self, end: End) -> bool:
        """Whether it is among the best few, or confirms a trial whose own model is not here."""
        study, value, confirmed = self.study, end.value, self._claim.confirms
        if end.kind is not EndKind.COMPLETED or value is None:
            return False
        if confirmed is not None:
            files, own = study.workspace, self.number
            return self._retry(
                lambda: retention.lacks_model(study.store, study.record, files, confirmed, own)
            )
        baseline = self._claim.baseline is not None
        return self._retry(
            lambda: retention.is_among_best(
                study.store, study.record, value, end.second_value, baseline=baseline
            )
        )

    def _keep_model(self, training: CheckpointedRun) -> None:
        study = self.study
        path = study.workspace.kept_model(self._claim.study_uuid, self.number, self._claim.ordinal)
        try:
            save_model(path, training.run, training.run.config, study.data)
        except (DiskFullError, FolderError) as error:
            log.warning("model not kept: %s", error)

    def _watch_steps(self, folder: Path, training: CheckpointedRun) -> None:
        study, baseline = self.study, self._claim.baseline
        try:
            events = tensorboard.run_folder(folder, study.record.name, self.number, baseline)
            training.run.observer = tensorboard.StepEvents(events, training.run)
        except (DiskFullError, UsageError, ImportError) as error:
            log.warning("nothing written for TensorBoard while it trains: %s", error)

    def _write_events(
        self, folder: Path, training: CheckpointedRun, end: End, epochs: Sequence[EpochRecord]
    ) -> None:
        study, baseline = self.study, self._claim.baseline
        searched = (dimension.setting for dimension in study.definition.space.dimensions)
        if isinstance(training.run.observer, tensorboard.StepEvents):
            training.run.observer.close()
        try:
            tensorboard.write_trial(
                tensorboard.run_folder(folder, study.record.name, self.number, baseline),
                training.run.config,
                dict.fromkeys((*notes.KEY_SETTINGS, *searched)),
                training.run.data,
                end,
                epochs,
                study.record.metric,
            )
        except (DiskFullError, UsageError, ImportError) as error:
            log.warning("nothing written for TensorBoard: %s", error)


def _losses(kept: StepLosses) -> losses.Losses:
    return losses.Losses(kept.steps, kept.before, np.array(kept.points, dtype=np.float32))


def _rule(study: OpenStudy, claim: Claim) -> Decide:
    """What gives the trial up early."""
    name = study.definition.search.pruner
    if name in PRUNERS:
        rule: Decide = import_reference(PRUNERS[name])
        return rule
    from optuna_study.search.optuna_pruners import OptunasRule

    pruner = import_reference(OPTUNAS_PRUNERS[name])(study.definition.config.train.epochs)
    return OptunasRule(name, pruner, study.store, study.storage, study.record, claim)
