"""A cohort as one modality's training sees it: the patients of a manifest that have the modality, by split."""

import hashlib
import logging
import shlex
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.manifest import Manifest, phantom_truth, series_reference
from mgmt_monai.cohort.records import SPLITS, PatientRecord
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.cohort.splits.holdout import check_both_classes
from mgmt_monai.cohort.splits.plans import of_fold
from mgmt_monai.cohort.tables.ignores import ignore_list
from mgmt_monai.cohort.tables.segmentations import find_segmentations
from mgmt_monai.cohort.tables.table import names

logger = logging.getLogger(__name__)


class Fold(NamedTuple):
    """A fold of a manifest's k-fold split.

    Args:
        repeat: From 0.
        outer: The fold that is the test, from 0.
        inner: The inner fold that is the validation; None without nested folds.
    """

    repeat: int
    outer: int
    inner: int | None = None


class ModalityCohort:
    """The patients of one modality. No file is read or written: `mgmt_monai.cohort.open_cohort` does that.

    Args:
        manifest: The patients.
        modality: ``T1w``, ``T1wCE``, ``T2w`` or ``FLAIR``.
        dataset_dir: Where their files are.
        fold: Of the manifest's folds; None for the hold-out split.
        permutation_seed: Deal the labels of the training patients out among them at random by this seed, 0 or more, and
            those of the validation patients among those: a negative control. The manifest keeps everyone's own. None:
            everyone has their own.
        scored_only: Nobody is trained on it: test patients suffice, of one class even.
        segmentations: Where the tumours' are, as `find_segmentations` takes it; "" where nobody asks for them.

    Raises:
        CohortError: A patient without the modality that nobody accepted, no such fold, or a split without a class.
    """

    def __init__(
        self,
        manifest: Manifest,
        modality: str,
        dataset_dir: Path,
        fold: Fold | None = None,
        permutation_seed: int | None = None,
        scored_only: bool = False,
        segmentations: str | Path = "",
    ) -> None:
        self.modality = modality
        self.dataset_dir = dataset_dir
        self.permutation_seed = permutation_seed
        self.scored_only = scored_only
        self.fold = fold
        self.manifest = manifest if fold is None else of_fold(manifest, *fold)
        #: Of the manifest's file, whatever fold is trained on.
        self.manifest_hash = manifest.content_hash
        #: The fold as predictions tables number it, over all repeats; 0 for the hold-out split.
        self.fold_number = 0 if fold is None else fold.repeat * manifest.folds["n_folds"] + fold.outer
        self._check_modality()
        members = [patient for split in SPLITS for patient in self.members(split)]
        self.segmentations = find_segmentations(segmentations, members, dataset_dir) if str(segmentations) else {}

    @cached_property
    def segmentations_hash(self) -> str:
        """SHA-256 of every patient's segmentation, as first asked for; "" without."""
        made = hashlib.sha256()
        for patient_id, path in sorted(self.segmentations.items()):
            made.update(f"{patient_id}\0".encode())
            made.update(hashlib.sha256(path.read_bytes()).digest())
        return made.hexdigest() if self.segmentations else ""

    def items(self, split: str) -> list[dict[str, Any]]:
        """The patients of a split as data items for a MONAI dataset.

        Args:
            split: ``train``, ``validation`` or ``test``.

        Returns:
            ``{"image": Series, "label": 0 | 1, "patient_id": str, "modality": str}`` for each patient, in the
            manifest's order, with ``segmentation``, a path, where they were asked for. With a ``permutation_seed``, the
            labels of ``train`` and ``validation`` are permuted within the split: each class stays as large, and the
            same seed gives the same labels.
        """
        members = self.members(split)
        labels = [patient.label for patient in members]
        if self.permutation_seed is not None and split != "test":
            rng = np.random.default_rng([self.permutation_seed, SPLITS.index(split)])
            labels = rng.permutation(labels).tolist()
        return [
            {
                "image": self._image(patient),
                "label": label,
                "patient_id": patient.patient_id,
                "modality": self.modality,
                **({"segmentation": self.segmentations[patient.patient_id]} if self.segmentations else {}),
            }
            for patient, label in zip(members, labels, strict=True)
        ]

    def members(self, split: str) -> list[PatientRecord]:
        """The patients of a split that have the modality, in the manifest's order."""
        return self.manifest.members(split, self.modality)

    def reachable_auc(self) -> float | None:
        """The best AUC that anyone can reach in this modality of a phantom; None on real data.

        Raises:
            CohortError: The file is there, but does not tell it.
        """
        made = self.manifest.made or phantom_truth(self.dataset_dir)
        return made.get(self.modality, made.get("reachable_auc"))

    def _image(self, patient: PatientRecord) -> Any:
        return series_reference(patient, self.modality, self.dataset_dir)

    def _check_modality(self) -> None:
        ignores = ignore_list(self.manifest)
        present = [p for p in self.manifest.patients if self.modality in p.series]
        if not present:
            others = [name for name in MODALITIES if any(name in p.series for p in self.manifest.patients)]
            instead = f"Train what is there ('mgmt-monai train {others[0].lower()}'), or add" if others else "Add"
            raise CohortError(
                f"{self.dataset_dir}: expected {self.modality} series, found {', '.join(others) or 'none'} alone. "
                f"{instead} them and build the manifest again with --overwrite."
            )
        absent = [
            Finding("D030", p.patient_id, self.modality, "", f"expected a {self.modality} series, found none")
            for p in self.manifest.patients
            if self.modality not in p.series
        ]
        accepted = [finding for finding in absent if ignores.decision(finding) is not None]
        if len(absent) > len(accepted):
            lacking = [finding.patient_id for finding in absent if finding not in accepted]
            raise CohortError(
                f"{self.dataset_dir}: {names([f'patient {p}' for p in lacking])}: expected a "
                f"{self.modality} series, found none (D030). Add it, or leave these patients out of all trainings: put "
                "them in a CSV (columns patient_id,reason), build the manifest again with its other options "
                f"('mgmt-monai manifest build {shlex.quote(str(self.dataset_dir))} --exclude FILE --overwrite'), and "
                "train with '--exclusions FILE'."
            )
        if accepted:
            logger.warning(f"left out: {len(accepted)} patients without {self.modality}, as the ignore list accepts")
        self._check_classes(present)

    def _check_classes(self, present: list[PatientRecord]) -> None:
        if self.scored_only:
            if not any(p.split == "test" for p in present):
                raise CohortError(
                    f"{self.dataset_dir}: expected test patients with {self.modality}, found none. Name another "
                    "manifest."
                )
            return
        labels = {p.patient_id: p.label for p in present}
        check_both_classes(labels, {p.patient_id: p.split for p in present})
