"""A study as a patient whose series a fusion is asked about together."""

import logging
from pathlib import Path
from typing import Any

from mgmt_monai.cohort.patients import FUSION, fused_modalities
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.study import read_study
from mgmt_monai.training.config import check_model_here, check_values_here

logger = logging.getLogger(__name__)


def patient_items(study_dir: str | Path, modalities: str) -> list[dict[str, Any]]:
    """The study's series as data for a `PatientDataset`; one that a finding forbids is left out, and told.

    Args:
        study_dir: Folder of the study's images.
        modalities: As `fused_modalities` takes them.

    Returns:
        One item ``{"image": {modality: Series}, "label": nan, "patient_id": str, "modality": "fusion"}``.

    Raises:
        InferenceError: As `read_study`, or no series is left.
        TrainingError: The config that calls this has a setting that is not as it was typed, out of range, or not that
            of the bundle's model; or the weights are not whole.
    """
    check_values_here()
    check_model_here()
    study_dir = Path(study_dir)
    found = read_study(study_dir, modalities=fused_modalities(modalities))
    faults = [finding.under(study_dir).line for one in found for finding in one.errors]
    series = {one.modality: one.series for one in found if one.series is not None}
    if not series:
        raise InferenceError("\n".join(faults))
    for fault in faults:
        logger.warning(f"left out: {fault}")
    patient_id = next(iter(series.values())).patient_id
    return [{"image": series, "label": float("nan"), "patient_id": patient_id, "modality": FUSION}]
