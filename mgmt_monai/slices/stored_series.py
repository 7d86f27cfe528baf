"""What is stored of every series of one modality, in one file on the disk that appears whole or not at all."""

import hashlib
import json
import logging
import resource
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from mgmt_monai.atomic import sync, write_text
from mgmt_monai.json_file import parse_json
from mgmt_monai.locked_folder import HeldError, Lock
from mgmt_monai.machine import check_machine
from mgmt_monai.slices.errors import SlicesError

logger = logging.getLogger(__name__)

PATIENCE_S = 3600.0
"""How long a store that another process builds may stay as it is, in seconds."""

_SHOWN_EVERY_S, _LOOK_S = 60.0, 0.2

SCHEMA = 3
"""Of ``index.json`` and the file beside it."""


@dataclass(frozen=True)
class StoredSeries:
    """The slices of one series in a store; each read goes to the file, so that no process holds on to them.

    ``first`` is counted over the whole file; ``dtype``, of a voxel, is numpy's name.
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

        Raises:
            SlicesError: The store is not there any more, or not whole.
            MachineError: The machine does not give it.
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
        except OSError as error:
            check_machine(error, self.path)
            whole = False
        if not whole:
            raise SlicesError(
                f"{self.path}: expected the slices that it held when this training began, found it gone or shorter. "
                "Start again: it is then built again."
            )
        return torch.from_numpy(voxels.reshape(-1, self.height, self.width))


@dataclass(frozen=True)
class StoredFolder:
    """A folder with ``<what>.bin``, what is stored of all series one after the other, and ``index.json``.

    ``what`` is ``slices``, or ``features`` of them; ``about`` is what else the index says; ``produce`` yields each
    patient with what is stored of the series, ``(K, H, W)``, H and W the same for all.
    """

    path: Path
    what: str
    key: str
    about: dict[str, Any]
    produce: Callable[[], Iterable[tuple[str, Tensor]]]

    @property
    def data(self) -> Path:
        """The file beside the index."""
        return self.path / f"{self.what}.bin"

    def series(self, patients: Collection[str]) -> dict[str, StoredSeries]:
        """Every series by patient; written where they are not there yet, by this process or by another.

        Args:
            patients: All of them; the index has a digest of each, for it may lie where others read.

        Raises:
            SlicesError: Arrays of unlike sizes; or as ``produce``.
            OSError: The folder cannot take them.
        """
        index = self._read() or self._built()
        found, first, names = {}, 0, {self._digest(patient): patient for patient in patients}
        height, width = index["shape"]
        for series in index["series"]:
            n_slices = series["n_slices"]
            found[names[series["patient"]]] = StoredSeries(self.data, first, n_slices, height, width, index["dtype"])
            first += n_slices
        logger.info(
            f"{self.what.removesuffix('s')} store {self.path}: {len(found)} series, {first} slices, "
            f"{self.data.stat().st_size / 2**20:.0f} MiB"
        )
        return found

    def _digest(self, patient_id: str) -> str:
        """Tells a patient from the others of the manifest."""
        return hashlib.sha256(f"{self.about['manifest_hash']}\0{patient_id}".encode()).hexdigest()[:16]

    def _read(self) -> dict[str, Any] | None:
        """What the index says; None where there is none, or not the whole of what it tells of."""
        try:
            index: dict[str, Any] = parse_json((self.path / "index.json").read_bytes())
            n_slices = sum(int(series["n_slices"]) for series in index["series"])
            n_bytes = n_slices * int(np.prod(index["shape"])) * np.dtype(index["dtype"]).itemsize
            whole = index["key"] == self.key and self.data.stat().st_size == n_bytes
            whole = whole and index["index_crc32"] == _index_checksum(index)  # so that no two patients are swapped
            whole = whole and _checksum(self.data) == index["crc32"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            whole = False
        return index if whole else None

    def _built(self) -> dict[str, Any]:
        """The index, once this process or another has built it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(self.path.parent, f"{self.path.name}.")
        self._wait_for(lock)
        try:
            return self._read() or self._build()
        finally:
            lock.release()

    def _wait_for(self, lock: Lock) -> None:
        """Take the lock, or wait while the store grows under another process's hands."""
        looked = grown = time.monotonic()
        size, told = -1, False
        while True:
            try:
                return lock.acquire()
            except HeldError as held:
                now, before = time.monotonic(), size
                with suppress(FileNotFoundError):  # it has just come to its end
                    size = sum(file.stat().st_size for file in self.path.parent.glob(f".{self.path.name}.*.building/*"))
                grown = now if size != before else grown
                if now - grown > (PATIENCE_S if held.proven else PATIENCE_S / 6):
                    raise SlicesError(
                        f"{self.path}: another process{held.holder} builds it, and nothing has come of it for "
                        f"{(now - grown) / 60:.0f} minutes. End that process.{held.remedy}"
                    ) from held
                if not told or now - looked > _SHOWN_EVERY_S:
                    waited = f" ({size / 2**20:.0f} MiB so far)" if told else ""
                    logger.info(f"{self.path}: another process{held.holder} is building it; waiting for that{waited}")
                    looked, told = now, True
            time.sleep(_LOOK_S)

    def _build(self) -> dict[str, Any]:
        """Write the folder, whole or not at all; the caller holds its lock."""
        path = self.path
        if (path / "index.json").exists():
            logger.warning(f"{path}: not a whole {self.what.removesuffix('s')} store; it is built again")
        for leftover in path.parent.glob(f".{path.name}.*.building"):
            shutil.rmtree(leftover)
        building = path.parent / f".{path.name}.{uuid4().hex}.building"
        building.mkdir()
        try:
            index = self._write(building)
            shutil.rmtree(path, ignore_errors=True)  # a damaged one
            building.rename(path)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        logger.info(
            f"{self.what.removesuffix('s')} store built; this process took {peak / 2**20:.0f} MiB of memory at most"
        )
        return index

    def _write(self, folder: Path) -> dict[str, Any]:
        series: list[dict[str, Any]] = []
        shape: tuple[int, ...] | None = None
        dtype, checksum = "", 0
        with (folder / self.data.name).open("wb") as stream:
            for patient_id, stack in self.produce():
                array = stack.numpy()
                shape, dtype = shape or array.shape[1:], dtype or array.dtype.name
                if array.shape[1:] != shape or array.dtype.name != dtype:
                    raise SlicesError(
                        f"patient {patient_id}, {self.about['modality']}: expected {self.what} of "
                        f"{shape} and {dtype} as before, found {array.shape[1:]} and {array.dtype.name}. Resize "
                        "them in the deterministic transforms."
                    )
                voxels = array.data.cast("B")
                checksum = crc32(voxels, checksum)
                stream.write(voxels)  # a full disk has a name here, unlike in ndarray.tofile
                series.append({"patient": self._digest(patient_id), "n_slices": len(array)})
            stream.flush()
            sync(stream.fileno())
        index = {
            "schema": SCHEMA,
            "key": self.key,
            **self.about,
            "shape": list(shape or (0, 0)),
            "dtype": dtype or "float32",
            "crc32": checksum,
            "series": series,
        }
        index["index_crc32"] = _index_checksum(index)
        write_text(folder / "index.json", json.dumps(index, indent=1))
        return index


def _index_checksum(index: dict[str, Any]) -> int:
    """CRC-32 of what an index says, but for this number itself."""
    content = {key: value for key, value in index.items() if key != "index_crc32"}
    return crc32(json.dumps(content, sort_keys=True).encode())


def _checksum(path: Path) -> int:
    """CRC-32 of a file."""
    found = 0
    with path.open("rb") as stream:
        while block := stream.read(2**24):
            found = crc32(block, found)
    return found
