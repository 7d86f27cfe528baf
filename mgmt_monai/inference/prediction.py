"""What is said of a study: one answer a series and model, their mean, and where it all comes from."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.json_file import check_json, parse_json

SCHEMA = "mgmt-monai/prediction/1"
"""Written into every result."""


@dataclass(frozen=True)
class SeriesPrediction:
    """One model's answer on one series.

    Args:
        modality: Of the series and of the model.
        bundle: The bundle's name.
        bundle_version: Its version.
        model_sha256: Of its ``models/model.pt``, hexadecimal.
        probability: Of MGMT promoter methylation, the mean over the slices used, 0 to 1; None where it abstains.
        abstained: Why there is no probability, one line each; empty where there is one.
        slice_indices: Slices used, counted from 0 in geometric order along the series (along the reformatted stack
            where the model asks for a plane); empty where none was read.
        slice_probabilities: Of each of them, 0 to 1; empty where it abstains.
        distance: Of the series' features from the training data, 0 or more; None where it was not computed.
        distance_limit: Beyond which the model abstains; None where the bundle has no reference.
        findings: What the checks found: ``{"id", "severity", "title", "text"}`` each.
        n_slices: How many slices the series (or the reformatted stack) has; 0 where that is not known.
        threshold: Called methylated from this probability on.
        evaluation: Of the model on its own test patients, as the bundle's metadata has it; empty where unknown.
        bundle_sha256: Of the bundle's config, metadata, state and reference, hexadecimal.
    """

    modality: str
    bundle: str
    bundle_version: str
    model_sha256: str
    probability: float | None
    abstained: tuple[str, ...]
    slice_indices: tuple[int, ...]
    slice_probabilities: tuple[float, ...]
    distance: float | None
    distance_limit: float | None
    findings: tuple[dict[str, str], ...]
    n_slices: int
    threshold: float
    evaluation: dict[str, Any] = field(default_factory=dict)
    bundle_sha256: str = ""


@dataclass(frozen=True)
class StudyPrediction:
    """What is said of a study.

    Args:
        study: The name of its folder.
        series: One a bundle, in the order the bundles were named.
        software: Versions by package.
        created: When, ISO 8601 with the offset from UTC.
        fusion: What a late fusion says of all series together, as `mgmt_monai.inference.fused_study` has it; empty
            where none was asked.
        images: Of a batch, `mgmt_monai.inference.studies.AskedStudy.images`; "" else.
    """

    study: str
    series: tuple[SeriesPrediction, ...]
    software: dict[str, str]
    created: str
    fusion: dict[str, Any] = field(default_factory=dict)
    images: str = ""

    @property
    def probability(self) -> float | None:
        """The fusion's, or the mean over the models that gave one; None where all abstained."""
        if self.fusion:
            fused: float | None = self.fusion["probability"]
            return fused
        given = [one.probability for one in self.series if one.probability is not None]
        return math.fsum(given) / len(given) if given else None

    def to_json(self) -> str:
        """The result as JSON, with `SCHEMA` and `NOTICE`."""
        document = {"schema": SCHEMA, "notice": NOTICE, "probability": self.probability, **asdict(self)}
        for name in ("fusion", "images"):
            if not document[name]:
                del document[name]
        return json.dumps(document, indent=2, allow_nan=False) + "\n"


def prediction_from_json(text: str) -> StudyPrediction:
    """The result that `StudyPrediction.to_json` wrote.

    Raises:
        InferenceError: Not JSON, or not a result of this version.
    """
    try:
        document = parse_json(text.encode("utf-8", "surrogatepass"))
        if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
            raise ValueError(f"no result of the schema {SCHEMA}")
        check_json(document, "mgmt_monai.inference", "prediction.schema.json")
        own = {key: value for key, value in document.items() if key not in ("schema", "notice", "probability")}
        series = tuple(SeriesPrediction(**_tuples(one)) for one in own.pop("series"))
        return StudyPrediction(series=series, **own)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InferenceError(
            f"expected a result of the schema {SCHEMA}, found another ({error}). Predict again."
        ) from error


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
