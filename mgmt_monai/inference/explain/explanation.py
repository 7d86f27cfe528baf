"""One series explained by one model: its maps, what they are worth, and the files they go into."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from mgmt_monai.atomic import atomic_file, write_text
from mgmt_monai.cohort.series import Series
from mgmt_monai.exchange.known_figures import worth
from mgmt_monai.html_page import data_uri, page_pieces, write_page
from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.abstain import network_reasons
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.explain.gradcam import cells, gradcam_maps
from mgmt_monai.inference.explain.grids import carried
from mgmt_monai.inference.explain.maps import write_map
from mgmt_monai.inference.explain.occlusion import PATCH_SHARE, occlusion_maps
from mgmt_monai.inference.explain.overlay import contact_sheet, overlay
from mgmt_monai.inference.explain.sanity import Sanity, sanity_check
from mgmt_monai.inference.explain.seen import SeenSeries, see
from mgmt_monai.inference.explain.share import Share, head_pixels, read_region, share_inside
from mgmt_monai.inference.explain.view import View, as_stored, radiological
from mgmt_monai.inference.model import BundleModel
from mgmt_monai.networks import MGMTClassifier

METHODS = ("gradcam", "occlusion")
"""What a map can be made by."""

_NAMES = {"gradcam": "Grad-CAM", "occlusion": "Occlusion"}

#: Of the page's pictures, as JPEG.
_QUALITY = 85

SCHEMA = "mgmt-monai/explanation/1"
RESULT, PAGE = "explain.json", "explain.html"
"""What the two are called."""

ABSTAINS = "THE MODEL ABSTAINS"
"""Stands on a picture in the place of the probability."""

STRONGEST = 99.5
"""Percentile of a series' absolute map values that gets the strongest colour: one hot pixel must not pale the rest;
zeros do not count."""


@dataclass(frozen=True)
class Map:
    """One method's map of a series, ``(K, H, W)`` on the network's pixels; ``share``: of it in the annotated region."""

    method: str
    values: np.ndarray
    sanity: Sanity
    share: Share | None


@dataclass(frozen=True)
class SeriesExplanation:
    """Why a model says what it says of a series.

    ``abstained``: why `predict` gives no probability, empty where it gives one; ``resolution``: how many cells, down
    and across, Grad-CAM tells apart.
    """

    model: BundleModel
    series: Series
    seen: SeenSeries
    probabilities: tuple[float, ...]
    abstained: tuple[str, ...]
    maps: tuple[Map, ...]
    resolution: tuple[int, int]

    def grid(self, method: str) -> tuple[int, int]:
        """How many places of a slice a method's maps tell apart, down and across."""
        n = round(1 / PATCH_SHARE)
        return self.resolution if method == "gradcam" else (n, n)

    def coarseness(self, method: str) -> str:
        """How coarse a method's maps are, in words."""
        grid, displayed = self.grid(method), self.seen.displayed
        sides = zip(displayed.shape[1:], displayed.pixel_mm, grid, strict=True)
        height, width = (f"{n * mm / cells:.0f}" for n, mm, cells in sides)
        size = "" if self.seen.geometry_fault else f", each {height} x {width} mm"
        cells = "cells" if method == "gradcam" else "places"
        return f"it tells {grid[0]} x {grid[1]} {cells} of a slice apart{size}, no finer"


def explain_series(
    model: BundleModel,
    series: Series,
    methods: Sequence[str] = METHODS,
    segmentation: Path | None = None,
    abstained: Sequence[str] = (),
) -> SeriesExplanation:
    """Map what raises and lowers the logit of each slice, and check the maps.

    Args:
        model: Its network is one of ours.
        series: Of the model's modality.
        methods: Of `METHODS`.
        segmentation: NIfTI of a region, such as the tumour, in the patient's space; its share of each map is measured.
        abstained: Why the checks forbid an answer; the maps are made all the same, and say so.

    Raises:
        InferenceError: The series cannot be read or placed, or the segmentation is none of it.
    """
    seen = see(model, series)
    region = head = None
    if segmentation is not None:
        if seen.geometry_fault:
            raise InferenceError(
                f"the series cannot be placed in the patient ({seen.geometry_fault}), so a segmentation cannot be "
                "compared with it."
            )
        shown = carried(np.ones(seen.images[:, 0].shape, dtype=np.float32), seen.from_stored, seen.stored.shape) > 0
        on_head = head_pixels(seen.images[:, 0].numpy()).astype(np.float32)
        region = read_region(segmentation, seen.stored) & shown
        head = carried(on_head, seen.from_stored, seen.stored.shape) > 0.5
    maps = []
    for method in methods:
        values = _maps(method, model.network, seen.images, f"{model.modality}: {method}")
        checked = sanity_check(model.network, seen.images, values, partial(_maps, method))
        share = None
        if region is not None and head is not None:
            share = share_inside(carried(values, seen.from_stored, seen.stored.shape), region, head)
        maps.append(Map(method, values, checked, share))
    features = model.features(seen.images)
    distance = None if model.reference is None else float(model.reference.distance(features))
    limit = None if model.reference is None else model.reference.threshold
    return SeriesExplanation(
        model=model,
        series=series,
        seen=seen,
        probabilities=tuple(model.probabilities(features)),
        abstained=(*abstained, *network_reasons(len(features), 0, distance, limit)),
        maps=tuple(maps),
        resolution=cells(model.network, seen.images),
    )


def sheets(explanation: SeriesExplanation) -> dict[str, np.ndarray]:
    """A page with all slices for each method, RGB ``(height, width, 3)`` uint8."""
    seen, view, pages = explanation.seen, _view(explanation.seen), {}
    places = zip(seen.slice_indices, explanation.probabilities, strict=True)
    titles = [f"slice {index + 1}{'' if explanation.abstained else f': {value:.2f}'}" for index, value in places]
    anatomy = _shown(seen.anatomy, seen, view)
    for each in explanation.maps:
        laid = _shown(carried(each.values, seen.from_displayed, seen.displayed.shape), seen, view)
        limit = strongest(each.values)
        pages[each.method] = contact_sheet(anatomy, laid, view, limit, titles, _heading(explanation, each))
    return pages


def write_explanation(explanation: SeriesExplanation, folder: Path) -> list[Path]:
    """Write pictures, maps as NIfTI, the page, and ``explain.json``, the last one last.

    Returns:
        The files. Where the series does not say where its slices lie there is no NIfTI, and ``explain.json`` says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen, view, written = explanation.seen, _view(explanation.seen), []
    anatomy = _shown(seen.anatomy, seen, view)
    for each in explanation.maps:
        laid = carried(each.values, seen.from_displayed, seen.displayed.shape)
        shown = _shown(laid, seen, view)
        for k, index in enumerate(seen.slice_indices):
            title = f"{explanation.model.modality}, {each.method}, slice {index + 1} of {seen.n_slices}\n" + (
                ABSTAINS if explanation.abstained else f"probability of methylation {explanation.probabilities[k]:.3f}"
            )
            picture = overlay(anatomy[k], shown[k], view, strongest(each.values), title)
            written.append(_write_picture(picture, folder / f"{each.method}-slice-{index + 1:03d}.png"))
    pages = sheets(explanation)
    for method, page in pages.items():
        written.append(_write_picture(page, folder / f"{method}.png"))
    for each in explanation.maps:
        if not seen.geometry_fault:
            path = folder / f"{each.method}.nii.gz"
            stored = carried(each.values, seen.from_stored, seen.stored.shape)
            write_map(path, stored, explanation.series, seen.stored)
            written.append(path)
    write_page(folder / PAGE, explanation_page(explanation, pages))
    write_text(folder / RESULT, result_text(explanation))
    written += [folder / PAGE, folder / RESULT]
    for method in METHODS:  # of an older explanation, by other methods or of other slices
        for path in folder.glob(f"{method}*"):
            if path not in written:
                path.unlink()
    return written


def explanation_page(explanation: SeriesExplanation, pages: Mapping[str, np.ndarray]) -> Iterator[str]:
    """The page, piece by piece: each map, how coarse it is, and whether it depends on the model. No script runs in it.

    Args:
        explanation: Of one series.
        pages: As `sheets` draws them.
    """
    content = {
        "explained": explanation,
        "notice": NOTICE,
        "worth": worth(explanation.model.bundle.evaluation)[1],
        "maps": [
            {
                "each": each,
                "name": _NAMES[each.method],
                "grid": explanation.grid(each.method),
                "coarseness": explanation.coarseness(each.method),
                "uri": _uri(pages[each.method]),
            }
            for each in explanation.maps
        ],
    }
    name = f"{explanation.model.modality}, {explanation.model.bundle.name}"
    room = "mgmt_monai.inference"
    return page_pieces(room, "explanation.html.j2", "explanation", name, content, style="explanation.css")


def result_text(explanation: SeriesExplanation) -> str:
    """What ``explain.json`` says."""
    return json.dumps(_document(explanation), indent=2) + "\n"


def strongest(values: np.ndarray) -> float:
    """The absolute value that gets the strongest colour: 0 for a map that is zero everywhere.

    Args:
        values: A map, of any shape.
    """
    sizes = np.abs(values[values != 0])
    return float(np.percentile(sizes, STRONGEST)) if sizes.size else 0.0


def _maps(method: str, network: MGMTClassifier, images: Tensor, description: str = "") -> np.ndarray:
    if method == "gradcam":
        return gradcam_maps(network, images)
    return occlusion_maps(network, images, description)


def _view(seen: SeenSeries) -> View:
    return as_stored(seen.displayed) if seen.geometry_fault else radiological(seen.displayed)


def _shown(slices: np.ndarray, seen: SeenSeries, view: View) -> np.ndarray:
    """Slices turned to the view, without the air around the head."""
    head = head_pixels(seen.anatomy)
    box = [slice(None)]
    for axis in (1, 2):
        found = np.flatnonzero(head.any(axis=tuple(other for other in range(3) if other != axis)))
        n = head.shape[axis]
        box.append(slice(max(0, int(found[0]) - n // 16), min(n, int(found[-1]) + 1 + n // 16)))
    return np.stack([view(image) for image in slices[tuple(box)]])


def _heading(explanation: SeriesExplanation, each: Map) -> str:
    mean = sum(explanation.probabilities) / len(explanation.probabilities)
    said = ABSTAINS if explanation.abstained else f"probability {mean:.3f}"
    checked = {True: "changes", False: "HARDLY CHANGES", None: "cannot be compared"}[each.sanity.changes]
    return (
        f"{explanation.model.modality}, {explanation.model.bundle.name}, {each.method}: {said}\n"
        f"with random weights the map {checked}\n{explanation.coarseness(each.method)}"
    )


def _write_picture(picture: np.ndarray, path: Path) -> Path:
    with atomic_file(path) as temporary, temporary.open("xb") as stream:
        Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return path


def _uri(picture: np.ndarray) -> str:
    out = BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_QUALITY)
    return data_uri(out.getvalue(), "image/jpeg")


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
        "abstained": list(explanation.abstained),
        "slice_probabilities": [] if explanation.abstained else list(explanation.probabilities),
        "gradcam_cells": list(explanation.resolution),
        "no_nifti_because": seen.geometry_fault,
        "maps": [
            {
                "method": each.method,
                "similarity_with_random_weights": [_number(value) for value in each.sanity.similarities],
                "changes_with_random_weights": each.sanity.changes,
                "share_in_segmentation": None if each.share is None else asdict(each.share),
            }
            for each in explanation.maps
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
