"""A whole training: weights, both stages, scores, and its record, from start or from where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.networks import MGMTClassifier, WeightsReport, calibrate_batchnorm
from mgmt_monai.tracking import TrackedRun
from mgmt_monai.tracking.environment import environment_tags
from mgmt_monai.training.config import executed_config, settings_of, without_paths
from mgmt_monai.training.run_directory import RunDirectory
from mgmt_monai.training.scoring import Scoring
from mgmt_monai.training.stage import Stage
from mgmt_monai.training.termination import termination_raises

logger = logging.getLogger(__name__)


class Experiment:
    """Runs the stages one after the other, then scores their best checkpoints once on the test patients.

    Args:
        run_directory: Where everything is kept.
        tracking: The MLflow run.
        cohort: The patients.
        network: With its weights loaded.
        weights: What was loaded; where nothing was, BatchNorm is calibrated on ``calibration_images`` first.
        calibration_images: Loader of training slices.
        stages: In order.
        scoring: Of the best checkpoints.
        model_settings: What builds the network again: ``network``, ``hidden_units``, ``image_size``.
        control: Which negative control this training is, or ``none``. A control's network is not offered as a model.
    """

    def __init__(
        self,
        run_directory: RunDirectory,
        tracking: TrackedRun,
        cohort: ModalityCohort,
        network: MGMTClassifier,
        weights: WeightsReport,
        calibration_images: DataLoader,
        stages: Sequence[Stage],
        scoring: Scoring,
        model_settings: dict[str, Any],
        control: str,
    ) -> None:
        self.run_directory = run_directory
        self.tracking = tracking
        self.cohort = cohort
        self.network = network
        self.weights = weights
        self.calibration_images = calibration_images
        self.stages = stages
        self.scoring = scoring
        self.model_settings = model_settings
        self.control = control

    def run(self) -> None:
        """Train, score, record. An error marks the run FAILED, an interruption KILLED; both can be resumed."""
        config = executed_config()
        directory, tracking = self.run_directory, self.tracking
        directory.open(config, self.cohort.manifest_hash)
        logger.info(f"run {directory.name} in {directory.path}")
        status, mlflow_status = "failed", "FAILED"
        try:
            with termination_raises():
                tracking.start(directory.mlflow_run_id)
                directory.update(
                    status="running",
                    mlflow_run_id=tracking.run_id or directory.mlflow_run_id,
                )
                if not self.stages[0].progress.last_checkpoint.is_file():  # later, a checkpoint takes their place
                    directory.update(weights=self.weights.source)
                if not directory.state["described"]:
                    self._describe(config)
                if not self.weights.pretrained and not self.stages[0].progress.last_checkpoint.is_file():
                    self._calibrate()
                for stage in self.stages:
                    stage.run()
                headline = self._finish()
            status, mlflow_status = "finished", "FINISHED"
        except (KeyboardInterrupt, SystemExit):
            status, mlflow_status = "killed", "KILLED"
            logger.warning(f"interrupted; go on with the same command and --resume true ({directory.path})")
            raise
        finally:
            try:
                directory.update(status=status)
            finally:  # a full disk here must not leave the run open on a server
                tracking.finish(mlflow_status)
                directory.close()
        logger.info(headline)

    def _describe(self, config: dict[str, Any]) -> None:
        manifest = self.cohort.manifest
        shared = self.run_directory.path / "shared"
        shared.mkdir(exist_ok=True)
        self.tracking.log_file(self.run_directory.write_json("shared/config.json", without_paths(config)))
        self.tracking.log_params({**settings_of(config), "manifest_hash": self.cohort.manifest_hash})
        self.tracking.set_tags({**environment_tags(), "weights": self.weights.source, "control": self.control})
        counts = {split: {"unmethylated": n[0], "methylated": n[1]} for split, n in manifest.counts().items()}
        self.tracking.log_dataset(f"{self.cohort.modality} cohort", self.cohort.manifest_hash, manifest.split, counts)
        self.run_directory.update(described=self.tracking.run_id is not None)

    def _calibrate(self) -> None:
        images = (batch["image"] for batch in tqdm(self.calibration_images, desc="Calibrating BatchNorm"))
        calibrate_batchnorm(self.network, images)

    def _finish(self) -> str:
        scores = self.scoring.run([stage.progress for stage in self.stages], self.cohort, self.run_directory)
        for path in scores.public:
            self.tracking.log_file(path, folder="figures" if path.suffix == ".png" else None)
        last = self.stages[-1].progress
        self.tracking.log_metrics(scores.metrics, step=last.first_epoch + last.epochs + 1)
        if self.control == "none":
            name = f"mgmt-{self.cohort.modality.lower()}"
            self.tracking.log_classifier(last.best_checkpoint, self.model_settings, name)
        return scores.headline


def default_device() -> torch.device:
    """The first GPU, else the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
