"""Where a map is strong, as DICOM Segmentation: viewers lay it on the scan."""

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from mgmt_monai.inference.explain.explanation import Map, SeriesExplanation, strongest
from mgmt_monai.inference.explain.grids import carried
from mgmt_monai.pacs import codes
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.result import EQUIPMENT, MAPS_SERIES_NUMBER, made_of
from mgmt_monai.pacs.structured_report import UNKNOWN_VERSION
from mgmt_monai.pacs.study_source import SourceSeries

STRONG = 0.5
"""Share of the pictures' strongest colour from which on a pixel is in a segment: a segment says yes or no."""

#: Orange and purple, as on the pictures.
_COLOURS = (CIELabColor.from_rgb(224, 130, 20), CIELabColor.from_rgb(84, 39, 136))


def map_segmentations(explanation: SeriesExplanation, source: SourceSeries) -> dict[str, Segmentation]:
    """Where each map raises and where it lowers the logit strongly.

    Args:
        explanation: Of the series.
        source: The same series' headers.

    Returns:
        By method, each in a new series of the study of the source, with segment 1 (raises) and 2 (lowers), in the
        source's own frames; without a method whose map is zero everywhere.

    Raises:
        PacsError: The series does not say where its slices lie, or not as a segmentation has to.

    Source:
        DICOM PS3.3 A.51 (Segmentation IOD), C.8.20.2 (Segmentation Image).
    """
    place = source.series.files[0].parent
    if explanation.seen.geometry_fault:
        raise PacsError(
            f"{place}: expected slices that say where they lie, found that {explanation.seen.geometry_fault}. Leave "
            "out --dicom-seg."
        )
    found = {each.method: _labels(explanation, each) for each in explanation.maps}
    try:
        with made_of([source]):
            return {
                method: _segmentation(explanation, method, labels, source)
                for method, labels in found.items()
                if labels.any()
            }
    except (AttributeError, ValueError) as error:  # of highdicom: an attribute that is missing, or slices of two kinds
        raise PacsError(
            f"{place}: expected images that a DICOM Segmentation can refer to, found others "
            f"({type(error).__name__}). Leave out --dicom-seg."
        ) from error


def _labels(explanation: SeriesExplanation, each: Map) -> NDArray[np.uint8]:
    """The segment of each pixel of the series' own grid ``(slices, rows, columns)``; 0 is none."""
    laid = carried(each.values, explanation.seen.from_stored, explanation.seen.stored.shape)
    strong = (np.abs(laid) >= STRONG * strongest(each.values)) & (laid != 0)
    return np.where(strong, np.where(laid > 0, 1, 2), 0).astype(np.uint8)


def _segmentation(
    explanation: SeriesExplanation, method: str, labels: NDArray[np.uint8], source: SourceSeries
) -> Segmentation:
    bundle, series = explanation.model.bundle, source.series
    stored = list(series.slices)
    if series.frames is None:
        shown = np.flatnonzero(labels.any(axis=(1, 2)))
        images, labels = [source.headers[stored[k]] for k in shown], labels[shown]
    else:
        images, frames = [source.first], np.zeros((int(source.first.NumberOfFrames), *labels.shape[1:]), np.uint8)
        frames[[series.frames[place] for place in stored]] = labels
        labels = frames
    algorithm = AlgorithmIdentificationSequence(
        name=f"{bundle.name}: {method}",
        family=codes.ARTIFICIAL_INTELLIGENCE,
        version=bundle.version or UNKNOWN_VERSION,
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=kind.meaning,
            segmented_property_category=codes.SPATIAL,
            segmented_property_type=kind,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=generate_uid(prefix=None),
            tracking_id=f"{bundle.name}: {method} {number}",
            display_color=colour,
        )
        for number, (kind, colour) in enumerate(zip((codes.RAISES, codes.LOWERS), _COLOURS, strict=True), start=1)
    ]
    return Segmentation(
        source_images=images,
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=generate_uid(prefix=None),
        series_number=MAPS_SERIES_NUMBER,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        device_serial_number=bundle.model_sha256,
        content_label="EXPLANATION",
        content_description=f"{method}, from {STRONG:.0%} of the strongest on",
        coding_schemes=[codes.scheme_identification()],
        **EQUIPMENT,
    )
