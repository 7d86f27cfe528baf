"""How often a known displacement is refound or refused: ``python benchmarks/registration.py --heads 34 --moves 15``.

Each made raw head (skull, eyes, neck) is scanned in four modalities, in planes of their own, and moves between them by
up to ``--moves`` mm and degrees: three draws, T1w, T2w and FLAIR to T1wCE, held to what ``prepare`` holds them to. A
registration that is accepted and yet wrong by more than 0.5 mm at the brain's centre or 0.5 degrees is **silently
wrong**. Each draw is printed as it comes.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

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
from mgmt_monai.preparation.brain_mask import brain_mask, check_brain
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.registration import Brain, register

MM, DEG = 0.5, 0.5


class Draw(NamedTuple):
    """How far and by what angle a head moved, by how much the registration is off, its time, why it is refused."""

    moved_mm: float
    turned_deg: float
    off_mm: float
    off_deg: float
    seconds: float
    reason: str


def draws(seed: int, moves: float) -> list[Draw]:
    """A head's three draws."""
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    plan = plan_patient(0, seed, moves)
    tissue = build_tissue(plan.head, stream(seed, Stream.TISSUE, 0))
    around = build_surroundings(tissue, plan.head)
    brains: dict[str, Brain | str] = {}
    for number, (series, head) in enumerate(zip(plan.series, plan.poses, strict=True)):
        ideal = paint(tissue, series.modality, tumour_look(0.0), plan.head.tumour_radius_mm)
        ideal = surround(ideal, around, series.modality)
        pixels = measure(ideal, None, head, series, stream(seed, Stream.SCANNER, 0, number), ORIGIN_MM)
        brains[series.modality] = brain(placed(pixels, series))
    poses = {modality: pose(head) for modality, head in zip(MODALITIES, plan.poses, strict=True)}
    inverse = np.linalg.inv(poses["T1wCE"])
    found = []
    for modality in ("T1w", "T2w", "FLAIR"):
        truth = poses[modality] @ inverse
        found.append(
            one_draw(brains["T1wCE"], brains[modality], truth, plan.poses[MODALITIES.index("T1wCE")].centre_mm)
        )
    return found


def brain(image: sitk.Image) -> Brain | str:
    """A series as a registration takes it, or why it is refused."""
    try:
        mask = brain_mask(image)
        check_brain(image, mask)
    except PreparationError as error:
        return str(error)
    return Brain(image, mask)


def one_draw(fixed: Brain | str, moving: Brain | str, truth: np.ndarray, centre: np.ndarray) -> Draw:
    """One registration beside the truth, ``(4, 4)`` in mm."""
    moved = (truth @ [*centre, 1])[:3]
    size = float(np.linalg.norm(moved - centre)), degrees(truth[:3, :3])
    if isinstance(fixed, str) or isinstance(moving, str):
        return Draw(*size, np.nan, np.nan, 0.0, next(one for one in (fixed, moving) if isinstance(one, str)))
    begun = time.process_time()
    found = register(fixed, moving)
    seconds = time.process_time() - begun
    matrix = np.array(found.transform.GetMatrix()).reshape(3, 3)
    off = np.array(found.transform.TransformPoint([float(v) for v in centre])) - moved
    turned = degrees(matrix @ truth[:3, :3].T)
    return Draw(*size, float(np.linalg.norm(off)), turned, seconds, found.reason)


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
@click.option("--heads", default=10, show_default=True, help="Each gives three draws.")
@click.option("--moves", default=30.0, show_default=True, help="At most, in mm and degrees.")
@click.option("--first-seed", default=1000, show_default=True)
@click.option("--workers", default=2, show_default=True)
def main(heads: int, moves: float, first_seed: int, workers: int) -> None:
    """Print the draws and the table."""
    rows: list[Draw] = []
    seeds = range(first_seed, first_seed + heads)
    with ProcessPoolExecutor(workers) as pool:
        for seed, three in zip(seeds, pool.map(partial(draws, moves=moves), seeds), strict=True):
            rows += three
            for row in three:
                figures = ", ".join(f"{value:.2f}" for value in row[:5])
                click.echo(f"seed {seed}: {figures}{row.reason and ', refused: '}{row.reason}")
    click.echo(table(rows))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    seconds = [row.seconds for row in rows if row.seconds]
    click.echo(f"\n{np.median(seconds):.1f} s of processor a registration (median), {peak:.2f} GB at most a process")


def table(rows: Sequence[Draw]) -> str:
    """The draws by how far the head moved, as Markdown."""
    lines = [
        "| moved by | draws | accepted | wrong though accepted | largest error accepted |",
        "|" + "---|" * 5,
    ]
    for low, high in ((0, 15), (15, 30), (30, 90)):
        part = [row for row in rows if low <= max(row.moved_mm, row.turned_deg) < high]
        kept = [row for row in part if not row.reason]
        wrong = [row for row in kept if row.off_mm > MM or row.off_deg > DEG]
        if part:
            worst = "-"
            if kept:
                worst = f"{max(r.off_mm for r in kept):.2f} mm, {max(r.off_deg for r in kept):.2f} degrees"
            share = f"{len(kept) / len(part):.0%}"
            lines.append(f"| {low}-{high} mm or degrees | {len(part)} | {share} | {len(wrong)} | {worst} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
