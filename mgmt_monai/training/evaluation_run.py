"""A trained network on a manifest's test patients, scored as a training scores its own."""

import logging
from pathlib import Path

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.evaluation.summary import figure_line
from mgmt_monai.training.config import check_model_here
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.scoring import Scoring
from mgmt_monai.training.settings import as_boolean

logger = logging.getLogger(__name__)


def evaluate_checkpoint(
    scoring: Scoring,
    checkpoint: str | Path,
    stage: str,
    cohort: ModalityCohort,
    output_dir: str | Path,
    overwrite: bool,
) -> None:
    """Predict every test slice with one checkpoint, write tables and figures, say the AUC.

    Args:
        scoring: With a loader of ``test`` slices.
        checkpoint: The network's state.
        stage: Which one it comes from; a column of the tables.
        cohort: Whose test patients are scored.
        output_dir: Gets ``predictions.csv``, ``slice_predictions.csv``, ``metrics.json``,
            ``classification_report.txt`` and ``figures``; made if absent.
        overwrite: Take the place of what an evaluation before left there.

    Raises:
        TrainingError: No checkpoint, another picture than it was trained on, or an evaluation is there already.
    """
    check_model_here()
    checkpoint, stage, folder = Path(checkpoint), str(stage), Path(output_dir)
    if not checkpoint.is_file():
        raise TrainingError(f"{checkpoint}: no model. Name the bundle's folder with --bundle_root DIR.")
    if (folder / "predictions.csv").exists() and not as_boolean("overwrite", overwrite):
        raise TrainingError(
            f"{folder}: there are predictions already. Name another folder with --output_dir DIR, or say "
            "--overwrite True."
        )
    folder.mkdir(parents=True, exist_ok=True)
    slices = scoring.predict({stage: checkpoint}, cohort)
    summaries = scoring.write(slices, [stage], cohort, folder)
    logger.info(f"{cohort.modality}, test patients: {figure_line(summaries[stage]['test'])} ({folder})")
