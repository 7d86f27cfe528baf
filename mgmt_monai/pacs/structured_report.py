"""A prediction as an Enhanced SR: coded, with references to its images and the models' identification."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    NumContentItem,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mgmt_monai import __version__
from mgmt_monai.inference.prediction import NOTICE, SeriesPrediction, StudyPrediction
from mgmt_monai.pacs import codes
from mgmt_monai.pacs.result import MAKER, REPORT_SERIES_NUMBER, equipment, made_of, one_patient
from mgmt_monai.pacs.study_source import SourceSeries, UsedImage

CONTAINS = RelationshipTypeValues.CONTAINS
HAS_PROPERTIES = RelationshipTypeValues.HAS_PROPERTIES
HAS_CONCEPT_MOD = RelationshipTypeValues.HAS_CONCEPT_MOD

UNKNOWN_VERSION = "unknown"


def structured_report(prediction: StudyPrediction, sources: Sequence[SourceSeries | None]) -> EnhancedSR:
    """What is said of a study, for its archive.

    Args:
        prediction: Of the study.
        sources: The series that each of ``prediction.series`` was made from, in that order; None where there is none.

    Returns:
        An Enhanced SR, complete, preliminary and unverified, in a new series of the study of the sources. The images
        used are in the evidence and in the content; docs/reference/dicom-results.md tells what else.

    Raises:
        PacsError: No source, or sources of more than one patient or study.

    Source:
        DICOM PS3.3 A.35.2 (Enhanced SR IOD), PS3.16 TID 1002, 1204 and 4019.
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
            **equipment(),
        )


def _root(prediction: StudyPrediction, used: Sequence[Sequence[UsedImage]]) -> ContainerContentItem:
    root = ContainerContentItem(codes.TITLE, is_content_continuous=False)
    root.ContentSequence = ContentSequence()
    observer = DeviceObserverIdentifyingAttributes(
        uid=generate_uid(prefix=None, entropy_srcs=[MAKER, __version__]),
        name=MAKER,
        model_name=f"{MAKER} {__version__}",
    )
    children = [
        *LanguageOfContentItemAndDescendants(codes.ENGLISH),
        *ObserverContext(codes.DEVICE, observer),
        TextContentItem(codes.NOTICE, NOTICE, CONTAINS),
    ]
    if (mean := prediction.probability) is not None:
        probability = _number(codes.STUDY_PROBABILITY, mean)
        _add(probability, CodeContentItem(codes.DERIVATION, codes.MEAN, HAS_CONCEPT_MOD))
        children.append(probability)
    children += [_series(one, images) for one, images in zip(prediction.series, used, strict=True)]
    _add(root, *children)
    return root


def _series(one: SeriesPrediction, images: Sequence[UsedImage]) -> ContainerContentItem:
    container = ContainerContentItem(codes.FINDINGS, is_content_continuous=False, relationship_type=CONTAINS)
    _add(
        container,
        *AlgorithmIdentification(
            name=one.bundle,
            version=one.bundle_version or UNKNOWN_VERSION,
            parameters=[f"SHA-256 of the model: {one.model_sha256}", f"Modality: {one.modality}"],
            family=codes.ARTIFICIAL_INTELLIGENCE,
        ),
    )
    if one.modality in codes.SEQUENCES:
        _add(container, CodeContentItem(codes.SEQUENCE, codes.SEQUENCES[one.modality], CONTAINS))
    if one.probability is not None:
        probability = _number(codes.SERIES_PROBABILITY, one.probability)
        _add(
            probability,
            CodeContentItem(codes.DERIVATION, codes.MEAN, HAS_CONCEPT_MOD),
            _number(codes.THRESHOLD, one.threshold, HAS_PROPERTIES),
        )
        _add(container, probability)
    _add(container, *(TextContentItem(codes.ABSTENTION, reason, CONTAINS) for reason in one.abstained))
    if one.slice_indices:
        _add(container, TextContentItem(codes.SLICES_USED, _ranges(one.slice_indices), CONTAINS))
    _add(container, _number(codes.N_SLICES_USED, len(one.slice_indices)), _number(codes.N_SLICES, one.n_slices))
    if _is_number(one.distance):
        distance = _number(codes.DISTANCE, one.distance)
        if _is_number(one.distance_limit):
            _add(distance, _number(codes.DISTANCE_LIMIT, one.distance_limit, HAS_PROPERTIES))
        _add(container, distance)
    texts = [": ".join(filter(None, (finding.get("id"), finding.get("title")))) for finding in one.findings]
    _add(container, *(TextContentItem(codes.CHECK, text, CONTAINS) for text in texts if text))
    _add(container, *_evaluation(one.evaluation))
    if one.evaluation.get("trained_on"):
        _add(container, TextContentItem(codes.TRAINED_ON, one.evaluation["trained_on"], CONTAINS))
    _add(container, *(_image(image) for image in images))
    return container


def _evaluation(evaluation: Mapping[str, Any]) -> list[ContentItem]:
    """The AUC of the model on its own test patients, with interval and number of patients."""
    auc = evaluation.get("auc")
    if not isinstance(auc, Mapping) or not _is_number(auc.get("value")):
        return []
    item = _number(codes.AUC, auc["value"])
    limits = ((codes.AUC_LOW, auc.get("low")), (codes.AUC_HIGH, auc.get("high")), (codes.N_TEST, evaluation.get("n")))
    _add(item, *(_number(name, value, HAS_PROPERTIES) for name, value in limits if _is_number(value)))
    return [item]


def _image(image: UsedImage) -> ImageContentItem:
    frames = None if image.frames is None else list(image.frames)
    return ImageContentItem(
        codes.SOURCE, image.header.SOPClassUID, image.header.SOPInstanceUID, frames, relationship_type=CONTAINS
    )


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
