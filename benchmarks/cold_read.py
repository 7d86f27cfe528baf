"""How fast are the needed slices of one large series read, when nothing of it is in memory?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
import stock
from made_series import FRACTION, made_study, study_series
from measurement import Measure, Size, Way, drop_from_cache
from monai.transforms import Compose
from monai.utils import optional_import

from mgmt_monai.cohort.series import Series, middle_slices
from mgmt_monai.transforms import CropMiddleSlicesd, LoadSeriesd

BARE = "SimpleITK, those files alone"

MEASURE = Measure(
    name="cold_read",
    title="Cold read of the middle 20 % of a series",
    unit="s",
    higher_is_better=False,
    ours="CropMiddleSlicesd, LoadSeriesd",
    must={"PydicomReader, crop": 20, "ITKReader, crop": 35},
    at_most={BARE: 1.5},
    note="190 x 512 x 512, dropped from the page cache before each read; the order of the slices known",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Ours, the readers that are installed, and SimpleITK told which files to read."""
    series = study_series(made_study(size.data, size.series_slices, size.series_pixels))
    folder = str(series.files[0].parent)
    ours = Compose([CropMiddleSlicesd("image", FRACTION), LoadSeriesd("image")])
    found = [
        Way(MEASURE.ours, cold(series.files, lambda: ours({"image": series}))),
        Way("PydicomReader, crop", cold(series.files, _stock("PydicomReader", series, folder))),
    ]
    if optional_import("itk")[1]:
        found.append(Way("ITKReader, crop", cold(series.files, _stock("ITKReader", series, folder))))
    kept = [str(file) for file in series.files[middle_slices(len(series.files), FRACTION)]]
    found.append(Way(BARE, cold(series.files, lambda: sitk.GetArrayFromImage(sitk.ReadImage(kept)))))
    yield found


def cold(files: Sequence[Path], read: Callable[[], Any]) -> Callable[[], float]:
    """A way's ``run``: seconds that a read takes when these files have left memory."""

    def run() -> float:
        drop_from_cache(files)
        started = time.perf_counter()
        read()
        return time.perf_counter() - started

    return run


def _stock(reader: str, series: Series, folder: str) -> Callable[[], Any]:
    chain = stock.middle_of_series(reader, series.n_slices)
    return lambda: chain({"image": folder})
