"""The slice store: the prepared slices of every series of one modality, in one file on the disk.

A store is a folder ``<modality>-<key>`` with ``slices.bin``, all slices one after the other, and ``index.json``, which
says what they are. The key is a digest of the manifest and of everything that the slices depend on, so that a store
is found again by those who need exactly these slices, and by nobody else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from pickle import PicklingError
from typing import Any
from uuid import uuid4
from zlib import crc32

import joblib
import numpy as np
import torch
from filelock import FileLock, Timeout
from monai.transforms import Compose
from torch import Tensor

from mgmt_monai.atomic import write_text
from mgmt_monai.cohort.series import Series
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.slices.reading import read_series

logger = logging.getLogger(__name__)

SCHEMA = 1
"""Of ``index.json`` and ``slices.bin``."""

PACKAGES = ("monai", "nibabel", "numpy", "scipy", "SimpleITK", "torch")
"""Whose versions are part of the key: another version may read or resample differently."""

CODE = ("transforms/*.py", "cohort/series.py", "cohort/files/*.py")
"""Whose text is part of the key too, below this package: what a slice looks like is decided there."""


@dataclass(frozen=True)
class StoredSeries:
    """The slices of one series in a store; each read goes to the file, so that no process holds on to them.

    Args:
        path: Of ``slices.bin``.
        first: Of its slices, counted over the whole file.
        n_slices: How many it has.
        height: Rows of a slice.
        width: Columns of a slice.
        dtype: Of a voxel, numpy's name.
    """

    path: Path
    first: int
    n_slices: int
    height: int
    width: int
    dtype: str

    def __len__(self) -> int:
        """How many slices it has."""
        return self.n_slices

    def __getitem__(self, places: slice) -> Tensor:
        """A copy of the slices at these places of the series, ``(k, H, W)``, as stored.

        Args:
            places: One after the other.

        Raises:
            SlicesError: The store is not there any more, or not whole.
        """
        start, stop, step = places.indices(self.n_slices)
        if step != 1:
            raise SlicesError(f"slices of a store are read one after the other, found a step of {step}.")
        dtype, size = np.dtype(self.dtype), self.height * self.width
        n_voxels = max(0, stop - start) * size
        try:
            offset = (self.first + start) * size * dtype.itemsize
            voxels = np.fromfile(self.path, dtype, count=n_voxels, offset=offset)
            whole = len(voxels) == n_voxels
        except OSError:
            whole = False
        if not whole:
            raise SlicesError(
                f"{self.path}: expected the slices that it held when this training began, found it gone or shorter. "
                "Start again: it is then built again."
            )
        return torch.from_numpy(voxels.reshape(-1, self.height, self.width))


class SliceStore:
    """The stores below a folder, for one modality of one manifest.

    Args:
        folder: Gets a folder a store; made if absent. It may be deleted whenever nothing trains.
        modality: Of the series.
        manifest_hash: Tells the patients and their files.
        data: Items of all patients, whatever their split: all of them go into a store together.
    """

    def __init__(self, folder: str | Path, modality: str, manifest_hash: str, data: Sequence[dict[str, Any]]) -> None:
        self.folder = Path(str(folder))
        self.modality = modality
        self.manifest_hash = manifest_hash
        self.data = data
        self._open: dict[str, dict[str, StoredSeries]] = {}

    def series(self, chain: Compose) -> dict[str, StoredSeries]:
        """Every series as the chain leaves it, by patient; built where no such store is there yet.

        Several processes may ask at once: one builds, the others wait.

        Args:
            chain: Deterministic; turns a series into a volume ``(K, H, W)``, H and W the same for all.

        Returns:
            Their slices.

        Raises:
            SlicesError: Series that cannot be read, slices of unlike sizes, a chain that no digest can be made of, or
                a folder that cannot take them.
        """
        key = self._key(chain)
        if key not in self._open:
            path = self.folder / f"{self.modality}-{key[:16]}"
            try:
                index = _read_index(path, key) or self._built(path, key, chain)
            except (OSError, NotImplementedError) as error:  # the second: a file system without locks
                reason = getattr(error, "strerror", None) or error
                raise SlicesError(
                    f"{path}: cannot keep the slices there ({reason}). Name a folder with room for them, "
                    "--slice_store DIR, or keep them in memory with --slice_store ''."
                ) from error
            self._open[key] = _series(path, index)
            n_slices = sum(map(len, self._open[key].values()))
            logger.info(
                f"slice store {path}: {len(self._open[key])} series, {n_slices} slices, "
                f"{(path / 'slices.bin').stat().st_size / 2**20:.0f} MiB"
            )
        return self._open[key]

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
            "files": _files_digest(self.data),
            "modality": self.modality,
            "settings": settings,
            "code": _code_digest(chain),
            "software": {package: version(package) for package in PACKAGES},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _built(self, path: Path, key: str, chain: Compose) -> dict[str, Any]:
        """The store's index, once this process or another has built it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / f".{path.name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.info(f"slice store {path}: another process is building it; waiting for that")
            lock.acquire()
        try:
            return _read_index(path, key) or self._build(path, key, chain)
        finally:
            lock.release()

    def _build(self, path: Path, key: str, chain: Compose) -> dict[str, Any]:
        """Write a store, whole or not at all; the caller holds its lock."""
        if (path / "index.json").exists():
            logger.warning(f"{path}: not a whole slice store; it is built again")
        for leftover in self.folder.glob(f".{path.name}.*.building"):
            shutil.rmtree(leftover)
        building = self.folder / f".{path.name}.{uuid4().hex}.building"
        building.mkdir()
        try:
            index = self._write(building, key, chain)
            shutil.rmtree(path, ignore_errors=True)  # a damaged one
            building.rename(path)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        logger.info(f"slice store built; this process took {peak / 2**20:.0f} MiB of memory at most")
        return index

    def _write(self, folder: Path, key: str, chain: Compose) -> dict[str, Any]:
        counts: list[int] = []
        shape: tuple[int, ...] | None = None
        dtype, checksum = "", 0
        with (folder / "slices.bin").open("wb") as stream:
            for item, volume in read_series(self.data, chain, f"Preparing {self.modality} slices"):
                array = volume.numpy()
                shape, dtype = shape or array.shape[1:], dtype or array.dtype.name
                if array.shape[1:] != shape or array.dtype.name != dtype:
                    raise SlicesError(
                        f"patient {item['patient_id']}, {self.modality}: expected slices of "
                        f"{shape} and {dtype} as before, found {array.shape[1:]} and {array.dtype.name}. Resize "
                        "them in the deterministic transforms."
                    )
                voxels = array.data.cast("B")
                checksum = crc32(voxels, checksum)
                stream.write(voxels)  # a full disk has a name here, unlike in ndarray.tofile
                counts.append(len(array))
            stream.flush()
            os.fsync(stream.fileno())
        index = {
            "schema": SCHEMA,
            "key": key,
            "manifest_hash": self.manifest_hash,
            "modality": self.modality,
            "transforms": [type(step).__name__ for step in chain.transforms],
            "shape": list(shape or (0, 0)),
            "dtype": dtype or "float32",
            "crc32": checksum,
            "series": [
                {"patient_id": item["patient_id"], "n_slices": n} for item, n in zip(self.data, counts, strict=True)
            ],
        }
        write_text(folder / "index.json", json.dumps(index, indent=1))
        return index


def _read_index(path: Path, key: str) -> dict[str, Any] | None:
    """What the store holds; None where there is none, or not the whole of it."""
    try:
        index: dict[str, Any] = json.loads((path / "index.json").read_text(encoding="utf-8"))
        n_slices = sum(int(series["n_slices"]) for series in index["series"])
        n_bytes = n_slices * int(np.prod(index["shape"])) * np.dtype(index["dtype"]).itemsize
        data = path / "slices.bin"
        whole = index["key"] == key and data.stat().st_size == n_bytes and _checksum(data) == index["crc32"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        whole = False
    return index if whole else None


def _checksum(path: Path) -> int:
    """CRC-32 of a file."""
    found = 0
    with path.open("rb") as stream:
        while block := stream.read(2**24):
            found = crc32(block, found)
    return found


def _series(path: Path, index: dict[str, Any]) -> dict[str, StoredSeries]:
    found, first = {}, 0
    height, width = index["shape"]
    for series in index["series"]:
        found[series["patient_id"]] = StoredSeries(
            path / "slices.bin", first, series["n_slices"], height, width, index["dtype"]
        )
        first += series["n_slices"]
    return found


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
