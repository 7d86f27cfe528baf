"""A whole training: weights, both stages, scores, and its record, from start or from where it was stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mgmt_monai.evaluation.predictions import patients_from_slices
from mgmt_monai.html_page import write_page
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.tracking.tracked_run import TEST_TAG, tested
from mgmt_monai.training.learnt import LEAST_STEPS, Learning, learning_of
from mgmt_monai.training.opening import Opening
from mgmt_monai.training.outcome import PAGE_NAME, Outcome, outcome_of
from mgmt_monai.training.plain_model import PLAIN
from mgmt_monai.training.ranks import is_main_rank, lost_ranks_told, share_state, wait_for_all
from mgmt_monai.training.reference import Reference
from mgmt_monai.training.run_directory import digests
from mgmt_monai.training.scoring import Scoring
from mgmt_monai.training.stage import Stage, StageProgress
from mgmt_monai.training.training_page import training_page

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Experiment:
    """Runs the stages one after the other, then scores their best checkpoints once on the test patients.

    Args:
        opening: Of its folder and its record, and the network's beginning.
        network: With its weights loaded.
        stages: In order.
        scoring: Of the best checkpoints.
        reference: Of the last stage's best checkpoint: how far a series lies from the training data.
        model_settings: What builds the network again: ``network``, ``hidden_units``, ``image_size``.
    """

    opening: Opening
    network: MGMTClassifier
    stages: Sequence[Stage]
    scoring: Scoring
    reference: Reference
    model_settings: dict[str, Any]

    def run(self) -> None:
        """Train, score, record. `Opening.held` says how it ends.

        Of several processes, each trains and scores its share; the main one alone writes and records.
        """
        if is_main_rank():
            self._lead()
        else:
            with lost_ranks_told():
                self._train()

    def _lead(self) -> None:
        with self.opening.held():
            outcome, directory = self._finish(self._train()), self.opening.run_directory
            directory.update(files=digests(directory.path))
            self.opening.last_words = outcome.block(directory.path)

    def _train(self) -> pd.DataFrame:
        share_state(self.network)
        for stage in self.stages:
            stage.progress.n_validation = len(self.reference.validation.patient_ids)
            stage.run()
        checkpoints = {stage.progress.stage: stage.progress.best_checkpoint for stage in self.stages}
        wait_for_all()  # the main process may still be writing
        if self.opening.has_plain:
            checkpoints[PLAIN] = self.opening.plain_checkpoint
        return self.scoring.predict(checkpoints, self.opening.cohort)

    def _learning(self, stage: Stage, patients: pd.DataFrame) -> Learning:
        """What the stage's best network has learnt; the steps of the stages before it lead to it too."""
        until = self.stages[: self.stages.index(stage) + 1]
        of = patients[(patients["stage"] == stage.progress.stage) & (patients["split"] == "validation")]
        begun = self.opening.run_directory.state["first_stage"]["head_begins_as_plain_model"]
        found = learning_of(
            dict(zip(of["patient_id"], of["probability"], strict=True)),
            self.reference.training,
            self.reference.validation,
            steps=sum(each.progress.best_epoch * len(each.trainer.data_loader) for each in until),
            least_steps=0 if begun else LEAST_STEPS,
            best_epoch=stage.progress.best_epoch,
        )
        if found.sentence:
            logger.warning(f"stage {stage.progress.stage}: {found.sentence}")
        return found

    def _finish(self, slices: pd.DataFrame) -> Outcome:
        stages = [stage.progress for stage in self.stages]
        patients = patients_from_slices(slices)
        learning = {stage.progress.stage: self._learning(stage, patients) for stage in self.stages}
        scores = self.scoring.record(slices, stages, self.opening.cohort, self.opening.run_directory, learning)
        self.opening.run_directory.update(learning={stage: of.as_json() for stage, of in learning.items()})
        best = json.dumps({stage: of.best_epoch for stage, of in learning.items()})
        self.opening.tracking.set_tags({"learnt": learning[stages[-1].stage].sentence or "yes", "best_epochs": best})
        if not self.opening.tracking.parent_run_id:  # a comparison judges all of its trainings at once
            scored = [(p.patient_id, p.label) for p in self.opening.cohort.manifest.patients if p.split == "test"]
            self.opening.tracking.set_tags({TEST_TAG: tested(scored)})
        for path in scores.public:
            self.opening.tracking.log_file(path, folder="figures" if path.suffix == ".png" else None)
        last = stages[-1]
        outcome = outcome_of(scores.metrics, scores.patients, last.stage, self.opening.cohort, self.opening.control)
        page = training_page(outcome, self.opening.run_directory)
        write_page(self.opening.run_directory.path / PAGE_NAME, page)
        self.opening.tracking.log_file(self.opening.run_directory.path / PAGE_NAME)
        self.opening.tracking.describe(outcome.markdown())
        self.opening.tracking.log_metrics(outcome.headline_metrics(), step=last.first_epoch + last.epochs + 1)
        if self.opening.control == "none":
            self._record_model(last)
        return outcome

    def _record_model(self, last: StageProgress) -> None:
        name = f"mgmt-{self.opening.cohort.modality.lower()}"
        reference = self.reference.run(last)
        if reference is not None:
            self.opening.tracking.log_file(reference)
        self.opening.tracking.log_classifier(last.best_checkpoint, self.model_settings, name, reference)
