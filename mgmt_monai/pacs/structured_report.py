"""A prediction as an Enhanced SR: coded, with references to its images and the models' identification."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mgmt_monai import __version__
from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.prediction import SeriesPrediction, StudyPrediction
from mgmt_monai.pacs import codes
from mgmt_monai.pacs.result import EQUIPMENT, MAKER, REPORT_SERIES_NUMBER, made_of, one_patient
from mgmt_monai.pacs.study_source import SourceSeries, UsedImage

CONTAINS = RelationshipTypeValues.CONTAINS
HAS_PROPERTIES = RelationshipTypeValues.HAS_PROPERTIES

UNKNOWN_VERSION = "unknown"

STUDY = "study"
"""The tracking identifier of the fusion's answer, or of the mean over the models."""


def structured_report(prediction: StudyPrediction, sources: Sequence[SourceSeries | None]) -> EnhancedSR:
    """An Enhanced SR, complete, preliminary and unverified, in a new series of the study of the sources.

    ``sources`` are the series that each of ``prediction.series`` was made from; None where there is none. The images
    used are in the evidence and in the content; docs/reference/dicom-results.md tells what else.

    Raises:
        PacsError: No source, or sources of more than one patient or study.

    Source:
        DICOM PS3.3 A.35.2 (Enhanced SR IOD), PS3.16 TID 1500 (Measurement Report), 1501, 1002, 1204 and 4019.
    """
    given = [source for source in sources if source is not None]
    one_patient(given)
    used = [
        [] if source is None else source.used(one.slice_indices)
        for one, source in zip(prediction.series, sources, strict=True)
    ]
    # A model that abstains before it looks at any slice still says so of a series.
    evidence = [image.header for images in used for image in images] or [source.first for source in given]
    with made_of(given):
        return EnhancedSR(
            evidence=evidence,
            content=_root(prediction, used),
            series_instance_uid=generate_uid(prefix=None),
            series_number=REPORT_SERIES_NUMBER,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=1,
            is_complete=True,
            is_final=False,
            is_verified=False,
            coding_schemes=[codes.scheme_identification()],
            **EQUIPMENT,
        )


def _root(prediction: StudyPrediction, used: Sequence[Sequence[UsedImage]]) -> ContainerContentItem:
    observer = DeviceObserverIdentifyingAttributes(
        uid=generate_uid(prefix=None, entropy_srcs=[MAKER, __version__]),
        name=MAKER,
        model_name=f"{MAKER} {__version__}",
    )
    addends = prediction.fusion.get("addends", {})
    groups = [
        _series(one, images, addends.get(one.modality)) for one, images in zip(prediction.series, used, strict=True)
    ]
    if (answer := prediction.probability) is not None:
        tracking = TrackingIdentifier(uid=generate_uid(prefix=None), identifier=STUDY)
        groups.insert(0, _group(tracking, _of_study(prediction, answer)))
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=ObserverContext(codes.DEVICE, observer)),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups,
        title=codes.TITLE,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(codes.ENGLISH),
    )
    root: ContainerContentItem = report[0]
    _add(root, TextContentItem(codes.NOTICE, NOTICE, CONTAINS))
    return root


def _of_study(prediction: StudyPrediction, answer: float) -> list[Measurement]:
    """The fusion's answer and how good it is, or the mean over the models."""
    if prediction.fusion:
        probability = Measurement(codes.FUSED_PROBABILITY, answer, codes.NO_UNITS)
        return [probability, *_evaluation(prediction.fusion.get("evaluation", {}))]
    probability = Measurement(codes.STUDY_PROBABILITY, answer, codes.NO_UNITS, derivation=codes.MEAN)
    _add(probability[0], *_ends([one.probability for one in prediction.series if one.probability is not None]))
    return [probability]


def _series(
    one: SeriesPrediction, images: Sequence[UsedImage], addend: float | None
) -> MeasurementsAndQualitativeEvaluations:
    measurements = []
    if one.probability is not None:
        probability = Measurement(codes.SERIES_PROBABILITY, one.probability, codes.NO_UNITS, derivation=codes.MEAN)
        threshold = _number(codes.THRESHOLD, one.threshold, HAS_PROPERTIES)
        _add(probability[0], threshold, *_ends(one.slice_probabilities))
        measurements.append(probability)
        measurements += [] if addend is None else [Measurement(codes.ADDEND, addend, codes.NO_UNITS)]
    measurements += [
        Measurement(codes.N_SLICES_USED, len(one.slice_indices), codes.NO_UNITS),
        Measurement(codes.N_SLICES, one.n_slices, codes.NO_UNITS),
    ]
    if _is_number(one.distance):
        distance = Measurement(codes.DISTANCE, float(one.distance or 0), codes.NO_UNITS)
        if _is_number(one.distance_limit):
            _add(distance[0], _number(codes.DISTANCE_LIMIT, one.distance_limit, HAS_PROPERTIES))
        measurements.append(distance)
    measurements += _evaluation(one.evaluation)
    sequence = codes.SEQUENCES.get(one.modality)
    group = _group(
        TrackingIdentifier(uid=generate_uid(prefix=None), identifier=f"{one.bundle}: {one.modality}"),
        measurements,
        algorithm_id=AlgorithmIdentification(
            name=one.bundle,
            version=one.bundle_version or UNKNOWN_VERSION,
            parameters=[f"SHA-256 of the model: {one.model_sha256}", f"Modality: {one.modality}"],
            family=codes.ARTIFICIAL_INTELLIGENCE,
        ),
        qualitative_evaluations=[QualitativeEvaluation(codes.SEQUENCE, sequence)] if sequence is not None else None,
        source_images=[_image(image) for image in images],
    )
    texts = [": ".join(filter(None, (finding.get("id"), finding.get("title")))) for finding in one.findings]
    trained_on = one.evaluation.get("trained_on")
    _add(
        group[0],
        *(TextContentItem(codes.ABSTENTION, reason, CONTAINS) for reason in one.abstained),
        *([TextContentItem(codes.SLICES_USED, _ranges(one.slice_indices), CONTAINS)] if one.slice_indices else []),
        *(TextContentItem(codes.CHECK, text, CONTAINS) for text in texts if text),
        *([TextContentItem(codes.TRAINED_ON, trained_on, CONTAINS)] if trained_on else []),
    )
    return group


def _ends(probabilities: Sequence[float]) -> list[NumContentItem]:
    """The ends of what a mean was made of: of the patient's own probability no confidence interval is known."""
    ends = ((codes.LOWEST, min), (codes.HIGHEST, max))
    return [_number(name, end(probabilities), HAS_PROPERTIES) for name, end in ends] if len(probabilities) > 1 else []


def _group(
    tracking: TrackingIdentifier, measurements: Sequence[Measurement], **parts: Any
) -> MeasurementsAndQualitativeEvaluations:
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking, finding_type=codes.METHYLATION, measurements=measurements, **parts
    )


def _evaluation(evaluation: Mapping[str, Any]) -> list[Measurement]:
    """The AUC of the model on its own test patients, with interval and number of patients."""
    auc = evaluation.get("auc")
    if not isinstance(auc, Mapping) or not _is_number(auc.get("value")):
        return []
    item = Measurement(codes.AUC, auc["value"], codes.NO_UNITS)
    limits = ((codes.AUC_LOW, auc.get("low")), (codes.AUC_HIGH, auc.get("high")), (codes.N_TEST, evaluation.get("n")))
    _add(item[0], *(_number(name, value, HAS_PROPERTIES) for name, value in limits if _is_number(value)))
    return [item]


def _image(image: UsedImage) -> SourceImageForMeasurementGroup:
    frames = None if image.frames is None else list(image.frames)
    return SourceImageForMeasurementGroup(image.header.SOPClassUID, image.header.SOPInstanceUID, frames)


def _number(name: CodedConcept, value: Any, relationship: RelationshipTypeValues = CONTAINS) -> NumContentItem:
    return NumContentItem(name, value, codes.NO_UNITS, relationship_type=relationship)


def _is_number(value: object) -> bool:
    """Whether DICOM can write it: an undefined figure is left out."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _add(item: Dataset, *children: ContentItem) -> None:
    if children and "ContentSequence" not in item:
        item.ContentSequence = ContentSequence()
    for child in children:
        item.ContentSequence.append(child)


def _ranges(indices: Sequence[int]) -> str:
    """Slices, numbered from 1, as a person would write them.

    Example:
        >>> _ranges([4, 5, 6, 9])
        '5-7, 10'
    """
    runs: list[list[int]] = []
    for number in sorted({index + 1 for index in indices}):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
