"""What a late fusion says of a study, from what the single models say."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from mgmt_monai.cohort.patients import LATE_FUSION
from mgmt_monai.evaluation.late_fusion import LateFusion, Term
from mgmt_monai.exchange.bundle_folder import BundleFolder
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.prediction import SeriesPrediction
from mgmt_monai.json_file import JsonFileError, read_json

THRESHOLD = 0.5
"""Of a fusion, which is fitted to answer with probabilities."""


@dataclass(frozen=True)
class StudyFusion:
    """A fusion of one fold and seed.

    Args:
        model: Its terms.
        stage: Of the trainings that were fused.
        sha256: Of its file, hexadecimal.
    """

    model: LateFusion
    stage: str
    sha256: str

    name = LATE_FUSION

    def of(self, series: Sequence[SeriesPrediction], features: Sequence[Tensor | None] = ()) -> dict[str, Any]:
        """What `StudyPrediction` has as its ``fusion``.

        Args:
            series: One a modality of the fusion.
            features: Are not asked.

        Returns:
            ``probability`` (None where all abstain), ``used`` and ``missing`` modalities, ``addends`` (what each adds
            to the log-odds of the average patient: its exact Shapley value), ``stage`` and ``sha256``.
        """
        given = {one.modality: one.probability for one in series}
        table = pd.DataFrame([{name: given.get(name) for name in self.model.terms}], dtype=float)
        used = [name for name in self.model.terms if given.get(name) is not None]
        return {
            "probability": float(self.model.probability(table)[0]) if used else None,
            "used": used,
            "missing": [name for name in self.model.terms if name not in used],
            "addends": {str(name): float(value) for name, value in self.model.addends(table).iloc[0].items()},
            "stage": self.stage,
            "sha256": self.sha256,
        }


def read_fusion(path: Path, bundles: Sequence[BundleFolder], modalities: Sequence[str]) -> StudyFusion:
    """The fusion that belongs to bundles.

    Args:
        path: ``fusion.json`` or its folder, as ``mgmt-monai fuse`` writes it.
        bundles: Exported from the trainings that were fused, all of one fold and seed.
        modalities: Of the bundles, in their order.

    Raises:
        InferenceError: No fusion, or one of other trainings.
    """
    path = path / "fusion.json" if path.is_dir() else path
    try:
        document = read_json(path, "mgmt_monai.inference", "fusion.schema.json")
        digest = sha256(path.read_bytes()).hexdigest()
    except JsonFileError as error:
        raise InferenceError(
            f"{path}: expected a fusion, found none ({error}). Make one with 'mgmt-monai fuse RUN RUN ...'."
        ) from error
    if (control := document.get("control", "none")) != "none":
        raise InferenceError(
            f"{path}: expected a fusion of models, found one of the control {control}. Fuse models' trainings."
        )
    of = {key: {_told(bundle, key) for bundle in bundles} for key in ("manifest_hash", "fold", "seed", "stage")}
    models = {(model["fold"], model["seed"]): model for model in document["models"]}
    names = ", ".join(bundle.name for bundle in bundles)
    runs = document.get("runs", [])
    told = {_told(bundle, "mlflow_run_id") for bundle in bundles} - {None}
    others = bool(runs) and None not in runs and not told <= set(runs)
    if of["manifest_hash"] != {document["manifest_hash"]} or of["stage"] != {document["stage"]} or others:
        raise InferenceError(
            f"{path}: expected a fusion of the bundles' own trainings, found one of others (manifest, stage or run). "
            f"Name bundles of the trainings that were fused, not {names}."
        )
    one = len(of["fold"]) == len(of["seed"]) == 1
    model = models.get((*of["fold"], *of["seed"])) if one else None
    if model is None:
        fused = ", ".join(f"{fold} and {seed}" for fold, seed in models)
        raise InferenceError(
            f"{path}: expected bundles of one fold and seed that were fused ({fused}), found others. Name "
            f"such bundles, not {names}."
        )
    if len(set(modalities)) < len(modalities) or not set(modalities) <= set(model["terms"]):
        raise InferenceError(
            f"{path}: expected one bundle of each of {', '.join(model['terms'])}, found {', '.join(modalities)}. Leave "
            "the others out."
        )
    terms = {name: Term(**term) for name, term in model["terms"].items()}
    return StudyFusion(LateFusion(model["intercept"], terms), document["stage"], digest)


def _told(bundle: BundleFolder, key: str) -> Any:
    """What a bundle's metadata says of its training; None where it does not."""
    training = bundle.metadata.get("training")
    training = training if isinstance(training, dict) else {}
    if key == "stage":
        return bundle.evaluation.get("stage")
    if key == "fold":
        fold = training.get("fold")
        if not isinstance(fold, dict):
            return 0
        return None if fold.get("repeat") else fold.get("fold")  # a repeat's number is not known without its manifest
    return training.get(key)
