"""From a predicted study to the DICOM objects about it, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mgmt_monai.pacs.result import write_object
from mgmt_monai.pacs.secondary_capture import secondary_captures
from mgmt_monai.pacs.structured_report import structured_report
from mgmt_monai.pacs.study_source import NATIVE, SourceSeries, read_source

if TYPE_CHECKING:  # torch is in there
    from mgmt_monai.inference.model import BundleModel
    from mgmt_monai.inference.predict_study import PredictedStudy

REPORT_NAME = "report.dcm"
PAGE_NAME = "page-{number}.dcm"


def sources_of(predicted: PredictedStudy, models: Sequence[BundleModel]) -> list[SourceSeries | None]:
    """The series that each answer comes from; None where the study has none for it, or one that cannot be read.

    Raises:
        PacsError: As `read_source`.
    """
    sources: list[SourceSeries | None] = []
    for answer, model in zip(predicted.answers, models, strict=True):
        series = None if answer.series is None else answer.series.series
        plane = str(model.settings.get("plane", NATIVE))
        sources.append(None if series is None else read_source(series, plane))
    return sources


def write_results(
    predicted: PredictedStudy,
    models: Sequence[BundleModel],
    out: Path,
    report: bool = True,
    pages: Sequence[NDArray[np.uint8]] = (),
    overwrite: bool = False,
) -> list[Dataset]:
    """Write ``report.dcm``, an Enhanced SR, and ``page-1.dcm`` and so on, Secondary Capture.

    Args:
        predicted: The study.
        models: That it was predicted with, in that order.
        out: A folder, made if absent.
        report: Whether the report is wanted.
        pages: ``(H, W, 3)`` uint8 RGB each.
        overwrite: Whether files that are there may be replaced.

    Returns:
        The objects, as an archive can store them.

    Raises:
        PacsError: The study is no DICOM, or not what a DICOM object can refer to; or a file is there.
    """
    sources = sources_of(predicted, models)
    objects: dict[str, Dataset] = {}
    if report:
        objects[REPORT_NAME] = structured_report(predicted.prediction, sources)
    for number, page in enumerate(secondary_captures(pages, predicted.prediction, sources) if pages else (), start=1):
        objects[PAGE_NAME.format(number=number)] = page
    for name, one in objects.items():
        write_object(one, out / name, overwrite)
    return list(objects.values())
