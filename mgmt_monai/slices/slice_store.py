"""The slice store: the prepared slices of every series of one modality, in one file on the disk; and their features.

A store is a folder ``<modality>-<key>`` with ``slices.bin``, all slices one after the other, and ``index.json``, which
says what they are. The key is a digest of the manifest and of everything that the slices depend on, so that a store
is found again by those who need exactly these slices, and by nobody else. What a frozen network makes of them lies
beside it in the same form, ``features-<modality>-<key>`` with ``features.bin``; the network is part of its key.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from pickle import PicklingError
from typing import Any, Self

import joblib
from monai.transforms import Compose
from torch import Tensor
from tqdm import tqdm

from mgmt_monai.cohort.series import Series
from mgmt_monai.errors import why
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.slices.reading import read_series
from mgmt_monai.slices.stored_series import SCHEMA, StoredFolder, StoredSeries

PACKAGES = ("monai", "nibabel", "numpy", "scipy", "SimpleITK", "torch")
"""Whose versions are part of the key: another version may read or resample differently."""

CODE = ("transforms/*.py", "cohort/series.py", "cohort/files/*.py")
"""Whose text is part of the key too, below this package: what a slice looks like is decided there."""


class SliceStore:
    """The stores below a folder, for one modality of one manifest: made if absent, to be deleted when nothing trains.

    ``data`` are items of all patients, whatever their split: all of them go into a store together.
    """

    def __init__(self, folder: str | Path, modality: str, manifest_hash: str, data: Sequence[dict[str, Any]]) -> None:
        self.folder = Path(str(folder))
        self.modality = modality
        self.manifest_hash = manifest_hash
        self.data = data
        self._open: dict[str, dict[str, StoredSeries]] = {}
        self._of: dict[str, Self] = {}

    def of(self, modality: str) -> Self:
        """Of several modalities, the store of one."""
        if modality not in self._of:
            data = [item for item in self.data if item["modality"] == modality]
            self._of[modality] = type(self)(self.folder, modality, self.manifest_hash, data)
        return self._of[modality]

    def series(self, chain: Compose) -> dict[str, StoredSeries]:
        """Every series as the chain leaves it, by patient; built where no such store is there yet.

        Several processes may ask at once: one builds, the others wait. The chain is deterministic and turns a series
        into a volume ``(K, H, W)``, H and W the same for all.

        Raises:
            SlicesError: Series that cannot be read, slices of unlike sizes, a chain that no digest can be made of, or
                a folder that cannot take them.
        """
        return self._slices(chain)

    def features(self, chain: Compose, network: str, compute: Callable[[Tensor], Tensor]) -> dict[str, StoredSeries]:
        """What a frozen network makes of every slice, ``(K, 1, D)`` by patient; computed where nobody has done so.

        ``network`` tells it from every other by architecture, weights and code; ``compute`` makes features ``(K, D)``
        on the CPU of slices ``(K, 1, H, W)`` float32.

        Raises:
            SlicesError: As `series`.
        """
        slices = self._slices(chain)  # not `series`, in which several processes wait for each other
        key = hashlib.sha256(f"{self._key(chain)} {network}".encode()).hexdigest()

        def computed() -> Iterator[tuple[str, Tensor]]:
            for patient_id, stored in tqdm(slices.items(), desc=f"Computing {self.modality} features", unit="series"):
                yield patient_id, compute(stored[:].float().unsqueeze(1)).unsqueeze(1)

        return self._stored("features", key, chain, computed)

    def _slices(self, chain: Compose) -> dict[str, StoredSeries]:
        def read() -> Iterator[tuple[str, Tensor]]:
            for item, volume in read_series(self.data, chain, f"Preparing {self.modality} slices"):
                yield item["patient_id"], volume

        return self._stored("slices", self._key(chain), chain, read)

    def _stored(
        self, what: str, key: str, chain: Compose, produce: Callable[[], Iterator[tuple[str, Tensor]]]
    ) -> dict[str, StoredSeries]:
        if key not in self._open:
            name = self.modality if what == "slices" else f"{what}-{self.modality}"
            path = self.folder / f"{name}-{key[:16]}"
            about = {
                "manifest_hash": self.manifest_hash,
                "modality": self.modality,
                "transforms": [type(step).__name__ for step in chain.transforms],
            }
            try:
                patients = [item["patient_id"] for item in self.data]
                self._open[key] = StoredFolder(path, what, key, about, produce).series(patients)
            except OSError as error:
                raise SlicesError(
                    f"{path}: cannot keep the {what} there ({why(error)}). Name a folder with room for them, "
                    "--slice_store DIR, or keep them in memory with --slice_store ''."
                ) from error
        return self._open[key]

    @cached_property
    def _files(self) -> str:
        """As they were when they were first asked for: a training goes on with the slices that it began with."""
        return _files_digest(self.data)

    def _key(self, chain: Compose) -> str:
        try:
            settings = joblib.hash(list(chain.transforms), hash_name="sha1")
        except (PicklingError, AttributeError, TypeError) as error:
            raise SlicesError(
                "slice_store: expected transforms whose settings can be told apart, found one that holds a function "
                f"without a name ({error.args[0]}). Keep the slices in memory: --slice_store ''."
            ) from error
        parts = {
            "schema": SCHEMA,
            "manifest": self.manifest_hash,
            "files": self._files,
            "modality": self.modality,
            "settings": settings,
            "code": _code_digest(chain),
            "software": {package: version(package) for package in PACKAGES},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _files_digest(data: Sequence[dict[str, Any]]) -> str:
    """Of the files that the slices are read from: which slices of them, their sizes and times of change."""
    told: list[Any] = []
    for item in data:
        series = item["image"]
        if isinstance(series, Series):
            told.append((item["patient_id"], str(series.slices), str(series.frames), series.geometry_fault))
            told += [_file_state(file) for file in series.files]
        else:
            told.append((item["patient_id"], str(series)))
        if segmentation := item.get("segmentation"):
            told.append(_file_state(segmentation))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _file_state(file: Path) -> tuple[str, int, int] | None:
    try:
        state = file.stat()
    except OSError:  # whoever reads it says so
        return None
    return file.name, state.st_size, state.st_mtime_ns


def _code_digest(chain: Compose) -> str:
    """Of the files in which the transforms, and what they stand on, are written."""
    names = {type(step).__module__ for step in chain.transforms}
    files = {Path(file) for name in names if (file := getattr(sys.modules[name], "__file__", None))}
    package = Path(__file__).parents[1]
    files |= {file for pattern in CODE for file in package.glob(pattern)}
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()
