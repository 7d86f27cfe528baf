"""How often a model abstains, rightly and wrongly, on a phantom and on what is none.

    python docs/abstention_rates.py

Makes a phantom, trains T1w on it with small pictures, exports the bundle, and predicts series like the training's, of
other modalities, of no brain, and damaged. Prints the tables of docs/explanation/abstention.md. On two cores it takes
about a quarter of an hour.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import numpy as np

# What is heavy is imported where it is used: the processes that read series import this file too.
if TYPE_CHECKING:
    from mgmt_monai.inference.model import BundleModel

ROOT = Path(__file__).parents[1]

TRAINING = {
    "image_size": 96,
    "transfer_epochs": 5,
    "fine_tune_epochs": 4,
    "transfer_batch_size": 16,
    "fine_tune_batch_size": 16,
    "transfer_learning_rate": 0.001,
    "fine_tune_learning_rate": 0.0001,
    "test_fraction": 0.2,
    "train_fraction": 0.7,
}
"""Minutes instead of hours; enough validation patients that 95 % can be promised to lie within the limit."""

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Volume ``(slices, rows, columns)`` of stored values, as float, to another of the same shape."""


@dataclass
class Rate:
    """One row of a table.

    Args:
        title: Of the set.
        n: Series in it.
        checks: On how many a check of the data made the model abstain.
        distance: How many lay farther than the limit, whatever the checks said.
        abstained: On how many it abstained for any reason.
        median: Of the distances over the limit; None where none was computed.
    """

    title: str
    n: int
    checks: int
    distance: int
    abstained: int
    median: float | None

    def line(self) -> str:
        """It as Markdown."""
        shares = " | ".join(f"{100 * count / self.n:.0f} %" for count in (self.abstained, self.checks, self.distance))
        return f"| {self.title} | {self.n} | {shares} | {'-' if self.median is None else f'{self.median:.1f}'} |"


def noise(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rician noise, as of air."""
    return np.hypot(*random.normal(0, 150, (2, *volume.shape)))


def water(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A bottle of water: a bright ellipsoid with the noise of air around."""
    return noise(volume, random) * 0.2 + 1200 * (_radius(volume.shape) < 0.7)


def stripes(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Waves of a random direction."""
    across = _grid(volume.shape) * random.normal(0, 12, 3)[:, None, None, None]
    return 600 * (1 + np.sin(across.sum(axis=0))) + 0.2 * noise(volume, random)


def checkerboard(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cubes, bright and dark."""
    fields = np.floor(_grid(volume.shape) * random.integers(4, 9)).sum(axis=0)
    return 1000 * (fields % 2) + 0.2 * noise(volume, random)


def noise_blocks(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A third of each slice overwritten with noise, as after a failed transfer."""
    changed = volume.copy()
    third = volume.shape[1] // 3
    changed[:, third : 2 * third] = random.uniform(0, volume.max(), changed[:, third : 2 * third].shape)
    return changed


def clipped(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """All tissue above its own median cut off at it."""
    return np.minimum(volume, np.median(volume[volume > 0.1 * volume.max()]))


def inverted(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Black for white, the air too."""
    return volume.max() - volume


def spike(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One wrong point in each slice's k-space: stripes over the whole image."""
    spectrum = np.fft.fft2(volume)
    row, column = (int(random.integers(side // 12, side // 5)) for side in volume.shape[1:])
    spectrum[:, row, column] += 2 * np.abs(spectrum[:, 0, 0])
    return np.abs(np.fft.ifft2(spectrum))


def ghosts(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every second line of k-space weakened, as by a moving head: copies half an image away."""
    spectrum = np.fft.fft2(volume)
    spectrum[:, 1::2] *= 0.3
    return np.abs(np.fft.ifft2(spectrum))


def noisy(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noise of a third of the brightest tissue on everything."""
    level = np.percentile(volume, 99) / 3
    return np.hypot(volume + random.normal(0, level, volume.shape), random.normal(0, level, volume.shape))


def blurred(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A head that moved throughout: no detail below a centimetre."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(volume, (0, 6, 6))


def blank_half(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The second half of the slices empty."""
    changed = volume.copy()
    changed[len(volume) // 2 :] = 0
    return changed


def shuffled(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Slices in a random order, as by wrong positions in the headers."""
    return volume[random.permutation(len(volume))]


NO_BRAIN: dict[str, Change] = {
    "noise": noise, "a bottle of water": water, "stripes": stripes, "checkerboard": checkerboard,
}  # fmt: skip
DAMAGED: dict[str, Change] = {
    "a third of each slice noise": noise_blocks,
    "tissue clipped at its median": clipped,
    "black for white": inverted,
    "a spike in k-space": spike,
    "ghosts": ghosts,
    "strong noise": noisy,
    "strong blur": blurred,
    "half of the slices blank": blank_half,
    "slices in random order": shuffled,
}
SEQUENCE_TAGS = (
    "SeriesDescription", "ProtocolName", "RepetitionTime", "EchoTime", "InversionTime", "ContrastBolusAgent",
    "ScanningSequence", "SequenceVariant", "SequenceName", "ImageType",
)  # fmt: skip
OTHERS = ("T1wCE", "T2w", "FLAIR")


@click.command()
@click.option("--patients", default=160, show_default=True, help="Of the phantom that is trained on.")
@click.option("--new", "n_new", default=60, show_default=True, help="New patients of the phantom.")
@click.option("--changed", "n_changed", default=30, show_default=True, help="Of them, whose series are changed.")
@click.option("--bundle", type=click.Path(path_type=Path), help="A T1w bundle that is there, instead of training one.")
@click.option("--real", type=click.Path(path_type=Path), help="A folder of DICOM series that are no phantom.")
@click.option("--work", type=click.Path(path_type=Path), help="Where to work and leave everything  [nowhere]")
def main(patients: int, n_new: int, n_changed: int, bundle: Path | None, real: Path | None, work: Path | None) -> None:
    """Print how often a model abstains on each set of series."""
    with TemporaryDirectory() as temporary:
        place = work or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        bundle = bundle or train(place, patients)
        new = place / "new"
        if not new.exists():
            call("phantom", new, "--patients", n_new, "--effect", 3, "--seed", 1)
        click.echo("| series | n | abstained | by the checks | by the distance | median distance / limit |")
        click.echo("|---|---|---|---|---|---|")
        for one in measure(bundle, sorted((new / "train").iterdir())[:n_new], n_changed, real, place):
            click.echo(one.line())


def train(place: Path, patients: int) -> Path:
    """Make a phantom, train on it, and export the model.

    Args:
        place: Where to.
        patients: How many.

    Returns:
        The bundle.
    """
    data, runs, bundle = place / "phantom", place / "runs", place / "mgmt_t1w"
    if bundle.exists():
        return bundle
    if not data.exists():
        call("phantom", data, "--patients", patients, "--effect", 3, "--seed", 0)
    settings = {**TRAINING, "dataset_dir": data, "output_dir": runs}
    overrides = [word for key, value in settings.items() for word in (f"--{key}", value)]
    call("train", ROOT / "bundles" / "t1w.json", *overrides)
    (run,) = (path.parent for path in runs.glob("t1w/*/run.json"))
    call("bundle", "export", run, "--out", place)
    return bundle


def measure(bundle: Path, studies: Sequence[Path], n_changed: int, real: Path | None, place: Path) -> Iterator[Rate]:
    """The rates of every set.

    Args:
        bundle: Of T1w.
        studies: New patients of the phantom.
        n_changed: How many of them are changed.
        real: Real series, or None.
        place: Where changed series are written.

    Yields:
        The table's rows.
    """
    from mgmt_monai.inference.model import open_models

    changed = studies[:n_changed]
    with open_models([bundle]) as (model,):
        yield rate("new patients of the phantom", [study / "T1w" for study in studies], model)
        for kept, how in ((True, "tags as they are"), (False, "tags of a T1w series")):
            for name in OTHERS:
                yield rate(f"{name}, {how}", [relabelled(study, name, place, kept) for study in changed], model)
        for name, change in NO_BRAIN.items():
            yield rate(name, rewritten(changed, change, place), model)
        if real is not None:
            folders = sorted({path.parent for path in real.rglob("*") if is_dicom(path)})
            yield rate("real DICOM series, no phantom", folders, model)
        for name, change in DAMAGED.items():
            yield rate(name, rewritten(changed, change, place), model)


def rate(title: str, series: Sequence[Path], model: BundleModel) -> Rate:
    """How a model takes to series that are given to it as its own.

    Args:
        title: Of the set.
        series: Folders.
        model: Of T1w.

    Returns:
        The row.
    """
    from mgmt_monai.inference.abstain import ROUNDING, input_reasons
    from mgmt_monai.inference.errors import InferenceError
    from mgmt_monai.inference.predict_study import predict_study

    assert model.reference is not None
    limit = model.reference.threshold
    distances, n_checks, n_abstained = [], 0, 0
    for folder in series:
        named = {model.modality: folder}
        one = predict_study(folder, [model], named, progress_bar=False)
        n_abstained += one.prediction.probability is None
        studied = one.answers[0].series
        refused = bool(input_reasons(model.modality, studied, []))
        n_checks += refused
        if one.prediction.series[0].distance is not None:
            distances.append(one.prediction.series[0].distance)
        elif studied is not None and studied.series is not None:
            try:  # the checks came first: what would the distance have said?
                distances.append(model.reference.distance(model.features(model.slices(studied.series))))
            except InferenceError:
                continue
    return Rate(
        title,
        len(series),
        n_checks,
        sum(distance > limit * (1 + ROUNDING) for distance in distances),
        n_abstained,
        float(np.median(distances)) / limit if distances else None,
    )


def relabelled(study: Path, modality: str, place: Path, keep_tags: bool) -> Path:
    """A series of another modality, with its own tags or with those of the patient's T1w."""
    if keep_tags:
        return study / modality
    import pydicom

    out = fresh(place / "changed" / study.name / f"{modality}-as-T1w")
    like = pydicom.dcmread(min((study / "T1w").iterdir()), stop_before_pixels=True)
    for path in sorted((study / modality).iterdir()):
        dataset = pydicom.dcmread(path)
        for tag in SEQUENCE_TAGS:
            if tag in like:
                setattr(dataset, tag, getattr(like, tag))
            elif tag in dataset:
                delattr(dataset, tag)
        dataset.save_as(out / path.name)
    return out


def rewritten(studies: Sequence[Path], change: Change, place: Path) -> list[Path]:
    """The studies' T1w series with other pixels under the same headers."""
    import pydicom

    from mgmt_monai.inference.study import find_study

    folders = []
    for number, study in enumerate(studies):
        found = next(one for one in find_study(study).series if one.modality == "T1w")
        datasets = [pydicom.dcmread(path) for path in found.directory.iterdir()]
        first = np.array(datasets[0].ImageOrientationPatient, dtype=float)
        normal = np.cross(first[:3], first[3:])
        datasets.sort(key=lambda dataset: float(np.dot(normal, np.array(dataset.ImagePositionPatient, dtype=float))))
        volume = np.stack([dataset.pixel_array for dataset in datasets]).astype(float)
        values = change(volume, np.random.default_rng([number, len(volume)]))
        out = fresh(place / "changed" / study.name / change.__name__)
        for dataset, pixels in zip(datasets, values, strict=True):
            dataset.PixelData = np.clip(np.round(pixels), 0, 2**dataset.BitsStored - 1).astype("<u2").tobytes()
            dataset.save_as(out / f"Image-{dataset.InstanceNumber}.dcm")
        folders.append(out)
    return folders


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def fresh(folder: Path) -> Path:
    """The folder, new and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def call(*words: Any) -> None:
    """Run ``mgmt-monai``; what it prints goes to stderr."""
    command = [sys.executable, "-m", "mgmt_monai.cli.main", *map(str, words)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def _grid(shape: tuple[int, ...]) -> np.ndarray:
    """Coordinates from -1 to 1, ``(3, slices, rows, columns)``."""
    return np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij"))


def _radius(shape: tuple[int, ...]) -> np.ndarray:
    return np.sqrt((_grid(shape) ** 2).sum(axis=0))


if __name__ == "__main__":
    main()
