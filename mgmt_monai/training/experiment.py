"""A whole training: weights, both stages, scores, and its record, from start or from where it was stopped."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.html_page import write_page
from mgmt_monai.interruption import closing, interruptible, is_interruption
from mgmt_monai.networks import MGMTClassifier, WeightsReport, calibrate_batchnorm
from mgmt_monai.networks.efficientnet import PADDINGS
from mgmt_monai.own_process import is_own_process
from mgmt_monai.slices import EpochBatches
from mgmt_monai.tracking import TrackedRun
from mgmt_monai.tracking.environment import environment_tags
from mgmt_monai.training.config import settings_of, without_paths
from mgmt_monai.training.errors import DivergedError
from mgmt_monai.training.heavy_patients import heavy_patients
from mgmt_monai.training.learnt import Learning, prevalence_loss
from mgmt_monai.training.origin import origin_of
from mgmt_monai.training.outcome import PAGE_NAME, Outcome, outcome_of, small_test
from mgmt_monai.training.plain_model import PlainModel
from mgmt_monai.training.pseudonyms import pseudonym
from mgmt_monai.training.ranks import is_main_rank, lost_ranks_told, n_ranks, share_state
from mgmt_monai.training.reference import Reference
from mgmt_monai.training.run_directory import RunDirectory
from mgmt_monai.training.run_log import run_log
from mgmt_monai.training.scoring import Scoring
from mgmt_monai.training.stage import Stage
from mgmt_monai.training.training_page import training_page

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Experiment:
    """Runs the stages one after the other, then scores their best checkpoints once on the test patients.

    Args:
        run_directory: Where everything is kept.
        tracking: The MLflow run.
        cohort: The patients.
        network: With its weights loaded.
        weights: What was loaded; where nothing was, BatchNorm is calibrated on ``calibration_images`` first.
        calibration_images: Loader of training slices.
        batches: Of the first stage. Where they were made smaller, the head begins at zero.
        stages: In order.
        scoring: Of the best checkpoints.
        plain: The logistic regression beside it.
        reference: Of the last stage's best checkpoint: how far a series lies from the training data.
        model_settings: What builds the network again: ``network``, ``hidden_units``, ``image_size``.
        control: Which negative control this training is, or ``none``. A control's network is not offered as a model.
        dtype: What layers that allow it compute in while training.
        weigh: What weighs the same in the losses: each ``patient`` or each ``slice``.
    """

    run_directory: RunDirectory
    tracking: TrackedRun
    cohort: ModalityCohort
    network: MGMTClassifier
    weights: WeightsReport
    calibration_images: DataLoader
    batches: EpochBatches
    stages: Sequence[Stage]
    scoring: Scoring
    plain: PlainModel
    reference: Reference
    model_settings: dict[str, Any]
    control: str
    dtype: torch.dtype
    weigh: str

    @property
    def precision(self) -> str:
        """Name of the data type."""
        return str(self.dtype).removeprefix("torch.")

    def run(self) -> None:
        """Train, score, record. An error marks the run FAILED, an interruption KILLED; both can be resumed.

        A training that diverged is FAILED with the tag ``diverged``, and not resumed: it would do the same again.

        Of several processes, each trains and scores its share; the main one alone writes and records.
        """
        if is_main_rank():
            self._lead()
        else:
            with lost_ranks_told():
                self._train()

    def _lead(self) -> None:
        directory = self.run_directory
        directory.open(self.cohort.manifest_hash)
        with run_log(directory.path):
            try:
                block = self._lead_on()
                logger.info(block)
            finally:
                self.tracking.say_what_is_missing(f"mgmt-monai record {shlex.quote(str(directory.path))}")

    def _lead_on(self) -> str:
        """Train, score and record; the last block that the user reads."""
        directory, tracking = self.run_directory, self.tracking
        logger.info(f"run {directory.name} in {directory.path}" + (f", {n_ranks()} processes" if n_ranks() > 1 else ""))
        status, mlflow_status = "failed", "FAILED"
        with interruptible():
            try:
                with lost_ranks_told():
                    tracking.start(directory.mlflow_run_id, folder=directory.path)
                    directory.update(
                        status="running",
                        mlflow_run_id=tracking.run_id or directory.mlflow_run_id,
                    )
                    if not self.stages[0].progress.last_checkpoint.is_file():  # later, a checkpoint takes their place
                        directory.update(weights=self.weights.source)
                        self._begin_first_stage()
                    self._note_precision()
                    self._name_heavy_patients()
                    logger.info(origin_of(self.cohort)["text"])
                    if told := small_test(self.cohort):
                        logger.warning(told)
                    if not directory.state["described"]:
                        self._describe(directory.config)
                    if not self.weights.pretrained and not self.stages[0].progress.last_checkpoint.is_file():
                        self._calibrate()
                    outcome = self._finish(self._train())
                status, mlflow_status = "finished", "FINISHED"
            except BaseException as error:
                if is_own_process():
                    _end_progress_bars()
                if isinstance(error, DivergedError):
                    status = "diverged"  # MLflow has no such status: it is a tag there
                    tracking.set_tags({"diverged": str(error)})
                if is_interruption(error):
                    status, mlflow_status = "killed", "KILLED"
                    logger.warning(f"interrupted; go on with the same command and --resume true ({directory.path})")
                raise
            finally:
                with closing():
                    try:
                        directory.update(status=status)
                    finally:  # a full disk here must not leave the run open on a server
                        try:
                            tracking.finish(mlflow_status)
                            directory.update(mlflow_run_id=tracking.run_id or directory.mlflow_run_id)
                        finally:
                            directory.close()
        return outcome.block(directory.path)

    def _begin_first_stage(self) -> None:
        """Few slices: an untrained head's own answers would outweigh what so few steps teach it. It begins without."""
        batches, progress = self.batches, self.stages[0].progress
        noted = {"batch_size": batches.batch_size, "steps": len(batches), "counted_from": progress.counted_from}
        if batches.is_smaller:
            self.network.begin_at_zero()
            logger.info(
                f"few training slices ({batches.n_slices}): the first stage has {len(batches)} batches of "
                f"{batches.batch_size} an epoch, the head's last layer begins at zero, and validation losses count "
                f"from epoch {progress.counted_from} on (transfer_least_steps; 0: as the paper)"
            )
        self.run_directory.update(first_stage={**noted, "head_begins_at_zero": batches.is_smaller})

    def _note_precision(self) -> None:
        """``precision`` may be auto: what that came to is noted, and told where a resumed training has it otherwise."""
        before = self.run_directory.state.get("precision", self.precision)
        if before != self.precision:
            logger.warning(
                f"this training began in {before} and goes on in {self.precision}, on another device: its result is "
                f"not that of a training in one. Set --precision {before} from the start to keep it."
            )
        self.run_directory.update(precision=self.precision)

    def _name_heavy_patients(self) -> None:
        """Under pseudonyms in the log; who they are stands in ``run.json``, which stays in the run's folder."""
        heavy = heavy_patients(self.reference.training)
        key = self.run_directory.pseudonym_key
        for patient, share in heavy.items():
            weight = (
                "as much as any other" if self.weigh == "patient" else "by its slices (--weigh patient: as any other)"
            )
            logger.warning(
                f"patient {pseudonym(key, patient)} (see heavy_patients in run.json) holds {share:.0%} of the training "
                f"slices, and weighs {weight}"
            )
        self.run_directory.update(heavy_patients=heavy)

    def _describe(self, config: dict[str, Any]) -> None:
        manifest = self.cohort.manifest
        shared = self.run_directory.path / "shared"
        shared.mkdir(exist_ok=True)
        self.tracking.log_file(self.run_directory.write_json("shared/config.json", without_paths(config)))
        self.tracking.log_params({**settings_of(config), "manifest_hash": self.cohort.manifest_hash})
        environment = environment_tags()
        self.tracking.set_tags(
            {
                **environment,
                "weights": self.weights.source,
                "control": self.control,
                "precision": self.precision,
                "paddings": PADDINGS,
                "first_stage": json.dumps(self.run_directory.state.get("first_stage")),
                "cohort": origin_of(self.cohort)["text"],
            }
        )
        counts = {split: {"unmethylated": n[0], "methylated": n[1]} for split, n in manifest.counts().items()}
        self.tracking.log_dataset(f"{self.cohort.modality} cohort", self.cohort.manifest_hash, manifest.split, counts)
        self.run_directory.update(
            described=True,
            counts=counts,
            origin=origin_of(self.cohort),
            paddings=PADDINGS,
            software={
                tag.removeprefix("version."): text for tag, text in environment.items() if tag.startswith("version.")
            },
        )

    def _calibrate(self) -> None:
        trainer = self.stages[0].trainer
        batches = tqdm(self.calibration_images, desc="Calibrating BatchNorm")
        images = (trainer.prepare_batch(batch, trainer.state.device, False)[0] for batch in batches)
        calibrate_batchnorm(self.network, images)

    def _train(self) -> pd.DataFrame:
        share_state(self.network)
        for stage in self.stages:
            stage.progress.n_validation = len(self.reference.validation.patient_ids)
            stage.run()
            if is_main_rank() and (sentence := self._learning(stage).sentence):
                logger.warning(f"stage {stage.progress.stage}: {sentence}")
        checkpoints = {stage.progress.stage: stage.progress.best_checkpoint for stage in self.stages}
        return self.scoring.predict(checkpoints, self.cohort)

    def _learning(self, stage: Stage) -> Learning:
        """What the stage's best network has learnt; the steps of the stages before it lead to it too."""
        until = self.stages[: self.stages.index(stage) + 1]
        return Learning(
            best_loss=stage.progress.best_loss,
            prevalence_loss=prevalence_loss(self.reference.training, self.reference.validation, self.weigh),
            steps=sum(each.progress.best_epoch * len(each.trainer.data_loader) for each in until),
        )

    def _finish(self, slices: pd.DataFrame) -> Outcome:
        stages = [stage.progress for stage in self.stages]
        learning = {stage.progress.stage: self._learning(stage) for stage in self.stages}
        plain = self.plain.run(stages[0], self.cohort)
        scores = self.scoring.record(slices, stages, self.cohort, self.run_directory, learning, plain)
        self.run_directory.update(learning={stage: of.as_json() for stage, of in learning.items()})
        self.tracking.set_tags({"learnt": learning[stages[-1].stage].sentence or "yes"})
        for path in scores.public:
            self.tracking.log_file(path, folder="figures" if path.suffix == ".png" else None)
        last = stages[-1]
        outcome = outcome_of(scores.metrics, scores.patients, last.stage, self.cohort, self.control)
        page = training_page(outcome, self.run_directory)
        write_page(self.run_directory.path / PAGE_NAME, page)
        self.tracking.log_file(self.run_directory.path / PAGE_NAME)
        self.tracking.describe(outcome.markdown())
        self.tracking.log_metrics(outcome.headline_metrics(), step=last.first_epoch + last.epochs + 1)
        if self.control == "none":
            name = f"mgmt-{self.cohort.modality.lower()}"
            reference = self.reference.run(last)
            if reference is not None:
                self.tracking.log_file(reference)
            self.tracking.log_classifier(last.best_checkpoint, self.model_settings, name, reference)
        return outcome


def _end_progress_bars() -> None:
    """What is said next begins a line of its own.

    Those that stand open are known to tqdm alone, and ignite's does not end with an error.
    """
    for bar in list(tqdm._instances):
        bar.close()
