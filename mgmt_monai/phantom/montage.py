"""A picture of a phantom: one patient a row, one modality a column."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mgmt_monai.atomic import atomic_file
from mgmt_monai.cohort.files.pixels import read_slices
from mgmt_monai.json_file import read_json
from mgmt_monai.phantom.appearance import MODALITIES


def middle_slice(phantom_dir: Path, patient: dict[str, Any]) -> list[NDArray[np.uint16]]:
    """The geometrically middle slice ``(rows, columns)`` of each series of a patient, an entry of ``truth.json``."""
    images = []
    for modality, series in patient["series"].items():
        numbers = series["numbers"]
        name = f"Image-{numbers[len(numbers) // 2]}.dcm"
        images += [
            one.values for one in read_slices([phantom_dir / "train" / patient["patient_id"] / modality / name], None)
        ]
    return images


def save_montage(phantom_dir: Path, path: Path) -> None:
    """Save middle slices of at most five patients, spread evenly from the lowest to the highest latent value.

    Raises:
        JsonFileError: The phantom's ``truth.json`` cannot be read.
        OSError: The picture, a PNG, cannot be written.
    """
    truth = read_json(phantom_dir / "truth.json")

    def mean_latent(patient: dict[str, Any]) -> float:
        return float(np.mean([series["latent"] for series in patient["series"].values()]))

    ranked = sorted(truth["patients"], key=mean_latent)
    rows = min(5, len(ranked))
    chosen = [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, rows)]
    figure = Figure(figsize=(8, 2 * rows), facecolor="black", layout="tight")
    axes = figure.subplots(rows, len(MODALITIES), squeeze=False)
    for row, patient in zip(axes, chosen, strict=True):
        for axis in row:
            axis.axis("off")
        for (modality, series), image in zip(
            patient["series"].items(), middle_slice(phantom_dir, patient), strict=True
        ):
            axis = row[MODALITIES.index(modality)]
            axis.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image[image > 0], 99.5))
            axis.set_title(f"{modality}, latent {series['latent']:+.1f}", color="white", fontsize=8)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=90, format=path.suffix.lstrip(".") or "png")
