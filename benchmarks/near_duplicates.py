"""How alike are different patients, and how alike are copies? Prints the figures of docs/explanation/duplicates.md.

    python benchmarks/near_duplicates.py DATA_DIR [DATA_DIR ...]

Every folder below DATA_DIR that holds DICOM files, and every NIfTI file, is a series; its patient is the folder above
(for NIfTI, the folder it lies in). Each series is read once, altered in memory in every way of `ALTERATIONS`, and its
signature compared with that of its copies; then with those of all series of other patients.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

import click
import numpy as np
import pydicom
from PIL import Image
from scipy.ndimage import gaussian_filter

from mgmt_monai.cohort.duplicates import SIMILARITY_LIMIT, find_duplicates, similarity
from mgmt_monai.cohort.examination.content import as_seen
from mgmt_monai.cohort.examination.signature import make_signature, read_signature, thumbnail
from mgmt_monai.cohort.files.pixels import read_slices

Slices = list[np.ndarray]


def resized(slices: Slices, rows: int, columns: int) -> Slices:
    """Each slice at another size, bilinear."""
    size = (columns, rows)
    return [np.asarray(Image.fromarray(s.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)) for s in slices]


def eight_bit(slices: Slices, percentiles: tuple[float, float] = (0, 100)) -> Slices:
    """The series in 256 grey values between two of its percentiles; what is beyond them is cut off."""
    low, high = np.percentile(np.concatenate([s.ravel() for s in slices]), percentiles)
    return [np.clip((s - low) * (255 / max(high - low, 1e-6)), 0, 255).round().astype(np.uint8) for s in slices]


def jpeg(slices: Slices, quality: int = 75) -> Slices:
    """Each slice through JPEG."""
    out = []
    for pixels in slices:
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(buffer)))
    return out


def noisy(slices: Slices, share: float = 0.02) -> Slices:
    """Gaussian noise of a share of the series' 99.5th percentile."""
    random = np.random.default_rng(0)
    deviation = share * np.percentile(np.concatenate([s.ravel() for s in slices]), 99.5)
    return [s + random.normal(0, deviation, s.shape) for s in slices]


#: name -> (slices it needs, what is done)
ALTERATIONS: dict[str, tuple[int, Callable[[Slices], Slices]]] = {
    "8 bits, full range": (1, eight_bit),
    "8 bits, 0.5th to 99.5th percentile": (1, lambda s: eight_bit(s, (0.5, 99.5))),
    "8 bits, JPEG quality 75": (1, lambda s: jpeg(eight_bit(s))),
    "0.37 x + 100": (1, lambda s: [0.37 * x + 100 for x in s]),
    "half the size": (1, lambda s: resized(s, s[0].shape[0] // 2, s[0].shape[1] // 2)),
    "240 x 240": (1, lambda s: resized(s, 240, 240)),
    "blurred, sigma 1 pixel": (1, lambda s: [gaussian_filter(x.astype(np.float32), 1) for x in s]),
    "noise of 2 %": (1, noisy),
    "noise of 5 %": (1, lambda s: noisy(s, 0.05)),
    "slices in reverse": (1, lambda s: s[::-1]),
    "1 slice less at each end": (5, lambda s: s[1:-1]),
    "2 slices less at one end": (5, lambda s: s[2:]),
    "10 % less at one end": (10, lambda s: s[: -(len(s) // 10)]),
    "every second slice": (10, lambda s: s[::2]),
    "reverse, 2 less, 240 x 240, 8 bits (percentiles), JPEG, noise": (
        5,
        lambda s: noisy(jpeg(eight_bit(resized(s[2:][::-1], 240, 240), (0.5, 99.5)))),
    ),
    "a border of 20 % around": (1, lambda s: [np.pad(x, x.shape[0] // 5, constant_values=x.min()) for x in s]),
    "turned by 5 degrees": (1, lambda s: [np.asarray(Image.fromarray(x.astype(np.float32)).rotate(5)) for x in s]),
}


def find_series(data_dir: Path) -> list[tuple[str, str, list[Path]]]:
    """(patient, series, files in geometric order) of every series below a folder."""
    found = []
    for folder in sorted(p for p in [data_dir, *data_dir.rglob("*")] if p.is_dir()):
        files = sorted(folder.glob("*.dcm"))
        if files:
            found.append((folder.parent.name, folder.name, sorted(files, key=_location)))
        for file in sorted(folder.glob("*.nii*")):
            if "seg" not in file.name:
                found.append((folder.name, file.name.split(".")[0], [file]))
    return found


def _location(path: Path) -> float:
    header = pydicom.dcmread(
        path, stop_before_pixels=True, specific_tags=["ImagePositionPatient", "ImageOrientationPatient"]
    )
    orientation = np.array(header.ImageOrientationPatient, float)
    return float(np.cross(orientation[:3], orientation[3:]) @ np.array(header.ImagePositionPatient, float))


def signatures(files: list[Path]) -> tuple[int, dict[str, str]]:
    """How many slices a series has, and its signature under each alteration; "" for itself."""
    slices = [as_seen(s.values, s.orientation) * s.slope + s.intercept for s in read_slices(files, None)]
    out = {"": slices} | {k: change(list(slices)) for k, (least, change) in ALTERATIONS.items() if len(slices) >= least}
    return len(slices), {
        name: make_signature(np.stack([thumbnail(s) for s in changed])) for name, changed in out.items()
    }


@click.command(help=__doc__)
@click.argument(
    "data_dirs", metavar="DATA_DIR...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
@click.option("--workers", type=int, default=os.cpu_count(), help="Processes.")
def main(data_dirs: tuple[Path, ...], workers: int) -> None:
    """Read, alter, compare, print."""
    items, copies = [], defaultdict(list)
    for data_dir in data_dirs:
        series = find_series(data_dir)
        with ProcessPoolExecutor(workers) as pool:
            read = list(pool.map(signatures, [files for _, _, files in series], chunksize=4))
        for (patient_id, name, _), (n_slices, found) in zip(series, read, strict=True):
            own = read_signature(found.pop(""))
            items.append((data_dir.name, f"{data_dir.name}/{patient_id}", name, own))
            for alteration, text in found.items():
                copies[alteration].append((similarity(own, read_signature(text)), data_dir.name, patient_id, n_slices))
    click.echo("| copies | series | lowest | 1st percentile | median | the lowest is of |\n|---|---|---|---|---|---|")
    for alteration in ALTERATIONS:
        if not copies[alteration]:
            continue
        values = [value for value, *_ in copies[alteration]]
        low, first, middle = np.quantile(values, (0, 0.01, 0.5))
        _, source, _, n_slices = min(copies[alteration])
        of = f"{source}, {n_slices} slices"
        click.echo(f"| {alteration} | {len(values)} | {low:.3f} | {first:.3f} | {middle:.3f} | {of} |")
    click.echo("\n| different patients | pairs | median | 99 % | 99.9 % | highest |\n|---|---|---|---|---|---|")
    pairs, same = defaultdict(list), {}
    for i, (source_a, patient_a, name_a, a) in enumerate(items):
        for source_b, patient_b, name_b, b in items[i + 1 :]:
            if patient_a != patient_b:
                pairs[" and ".join(dict.fromkeys((source_a, source_b)))].append(similarity(a, b))
            elif source_a != "phantom":
                same[f"{name_a} and {name_b} of {patient_a}"] = similarity(a, b)
    for sources, values in pairs.items():
        middle, high, higher, top = np.quantile(values, (0.5, 0.99, 0.999, 1))
        click.echo(f"| {sources} | {len(values)} | {middle:.3f} | {high:.3f} | {higher:.3f} | {top:.3f} |")
    for names, value in same.items():
        click.echo(f"\nsame patient: {names}: {value:.3f}", nl=False)
    click.echo(f"\n\nlimit: {SIMILARITY_LIMIT}")
    random = np.random.default_rng(0)
    made = [_made(random) for _ in range(2340)]
    start = time.perf_counter()
    find_duplicates([(str(i), "T1w", "", text) for i, text in enumerate(made)])
    click.echo(f"find_duplicates on 2340 made series: {time.perf_counter() - start:.1f} s")


def _made(random: np.random.Generator) -> str:
    return make_signature(gaussian_filter(random.normal(size=(16, 64, 64)).astype(np.float32), (0, 3, 3)))


if __name__ == "__main__":
    main()
