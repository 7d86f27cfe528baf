"""A trained network on a manifest's test patients, scored as a training scores its own."""

from __future__ import annotations

import logging
from pathlib import Path

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.evaluation.summary import figure_line
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.scoring import Scoring

logger = logging.getLogger(__name__)


class EvaluationRun:
    """Scores one checkpoint.

    Args:
        scoring: With a loader of ``test`` slices.
        checkpoint: The network's state.
        stage: Which one it comes from; a column of the tables.
        cohort: Whose test patients are scored.
        output_dir: Gets ``predictions.csv``, ``slice_predictions.csv``, ``metrics.json``,
            ``classification_report.txt`` and ``figures``; made if absent.
        overwrite: Take the place of what an evaluation before left there.
    """

    def __init__(
        self,
        scoring: Scoring,
        checkpoint: str | Path,
        stage: str,
        cohort: ModalityCohort,
        output_dir: str | Path,
        overwrite: bool,
    ) -> None:
        self.scoring = scoring
        self.checkpoint = Path(checkpoint)
        self.stage = str(stage)
        self.cohort = cohort
        self.output_dir = Path(output_dir)
        self.overwrite = bool(overwrite)

    def run(self) -> None:
        """Predict every test slice, write tables and figures, say the AUC.

        Raises:
            TrainingError: No checkpoint, or an evaluation is there already.
        """
        if not self.checkpoint.is_file():
            raise TrainingError(f"{self.checkpoint}: no model. Name the bundle's folder with --bundle_root DIR.")
        if (self.output_dir / "predictions.csv").exists() and not self.overwrite:
            raise TrainingError(
                f"{self.output_dir}: there are predictions already. Name another folder with --output_dir DIR, or say "
                "--overwrite True."
            )
        self.output_dir.mkdir(parents=True, exist_ok=True)
        slices = self.scoring.predict({self.stage: self.checkpoint}, self.cohort)
        summaries = self.scoring.write(slices, [self.stage], self.cohort, self.output_dir)
        logger.info(
            f"{self.cohort.modality}, test patients: {figure_line(summaries[self.stage]['test'])} ({self.output_dir})"
        )
