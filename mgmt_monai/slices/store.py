"""The slice store: the prepared slices of every series of one modality, in one file on the disk.

A store is a folder ``<modality>-<key>`` with ``slices.bin``, all slices one after the other, and ``index.json``, which
says what they are. The key is a digest of the manifest and of everything that the slices depend on, so that a store
is found again by those who need exactly these slices, and by nobody else.
"""

from __future__ import annotations

import hashlib
import json
import logging
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

import joblib
import numpy as np
import torch
from filelock import FileLock
from monai.transforms import Compose
from torch import Tensor

from mgmt_monai.atomic import write_text
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.slices.reading import read_series

logger = logging.getLogger(__name__)

SCHEMA = 1
"""Of ``index.json`` and ``slices.bin``."""

PACKAGES = ("monai", "nibabel", "numpy", "SimpleITK", "torch")
"""Whose versions are part of the key: another version may read or resample differently."""


@dataclass(frozen=True)
class StoredSeries:
    """The slices of one series in a store; each read maps them anew, so that no process holds on to them.

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
        """A copy of the slices at these places of the series, ``(k, H, W)``, as stored."""
        start, stop, _ = places.indices(self.n_slices)
        dtype = np.dtype(self.dtype)
        mapped = np.memmap(
            self.path,
            dtype=dtype,
            mode="r",
            offset=(self.first + start) * self.height * self.width * dtype.itemsize,
            shape=(max(0, stop - start), self.height, self.width),
        )
        return torch.from_numpy(np.array(mapped))


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
                self.folder.mkdir(parents=True, exist_ok=True)
                with FileLock(self.folder / f".{path.name}.lock"):
                    index = _read_index(path, key)
                    if index is None:
                        index = self._build(path, key, chain)
            except (OSError, NotImplementedError) as error:  # the second: a file system without locks
                reason = getattr(error, "strerror", None) or error
                raise SlicesError(
                    f"{path}: cannot keep the slices there ({reason}). Make room, name another folder "
                    "with --slice_store DIR, or keep them in memory with --slice_store ''."
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
            "modality": self.modality,
            "settings": settings,
            "code": _code_digest(chain),
            "software": {package: version(package) for package in PACKAGES},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _build(self, path: Path, key: str, chain: Compose) -> dict[str, Any]:
        """Write a store, whole or not at all; the caller holds its lock."""
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
        dtype = ""
        with (folder / "slices.bin").open("wb") as stream:
            for volume in read_series(self.data, chain, f"Preparing {self.modality} slices"):
                array = volume.numpy()
                shape, dtype = shape or array.shape[1:], dtype or array.dtype.name
                if array.shape[1:] != shape or array.dtype.name != dtype:
                    raise SlicesError(
                        f"patient {self.data[len(counts)]['patient_id']}, {self.modality}: expected slices of "
                        f"{shape} and {dtype} as before, found {array.shape[1:]} and {array.dtype.name}. Resize "
                        "them in the deterministic transforms."
                    )
                array.tofile(stream)
                counts.append(len(array))
        index = {
            "schema": SCHEMA,
            "key": key,
            "manifest_hash": self.manifest_hash,
            "modality": self.modality,
            "transforms": [type(step).__name__ for step in chain.transforms],
            "shape": list(shape or (0, 0)),
            "dtype": dtype or "float32",
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
        whole = index["key"] == key and (path / "slices.bin").stat().st_size == n_bytes
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        logger.warning(f"{path}: not a whole slice store; it is built again")
        return None
    return index


def _series(path: Path, index: dict[str, Any]) -> dict[str, StoredSeries]:
    found, first = {}, 0
    height, width = index["shape"]
    for series in index["series"]:
        found[series["patient_id"]] = StoredSeries(
            path / "slices.bin", first, series["n_slices"], height, width, index["dtype"]
        )
        first += series["n_slices"]
    return found


def _code_digest(chain: Compose) -> str:
    """Of the files in which the transforms are written."""
    names = {type(step).__module__ for step in chain.transforms}
    files = sorted({file for name in names if (file := getattr(sys.modules[name], "__file__", None))})
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
