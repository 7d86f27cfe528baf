"""How often a known displacement is refound or refused: ``python benchmarks/registration.py --draws 200``.

Each draw is a made raw head (skull, eyes, neck) in two modalities, scanned in planes of their own, which has moved
between them by up to ``--moves`` mm and degrees. A registration that is accepted and yet wrong by more than 0.5 mm at
the brain's centre or 0.5 degrees is **silently wrong**.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import click
import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
import torch

from mgmt_monai.phantom.acquisition import SeriesPlan, measure
from mgmt_monai.phantom.anatomy import build_tissue
from mgmt_monai.phantom.appearance import MODALITIES, paint, tumour_look
from mgmt_monai.phantom.effect import Stream, stream
from mgmt_monai.phantom.made_cohort import plan_patient
from mgmt_monai.phantom.raw_head import ORIGIN_MM, build_surroundings, pose, surround
from mgmt_monai.preparation.brain_mask import brain_mask
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.registration import Brain, register

MM, DEG = 0.5, 0.5


def draw(seed: int, moves: float) -> tuple[float, float, float, float, str]:
    """One head: how far and by what angle it moved, by how much the registration is off, and why it is refused."""
    torch.set_num_threads(1)
    moving = [name for name in MODALITIES if name != "T1wCE"][seed % 3]
    plan = plan_patient(0, seed, moves)
    tissue = build_tissue(plan.head, stream(seed, Stream.TISSUE, 0))
    around = build_surroundings(tissue, plan.head)
    brains = {}
    for number, (series, head) in enumerate(zip(plan.series, plan.poses, strict=True)):
        if series.modality not in ("T1wCE", moving):
            continue
        image = surround(
            paint(tissue, series.modality, tumour_look(0.0), plan.head.tumour_radius_mm), around, series.modality
        )
        pixels = measure(image, None, head, series, stream(seed, Stream.SCANNER, 0, number), ORIGIN_MM)
        brains[series.modality] = placed(pixels, series)
    truth = pose(plan.poses[MODALITIES.index(moving)]) @ np.linalg.inv(pose(plan.head))
    centre = plan.head.centre_mm
    moved = float(np.linalg.norm((truth @ [*centre, 1])[:3] - centre)), degrees(truth[:3, :3])
    try:
        found = register(*(Brain(image, brain_mask(image)) for image in (brains["T1wCE"], brains[moving])))
    except PreparationError as error:
        return *moved, np.nan, np.nan, str(error)
    matrix = np.array(found.transform.GetMatrix()).reshape(3, 3)
    off = np.array(found.transform.TransformPoint([float(v) for v in centre])) - (truth @ [*centre, 1])[:3]
    return *moved, float(np.linalg.norm(off)), degrees(matrix @ truth[:3, :3].T), found.reason


def degrees(rotation: np.ndarray) -> float:
    """The angle of a rotation."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def placed(pixels: np.ndarray, series: SeriesPlan) -> sitk.Image:
    """A series' pixels where its plan says."""
    image = sitk.GetImageFromArray(pixels.astype(np.float32))
    image.SetSpacing([series.pixel_spacing_mm, series.pixel_spacing_mm, series.slice_spacing_mm])
    image.SetOrigin(series.origin_mm)
    axes = np.stack([series.row_direction, series.column_direction, series.normal], axis=1)
    image.SetDirection(axes.ravel().tolist())
    return image


@click.command()
@click.option("--draws", default=20, show_default=True)
@click.option("--moves", default=30.0, show_default=True, help="At most, in mm and degrees.")
@click.option("--first-seed", default=1000, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Also write the table here.")
def main(draws: int, moves: float, first_seed: int, workers: int, out: Path | None) -> None:
    """Print the table."""
    with ProcessPoolExecutor(workers) as pool:
        rows = list(pool.map(partial(draw, moves=moves), range(first_seed, first_seed + draws)))
    lines = [
        "| moved by at most | draws | accepted | wrong though accepted | largest error accepted |",
        "|" + "---|" * 5,
    ]
    for low, high in ((0, 15), (15, 30), (30, 90)):
        part = [row for row in rows if low <= max(row[:2]) < high]
        kept = [row for row in part if not row[4]]
        wrong = [row for row in kept if row[2] > MM or row[3] > DEG]
        if part:
            worst = f"{max(r[2] for r in kept):.2f} mm, {max(r[3] for r in kept):.2f} deg" if kept else "-"
            lines.append(
                f"| {low}-{high} mm and deg | {len(part)} | {len(kept) / len(part):.0%} | {len(wrong)} | {worst} |"
            )
    text = "\n".join(lines)
    click.echo(text)
    for reason in sorted({row[4] for row in rows if row[4]}):
        click.echo(f"refused: {reason}")
    if out:
        out.write_text(f"Seeds {first_seed} to {first_seed + draws - 1}.\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
