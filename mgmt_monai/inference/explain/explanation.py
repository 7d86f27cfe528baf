"""One series explained by one model: its maps, what they are worth, and the files they go into."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from mgmt_monai.atomic import atomic_file, write_text
from mgmt_monai.cohort.series import Series
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.explain.gradcam import cells, gradcam_maps
from mgmt_monai.inference.explain.grids import carried
from mgmt_monai.inference.explain.occlusion import occlusion_maps
from mgmt_monai.inference.explain.overlay import contact_sheet, overlay
from mgmt_monai.inference.explain.sanity import changes, randomised, similarity
from mgmt_monai.inference.explain.seen import SeenSeries, see
from mgmt_monai.inference.explain.share import HEAD_LEVEL, Share, read_region, share_inside
from mgmt_monai.inference.model import BundleModel
from mgmt_monai.inference.prediction import NOTICE

METHODS = ("gradcam", "occlusion")
"""What a map can be made by."""

SCHEMA = "mgmt-monai/explanation/1"
RESULT = "explain.json"

STRONGEST = 99.5
"""Percentile of a series' absolute map values that gets the strongest colour: one hot pixel must not pale the rest."""

SEED = 0
"""Of the randomised weights."""


@dataclass(frozen=True)
class Map:
    """One method's map of a series.

    Args:
        method: One of `METHODS`.
        values: ``(K, H, W)`` on the network's pixels.
        similarity: With randomised weights, by what was randomised: ``head``, ``all``; None where a map vanished.
        changes: Whether the map is another with randomised weights.
        share: Of it in the annotated region; None without one.
    """

    method: str
    values: np.ndarray
    similarity: dict[str, float | None]
    changes: bool
    share: Share | None


@dataclass(frozen=True)
class SeriesExplanation:
    """Why a model says what it says of a series.

    Args:
        model: Whose.
        seen: What it saw.
        probabilities: Of each slice.
        maps: One a method.
        resolution: How many cells, down and across, Grad-CAM tells apart.
    """

    model: BundleModel
    seen: SeenSeries
    probabilities: tuple[float, ...]
    maps: tuple[Map, ...]
    resolution: tuple[int, int]


def explain_series(
    model: BundleModel, series: Series, methods: Sequence[str] = METHODS, segmentation: Path | None = None
) -> SeriesExplanation:
    """Map what raises and lowers the logit of each slice, and check the maps.

    Args:
        model: Its network is one of ours.
        series: Of the model's modality.
        methods: Of `METHODS`.
        segmentation: NIfTI of a region, such as the tumour, in the patient's space; its share of each map is measured.

    Returns:
        The maps.

    Raises:
        InferenceError: The series cannot be read or placed, or the segmentation is none of it.
    """
    seen = see(model, series)
    region = head = None
    if segmentation is not None:
        _check_place(seen, "a segmentation cannot be compared with it")
        shown = carried(np.ones(seen.images[:, 0].shape, dtype=np.float32), seen.from_stored, seen.stored.shape) > 0
        anatomy = carried(seen.images[:, 0].numpy(), seen.from_stored, seen.stored.shape)
        region, head = read_region(segmentation, seen.stored) & shown, anatomy > HEAD_LEVEL
    maps = []
    for method in methods:
        values = _maps(model.network, seen, method, f"{model.modality}: {method}")
        compared = _similarity(model, seen, method, values)
        share = None
        if region is not None and head is not None:
            share = share_inside(carried(values, seen.from_stored, seen.stored.shape), region, head)
        maps.append(Map(method, values, compared, changes(list(compared.values())), share))
    probabilities = tuple(model.probabilities(model.features(seen.images)))
    return SeriesExplanation(model, seen, probabilities, tuple(maps), cells(model.network, seen.images))


def sheets(explanation: SeriesExplanation) -> dict[str, np.ndarray]:
    """A page with all slices for each method, RGB ``(height, width, 3)`` uint8.

    Args:
        explanation: Of one series.
    """
    seen, box, pages = explanation.seen, _head_box(explanation.seen.anatomy), {}
    places = zip(seen.slice_indices, explanation.probabilities, strict=True)
    titles = [f"slice {index + 1}: {probability:.2f}" for index, probability in places]
    for each in explanation.maps:
        laid = carried(each.values, seen.from_displayed, seen.displayed.shape)
        heading = _heading(explanation, each)
        pages[each.method] = contact_sheet(
            seen.anatomy[box], laid[box], seen.displayed.pixel_mm, _limit(each), titles, heading
        )
    return pages


def write_explanation(explanation: SeriesExplanation, folder: Path) -> list[Path]:
    """Write pictures, maps as NIfTI, and ``explain.json``, the last one last.

    Args:
        explanation: Of one series.
        folder: Made where it is absent.

    Returns:
        The files. Where the series does not say where its slices lie there is no NIfTI, and ``explain.json`` says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen, box, written = explanation.seen, _head_box(explanation.seen.anatomy), []
    for each in explanation.maps:
        laid = carried(each.values, seen.from_displayed, seen.displayed.shape)
        for k, index in enumerate(seen.slice_indices):
            title = f"{explanation.model.modality}, {each.method}, slice {index + 1} of {seen.n_slices}\n" + (
                f"probability of methylation {explanation.probabilities[k]:.3f}"
            )
            picture = overlay(seen.anatomy[box][k], laid[box][k], seen.displayed.pixel_mm, _limit(each), title)
            written.append(_write_picture(picture, folder / f"{each.method}-slice-{index + 1:03d}.png"))
    for method, page in sheets(explanation).items():
        written.append(_write_picture(page, folder / f"{method}.png"))
    if not seen.geometry_fault:
        written += [_write_nifti(explanation, each, folder / f"{each.method}.nii.gz") for each in explanation.maps]
    write_text(folder / RESULT, json.dumps(_document(explanation), indent=2) + "\n")
    return [*written, folder / RESULT]


def _maps(network: Any, seen: SeenSeries, method: str, description: str = "") -> np.ndarray:
    if method == "gradcam":
        return gradcam_maps(network, seen.images)
    return occlusion_maps(network, seen.images, description, show=bool(description))


def _similarity(model: BundleModel, seen: SeenSeries, method: str, values: np.ndarray) -> dict[str, float | None]:
    # Occlusion asks the network hundreds of times a slice: the middle one stands for all.
    middle = len(values) // 2
    kept = slice(None) if method == "gradcam" else slice(middle, middle + 1)
    part = SeenSeries(**{**vars(seen), "images": seen.images[kept]})
    return {
        layers: similarity(values[kept], _maps(randomised(model.network, layers, SEED), part, method), part.images)
        for layers in ("head", "all")
    }


def _check_place(seen: SeenSeries, so: str) -> None:
    if seen.geometry_fault:
        raise InferenceError(f"the series cannot be placed in the patient ({seen.geometry_fault}), so {so}.")


def _head_box(anatomy: np.ndarray) -> tuple[slice, slice, slice]:
    """What the pictures show: all slices, the rows and columns that hold any of the head, and a little air."""
    box = [slice(None)]
    for axis in (1, 2):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero((anatomy > HEAD_LEVEL).any(axis=others))
        n = anatomy.shape[axis]
        first, last = (int(found[0]), int(found[-1]) + 1) if found.size else (0, n)
        box.append(slice(max(0, first - n // 16), min(n, last + n // 16)))
    return box[0], box[1], box[2]


def _limit(each: Map) -> float:
    return float(np.percentile(np.abs(each.values), STRONGEST))


def _heading(explanation: SeriesExplanation, each: Map) -> str:
    mean = sum(explanation.probabilities) / len(explanation.probabilities)
    checked = "changes" if each.changes else "HARDLY CHANGES"
    return (
        f"{explanation.model.modality}, {explanation.model.bundle.name}, {each.method}: probability {mean:.3f}\n"
        f"with randomised weights the map {checked}"
    )


def _write_picture(picture: np.ndarray, path: Path) -> Path:
    with atomic_file(path) as temporary, temporary.open("xb") as stream:
        Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return path


def _write_nifti(explanation: SeriesExplanation, each: Map, path: Path) -> Path:
    seen = explanation.seen
    laid = carried(each.values, seen.from_stored, seen.stored.shape)
    image = nib.Nifti1Image(np.moveaxis(laid, 0, 2), seen.stored.affine)  # by (row, column, slice), as the affine
    image.header.set_xyzt_units("mm")
    image.set_qform(seen.stored.affine, code="scanner")
    image.set_sform(seen.stored.affine, code="scanner")
    with atomic_file(path) as temporary:
        named = temporary.with_name(f"{temporary.name}.nii.gz")  # nibabel goes by the name
        nib.save(image, named)
        named.replace(temporary)
    return path


def _document(explanation: SeriesExplanation) -> dict[str, Any]:
    model, seen = explanation.model, explanation.seen
    return {
        "schema": SCHEMA,
        "notice": NOTICE,
        "modality": model.modality,
        "bundle": model.bundle.name,
        "bundle_version": model.bundle.version,
        "model_sha256": model.bundle.model_sha256,
        "slice_indices": list(seen.slice_indices),
        "n_slices": seen.n_slices,
        "slice_probabilities": list(explanation.probabilities),
        "gradcam_cells": list(explanation.resolution),
        "no_nifti_because": seen.geometry_fault,
        "maps": [
            {
                "method": each.method,
                "similarity_with_randomised_weights": each.similarity,
                "changes_with_randomised_weights": each.changes,
                "share_in_segmentation": None if each.share is None else asdict(each.share),
            }
            for each in explanation.maps
        ],
    }
