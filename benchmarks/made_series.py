"""The data that the benchmarks read: a made study of large series, and made cohorts. Made once, then found again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from mgmt_monai.cohort.manifest import read_manifest, series_reference
from mgmt_monai.cohort.open_cohort import open_cohort
from mgmt_monai.cohort.series import Series
from mgmt_monai.phantom import write_phantom
from mgmt_monai.phantom.acquisition import PLANES, SeriesPlan, measure
from mgmt_monai.phantom.anatomy import Head, build_tissue
from mgmt_monai.phantom.appearance import paint, tumour_look
from mgmt_monai.phantom.dicom import series_headers, write_series
from mgmt_monai.phantom.effect import Stream, stream
from mgmt_monai.phantom.made_cohort import plan_patient

SEED = 0
MODALITY = "T1w"
FRACTION = 0.2
"""Of the slices, those in the middle: as the bundles have it."""

FIELD_OF_VIEW_MM = 240.0
SPLIT: dict[str, Any] = {"test_fraction": 0.1, "train_fraction": 0.85, "split_seed": 0}
"""As the bundles have it."""


def made_study(data: Path, n_slices: int, n_pixels: int) -> Path:
    """A study of one axial series a modality, uncompressed, each in a folder of the modality's name.

    Args:
        data: The study goes into a folder below it; one that is there is taken.
        n_slices: Of each series.
        n_pixels: Rows and columns.

    Returns:
        The study's folder.
    """
    with _made_once(data / f"study-{n_slices}x{n_pixels}x{n_pixels}") as (study, building):
        if building is not None:
            patient = plan_patient(0, SEED)
            tissue = build_tissue(patient.head, stream(SEED, Stream.TISSUE, 0))
            for number, plan in enumerate(patient.series):
                large = axial_plan(plan, patient.head, n_slices, n_pixels)
                image = paint(tissue, plan.modality, tumour_look(0.0), patient.head.tumour_radius_mm)
                pixels = measure(image, tissue.depth_mm, patient.head, large, stream(SEED, Stream.SCANNER, 0, number))
                headers = series_headers(large, patient.patient_id, patient.scanner, SEED)
                write_series(building / plan.modality, headers, pixels)
    return study


def axial_plan(plan: SeriesPlan, head: Head, n_slices: int, n_pixels: int) -> SeriesPlan:
    """A series as planned, but axial, of another size, and centred on the head that it covers."""
    row, column = PLANES["axial"]
    normal = np.cross(row, column)
    low, high = head.extent_mm(normal)
    spacing, pixel = round((high - low) / n_slices, 4), round(FIELD_OF_VIEW_MM / n_pixels, 5)
    middle = [sum(head.extent_mm(np.array(direction))) / 2 for direction in (row, column)]
    corner = (n_pixels - 1) / 2 * pixel
    origin = (
        head.centre_mm
        + (low + spacing / 2) * normal
        + (middle[0] - corner) * np.array(row)
        + (middle[1] - corner) * np.array(column)
    )
    return replace(
        plan,
        plane="axial",
        rows=n_pixels,
        columns=n_pixels,
        pixel_spacing_mm=pixel,
        slice_spacing_mm=spacing,
        slice_thickness_mm=spacing,
        origin_mm=(round(float(origin[0]), 5), round(float(origin[1]), 5), round(float(origin[2]), 5)),
        row_direction=row,
        column_direction=column,
        numbers=tuple(range(1, n_slices + 1)),
    )


def study_series(study: Path, modality: str = MODALITY) -> Series:
    """One series of a made study, its slices in order, as a manifest would tell it."""
    files = sorted((study / modality).glob("Image-*.dcm"), key=lambda file: int(file.stem.partition("-")[2]))
    return Series(study.name, modality, tuple(files), range(len(files)))


def made_cohort(data: Path, n_patients: int) -> Path:
    """A phantom with its manifest, in a folder below ``data``; one that is there is taken."""
    with _made_once(data / f"cohort-{n_patients}") as (cohort, building):
        if building is not None:
            write_phantom(building, n_patients, effect=3.0, seed=SEED)
            open_cohort(
                modality=MODALITY,
                dataset_dir=building,
                labels_csv=building / "train_labels.csv",
                manifest="",
                output_dir=building,
                **SPLIT,
                exclusions="default",
                repeat=0,
                fold=None,
                inner_fold=None,
                permute_labels=False,
                permutation_seed=0,
            )
    return cohort


def train_series(cohort: Path) -> list[dict[str, Any]]:
    """The training patients of a made cohort: ``image`` (a `Series`), ``label`` and ``patient_id`` each."""
    members = read_manifest(cohort / "manifest.json").members("train", MODALITY)
    return [
        {"image": series_reference(one, MODALITY, cohort), "label": one.label, "patient_id": one.patient_id}
        for one in members
    ]


@contextmanager
def _made_once(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """The folder, and where its content goes if it is not there: it appears whole, and lies on the disk."""
    if folder.is_dir():
        yield folder, None
        return
    building = folder.with_name(f".{folder.name}.{uuid4().hex}")
    building.mkdir(parents=True)
    try:
        yield folder, building
        os.sync()  # what is not on the disk cannot be dropped from the cache
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
