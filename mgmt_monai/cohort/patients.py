"""A cohort as a training of several modalities sees it: the patients that have at least one of them."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.manifest import phantom_truth, series_reference
from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.cohort.records import SPLITS, PatientRecord
from mgmt_monai.cohort.series import MODALITIES

logger = logging.getLogger(__name__)

FUSION, LATE_FUSION = "fusion", "fusion-late"
"""Stand where the tables of one modality's training name that: a network on all, and a model of networks' answers."""


def fused_modalities(modalities: str) -> tuple[str, ...]:
    """The modalities that a setting names, as ``T1wCE+FLAIR``.

    Raises:
        CohortError: Fewer than two, one that does not exist, or one named twice.

    Example:
        >>> fused_modalities("T1wCE+FLAIR")
        ('T1wCE', 'FLAIR')
    """
    found = tuple(str(modalities).split("+"))
    if len(found) < 2 or len({*found}) < len(found) or not {*found} <= {*MODALITIES}:
        raise CohortError(
            f"modalities: expected two or more of {', '.join(MODALITIES)} with + between, each once, found "
            f"{modalities!r}. Name them as T1wCE+FLAIR."
        )
    return found


def items_of(patients: Iterable[dict[str, Any]], modality: str) -> list[dict[str, Any]]:
    """The series of one modality, as `ModalityCohort.items` has them, of patients as `PatientCohort.items` has them."""
    return [
        {**item, "image": item["image"][modality], "modality": modality}
        for item in patients
        if modality in item["image"]
    ]


class PatientCohort(ModalityCohort):
    """The patients of several modalities; arguments as of `ModalityCohort`, ``modality`` as ``T1wCE+FLAIR``.

    A patient takes part with at least one series. The cohort's ``modality`` is `FUSION`; ``image`` of its items is a
    series by modality, of those that are there.
    """

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that are fused."""
        return fused_modalities(self._named)

    def members(self, split: str) -> list[PatientRecord]:
        """The patients of a split that have a series, in the manifest's order."""
        return [p for p in self.manifest.patients if p.split == split and self._present(p)]

    def series_items(self) -> list[dict[str, Any]]:
        """Each series of everybody, as `ModalityCohort.items` of its modality has it: what the slice stores keep."""
        return [
            item for modality in self.modalities for split in SPLITS for item in items_of(self.items(split), modality)
        ]

    def reachable_auc(self) -> float | None:
        """The best AUC that anyone can reach with all modalities of a phantom; None where it is not known."""
        known = self.manifest.made or phantom_truth(self.dataset_dir)
        return known.get("reachable_auc") if {*self.modalities} == {*MODALITIES} else None

    def _image(self, patient: PatientRecord) -> Any:
        return {m: series_reference(patient, m, self.dataset_dir) for m in self.modalities if m in patient.series}

    def _heads(self) -> dict[str, Any]:
        """What of the heads the manifest counts, of all modalities together."""
        told = [self.manifest.heads.get(modality, {}) for modality in self.modalities]
        counts = {key for of in told for key in of} - {"how"}
        hows = [of.get("how") for of in told]
        how = hows[0] if all(one == hows[0] for one in hows) else None
        return {key: sum(of.get(key, 0) for of in told) for key in counts} | {"how": how} if counts else {}

    def _present(self, patient: PatientRecord) -> bool:
        return any(modality in patient.series for modality in self.modalities)

    def _check_modality(self) -> None:
        self._named, self.modality = self.modality, FUSION
        # A note, which is no part of the hash: whoever asks for one modality's is given that of all.
        self.manifest = replace(self.manifest, heads={**self.manifest.heads, FUSION: self._heads()})
        present = [p for p in self.manifest.patients if self._present(p)]
        lacking = {m: sum(m not in p.series for p in present) for m in self.modalities}
        if empty := [m for m, n in lacking.items() if n == len(present)]:
            raise CohortError(
                f"{self.dataset_dir}: expected series of {self._named}, found none of {', '.join(empty)}. Leave it out "
                "of --modalities."
            )
        told = ", ".join(f"{m} missing in {n}" for m, n in lacking.items() if n)
        logger.info(f"{len(present)} patients with a series of {self._named}" + (f"; {told}" if told else ""))
        if n := len(self.manifest.patients) - len(present):
            logger.warning(f"left out: {n} patients without any series of {self._named}")
        self._check_classes(present)
