"""How much of a model's maps lies in the planted tumours of a phantom it has never seen: the table of explain.md.

python docs/explain_share.py BUNDLE [PATIENTS]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import nibabel as nib
import numpy as np

from mgmt_monai.inference.explain.explanation import METHODS, explain_series
from mgmt_monai.inference.model import open_models
from mgmt_monai.inference.study import read_study
from mgmt_monai.phantom import write_phantom

SEED = 1000
"""Of the phantom; nobody trains on this one."""


def tumour_sphere(truth: dict[str, Any], path: Path) -> Path:
    """A patient's tumour as NIfTI: a sphere of its mean radius, 1 mm voxels."""
    reach = int(truth["tumour_radius_mm"]) + 2
    inside = ((np.indices([2 * reach + 1] * 3) - reach) ** 2).sum(axis=0) <= truth["tumour_radius_mm"] ** 2
    affine = np.eye(4)
    affine[:3, 3] = np.array(truth["tumour_centre_mm"]) * [-1, -1, 1] - reach  # the truth is told in LPS
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), path)
    return path


def main(bundle: Path, n_patients: int) -> None:
    """Print a row a method."""
    found: dict[str, list[tuple[float, float, bool]]] = {method: [] for method in METHODS}
    with TemporaryDirectory() as folder, open_models([bundle]) as (model,):
        phantom = write_phantom(Path(folder) / "phantom", n_patients=n_patients, effect=3.0, seed=SEED)
        for truth in json.loads((phantom / "truth.json").read_text(encoding="utf-8"))["patients"]:
            sphere = tumour_sphere(truth, Path(folder) / "tumour.nii.gz")
            series = read_study(phantom / "train" / truth["patient_id"], modalities=[model.modality])[0].series
            for each in explain_series(model, series, METHODS, sphere).maps:
                found[each.method].append((each.share.inside or 0.0, each.share.uniform, each.sanity.changes is True))
    click.echo("| method | in the tumour, mean (range) | an even map | maps that change with random weights |")
    click.echo("|---|---|---|---|")
    for method, rows in found.items():
        inside = [row[0] for row in rows]
        even = np.mean([row[1] for row in rows])
        spread = f"{np.mean(inside):.0%} ({min(inside):.0%}-{max(inside):.0%})"
        click.echo(f"| {method} | {spread} | {even:.0%} | {sum(row[2] for row in rows)} of {len(rows)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8)
