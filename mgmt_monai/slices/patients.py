"""A data set of patients: of each, the slices of whichever modalities are there."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from monai.transforms import Compose
from torch import Tensor

from mgmt_monai.cohort.patients import items_of
from mgmt_monai.slices.dataset import SliceDataset
from mgmt_monai.slices.slice_store import SliceStore


class PatientDataset(Dataset):
    """Patients, each with the slices of its series, which are kept as `SliceDataset` keeps them.

    What a training step sees of a patient is drawn by seed, epoch and patient alone: the same in every process and when
    it is resumed. Asked without an epoch, all slices of all series are given.

    Args:
        data: Items ``{"image": {modality: Series}, "label": 0 | 1, "patient_id": str}``, one a patient.
        transform: The chain of a series, deterministic.
        modalities: Their names; a batch's ``modality`` counts in them.
        seed: Of what is drawn.
        description: Of the progress bars where series are read into memory.
        store: Of the series of all modalities, each of which gets a store of its own as its own training has it; None
            keeps them in memory.
        series_slices: How many slices of a series a training step sees at most; 0: all.
        modality_dropout: Probability with which a training step does not see a series; of each patient it sees one.
        augment_by: ``patient``: what augments is drawn once for all slices of a patient; ``slice``: for each.

    Raises:
        SlicesError: As `SliceDataset`.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Compose,
        modalities: Sequence[str],
        seed: int = 0,
        description: str = "Reading slices",
        store: SliceStore | None = None,
        series_slices: int = 0,
        modality_dropout: float = 0.0,
        augment_by: str = "patient",
    ) -> None:
        super().__init__(data, transform)
        self.modalities = tuple(modalities)
        self.seed = int(seed)
        self.series_slices = int(series_slices)
        self.modality_dropout = float(modality_dropout)
        self.augment_by = augment_by
        place = {item["patient_id"]: index for index, item in enumerate(data)}
        #: By modality, its slices, and of each patient which series of them is the patient's.
        self.parts: list[tuple[SliceDataset, dict[int, int]]] = []
        self._shape: Sequence[int] = ()
        #: By modality, where among its slices those of each series are; and how many of all come before.
        self._places: list[list[range]] = []
        self._firsts: list[int] = []
        first = len(data)
        for modality in self.modalities:
            series = items_of(data, modality)
            of = None if store is None else store.of(modality)
            slices = SliceDataset(series, transform, seed, f"{description}, {modality}", of)
            self.parts.append((slices, {place[item["patient_id"]]: n for n, item in enumerate(series)}))
            ends = np.cumsum(slices.slice_counts).tolist()
            self._places.append([range(end - n, end) for end, n in zip(ends, slices.slice_counts, strict=True)])
            self._firsts.append(first)
            self._shape = slices.batch([])["image"].shape[1:] if len(slices) else self._shape
            first += len(slices)

    @property
    def patient_ids(self) -> list[str]:
        """The patients, which ``patient_index`` counts in."""
        return [item["patient_id"] for item in self.data]

    @property
    def slice_counts(self) -> list[int]:
        """How many items each patient is: one."""
        return [1] * len(self)

    def features(self, network: str, compute: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """The mean features of each patient, ``(1, D)``: over the slices of each series, then over the series.

        Arguments as of `SliceDataset.features`, which computes or reads them.

        Raises:
            SlicesError: As it.
        """
        sums: list[Tensor] = [torch.zeros(())] * len(self)
        counts = [0] * len(self)
        for slices, series_of in self.parts:
            for patient, of_series in zip(series_of, slices.features(network, compute), strict=True):
                sums[patient] = sums[patient] + of_series.double().mean(dim=0)
                counts[patient] += 1
        yield from ((total / n)[None] for total, n in zip(sums, counts, strict=True))

    def __len__(self) -> int:
        """How many patients there are."""
        return len(self.data)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Tensor]:
        """One patient, as `batch` has it."""
        return self.batch([index])

    def batch(self, places: Sequence[int | tuple[int, int]]) -> dict[str, Tensor]:
        """Several patients.

        Args:
            places: Of the patients, or ``(epoch, index)`` in a training, whose epochs count from 1; none give tensors
                whose first axis is 0.

        Returns:
            Of all slices, N of them: ``image`` (N, 1, H, W) float32, ``row`` (N,), the place of the patient in the
            batch, ``modality`` (N,), and ``augmentation`` (N,), what tells its augmentation in the patient's epoch. Of
            the patients: ``label`` (B, 1) float32, ``patient_index``, ``slice_index`` (0), ``epoch`` and ``index``
            (B,).
        """
        asked = [place if isinstance(place, tuple) else (0, place) for place in places]
        seen = [(row, *one) for row, place in enumerate(asked) for one in self._seen(*place)]
        images = torch.empty(sum(len(chosen) for *_, chosen in seen), *self._shape)
        told: list[tuple[int, int, int]] = []
        for row, number, chosen in seen:
            images[len(told) : len(told) + len(chosen)] = self.parts[number][0].batch(chosen)["image"]
            first, step = (asked[row][1], 0) if self.augment_by == "patient" else (self._firsts[number], 1)
            told += [(row, number, first + step * place) for place in chosen]
        of_slices = torch.tensor(told, dtype=torch.int64).reshape(-1, 3).contiguous()
        indices = torch.tensor([index for _, index in asked], dtype=torch.int64)
        return {
            "image": images,
            "row": of_slices[:, 0].clone(),
            "modality": of_slices[:, 1].clone(),
            "augmentation": of_slices[:, 2].clone(),
            "label": torch.tensor([float(self.data[index]["label"]) for _, index in asked]).reshape(-1, 1),
            "patient_index": indices,
            "slice_index": torch.zeros_like(indices),
            "epoch": torch.tensor([epoch for epoch, _ in asked], dtype=torch.int64),
            "index": indices.clone(),
        }

    def _seen(self, epoch: int, index: int) -> list[tuple[int, list[int]]]:
        """Of a patient in an epoch: modalities, and which of the modality's slices, rising."""
        there = [number for number, (_, series_of) in enumerate(self.parts) if index in series_of]
        if epoch and self.modality_dropout:
            random = np.random.default_rng([self.seed, epoch, index])
            kept = [number for number, drawn in zip(there, random.random(len(there)), strict=True)
                    if drawn >= self.modality_dropout]  # fmt: skip
            there = kept or [there[int(random.integers(len(there)))]]
        found = []
        for number in there:
            places: Sequence[int] = self._places[number][self.parts[number][1][index]]
            if epoch and 0 < self.series_slices < len(places):
                random = np.random.default_rng([self.seed, epoch, index, number])
                places = sorted(random.choice(places, self.series_slices, replace=False).tolist())
            found.append((number, list(places)))
        return found
