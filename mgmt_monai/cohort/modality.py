"""A cohort as one modality's training sees it: the manifest, checked, and its patients by split."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.check import changed_files, ignore_list, overlaps
from mgmt_monai.cohort.errors import CohortError, CohortFaultsError
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts import check_data_dir
from mgmt_monai.cohort.manifest import Manifest, check_writable, read_manifest, series_reference, write_manifest
from mgmt_monai.cohort.records import SPLITS
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.cohort.splits.holdout import check_both_classes
from mgmt_monai.cohort.splits.plans import Holdout, holdout_settings, of_fold
from mgmt_monai.cohort.tables.exclusions import read_exclusions
from mgmt_monai.cohort.tables.table import names

logger = logging.getLogger(__name__)

#: A warning of the same kind is shown this often; the rest is counted.
_SHOWN_WARNINGS = 5


class ModalityCohort:
    """The patients of one modality.

    Reads the manifest, or builds it where the data directory has none: then it is written to
    ``<dataset_dir>/manifest.json``, or, where that cannot be written, to
    ``<output_dir>/manifest-<name of dataset_dir>.json``. Either way it is checked before anyone trains on it: nobody
    may be in two splits under two names, and the files must still be those it speaks of.

    Args:
        modality: ``T1w``, ``T1wCE``, ``T2w`` or ``FLAIR``.
        dataset_dir: The cohort's folder.
        labels_csv: The label table.
        manifest: A manifest file, built there where it is absent; empty for the one in the data directory.
        output_dir: Where a manifest goes that the data directory cannot take.
        test_fraction: Share of all patients for the test.
        train_fraction: Share of the others for training.
        split_seed: Of the split.
        exclusions: ``"default"``, ``"none"`` or a CSV ``patient_id,reason``.
        repeat: Of the manifest's folds, from 0.
        fold: The fold that is the test, from 0; None for the hold-out split.
        inner_fold: The inner fold that is the validation; None without nested folds.
        permute_labels: Deal the labels of the training patients out among them at random, and those of the validation
            patients among those: a negative control. The manifest keeps everyone's own.
        permutation_seed: Of the dealing, 0 or more.
        scored_only: Nobody is trained on it: test patients suffice, of one class even, and a manifest is taken however
            it was split.

    Raises:
        CohortFaultsError: Patients that cross splits, files that changed; each a line of ``faults``.
        CohortError: No data, a setting that is no number, a manifest made with other settings or labels, a place
            that cannot take one, no such fold, or a split without a class.
    """

    def __init__(
        self,
        modality: str,
        dataset_dir: str | Path,
        labels_csv: str | Path,
        manifest: str | Path,
        output_dir: str | Path,
        test_fraction: float,
        train_fraction: float,
        split_seed: int,
        exclusions: str | Path,
        repeat: int,
        fold: int | None,
        inner_fold: int | None,
        permute_labels: bool,
        permutation_seed: int,
        scored_only: bool = False,
    ) -> None:
        if modality not in MODALITIES:
            raise CohortError(f"modality: expected one of {', '.join(MODALITIES)}, found {modality!r}. Name one.")
        for name, number in (("repeat", repeat or None), ("inner_fold", inner_fold)):
            if fold is None and number is not None:
                raise CohortError(f"{name} {number}: expected a fold with it, found none. Set --fold, or leave it out.")
        self.modality = modality
        self.permute_labels = bool(permute_labels)
        self.scored_only = bool(scored_only)
        self.permutation_seed = _whole("permutation_seed", permutation_seed)
        self.dataset_dir = Path(dataset_dir)
        check_data_dir(self.dataset_dir)
        plan = Holdout(
            _number("test_fraction", test_fraction),
            _number("train_fraction", train_fraction),
            _whole("split_seed", split_seed),
        )
        inside = self.dataset_dir / "manifest.json"
        outside = Path(output_dir) / f"manifest-{self.dataset_dir.resolve().name}.json"
        known = [Path(manifest)] if manifest else [path for path in (inside, outside) if path.is_file()]
        if known and known[0].is_file():
            self.manifest = read_manifest(known[0])
            if not self.scored_only:
                _check_settings(known[0], self.manifest, plan, exclusions)
            _check_labels(known[0], self.manifest, Path(labels_csv))
        else:
            path = known[0] if known else inside if os.access(self.dataset_dir, os.W_OK) else outside
            _make_folder(path)
            check_writable(path)
            sources = Sources(labels_csv=Path(labels_csv) if labels_csv else None, exclusions=exclusions)
            built = build_manifest(self.dataset_dir, sources, plan)
            self.manifest = built.manifest
            write_manifest(self.manifest, path)
            logger.info(f"built the manifest {path}: {len(self.manifest.patients)} patients")
            _report(self.manifest, [finding.under(self.dataset_dir) for finding in built.findings])
        #: Of the manifest's file, whatever fold is trained on.
        self.manifest_hash = self.manifest.content_hash
        #: The fold as predictions tables number it, over all repeats; 0 for the hold-out split.
        self.fold_number = 0
        self._check()
        if fold is not None:
            chosen, outer = _whole("repeat", repeat), _whole("fold", fold)
            inner = None if inner_fold is None else _whole("inner_fold", inner_fold)
            self.manifest = of_fold(self.manifest, chosen, outer, inner)
            self.fold_number = chosen * self.manifest.folds["n_folds"] + outer
        self._check_modality()

    def items(self, split: str) -> list[dict[str, Any]]:
        """The patients of a split as data items for a MONAI dataset.

        Args:
            split: ``train``, ``validation`` or ``test``.

        Returns:
            ``{"image": Series, "label": 0 | 1, "patient_id": str, "modality": str}`` for each patient, in the
            manifest's order. With ``permute_labels``, the labels of ``train`` and ``validation`` are permuted within
            the split: each class stays as large, and the same seed gives the same labels.
        """
        members = self.manifest.members(split, self.modality)
        labels = [patient.label for patient in members]
        if self.permute_labels and split != "test":
            rng = np.random.default_rng([self.permutation_seed, SPLITS.index(split)])
            labels = rng.permutation(labels).tolist()
        return [
            {
                "image": series_reference(patient, self.modality, self.dataset_dir),
                "label": label,
                "patient_id": patient.patient_id,
                "modality": self.modality,
            }
            for patient, label in zip(members, labels, strict=True)
        ]

    def reachable_auc(self) -> float | None:
        """The best AUC anyone can reach on a phantom, from its ``truth.json``; None on real data.

        Raises:
            CohortError: The file is there, but does not tell it.
        """
        truth = self.dataset_dir / "truth.json"
        if not truth.is_file():
            return None
        try:
            return float(json.loads(truth.read_text(encoding="utf-8"))["reachable_auc"])
        except (ValueError, KeyError, TypeError) as error:
            raise CohortError(
                f"{truth}: expected a phantom's truth with 'reachable_auc', found none. Make the phantom again, or "
                "remove this file."
            ) from error

    def _check(self) -> None:
        faults = overlaps(self.manifest)
        faults += changed_files(self.manifest, self.dataset_dir, modalities=[self.modality], pixels=False, cached=True)
        if faults:
            lines = [finding.under(self.dataset_dir).line for finding in faults]
            raise CohortFaultsError(lines, "manifest check MANIFEST")

    def _check_modality(self) -> None:
        ignores = ignore_list(self.manifest)
        present = [p for p in self.manifest.patients if self.modality in p.series]
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
                f"{self.modality} series, found none (D030). Add it, or accept it for these patients with an ignore "
                "list (columns finding,patient_id,reason) and a new manifest ('mgmt-monai manifest build --ignore "
                "FILE'): they are then left out here."
            )
        if accepted:
            logger.warning(f"left out: {len(accepted)} patients without {self.modality}, as the ignore list accepts")
        if self.scored_only:
            if not any(p.split == "test" for p in present):
                raise CohortError(
                    f"{self.dataset_dir}: expected test patients with {self.modality}, found none. Name another "
                    "manifest."
                )
            return
        labels = {p.patient_id: p.label for p in present}
        check_both_classes(labels, {p.patient_id: p.split for p in present})


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CohortError(f"{name}: expected a number, found {value!r}. Correct the setting.") from error


def _whole(name: str, value: object) -> int:
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or (isinstance(value, float) and number != value):
        raise CohortError(f"{name}: expected a whole number, found {value!r}. Correct the setting.")
    return int(number)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CohortError(
            f"{path.parent}: cannot make this folder for the manifest ({error.strerror}). Choose another with "
            "--output_dir or --manifest."
        ) from error


def _check_settings(path: Path, manifest: Manifest, plan: Holdout, exclusions: str | Path) -> None:
    settings = holdout_settings(plan)
    ours = manifest.split.get("method") == "holdout"  # another split is the user's own, and so are its exclusions
    reasons = read_exclusions(exclusions) if ours else {}
    kept = [p.patient_id for p in manifest.patients if p.patient_id in reasons]
    dropped = [patient_id for patient_id in manifest.excluded if patient_id not in reasons] if ours else []
    if kept or dropped:
        which = names(kept or dropped)
        found = f"{which} is in it, although listed" if kept else f"{which} is left out, although not listed"
        raise CohortError(
            f"{path}: made with another exclusion list than {str(exclusions)!r}: patient {found}. Build it again with "
            "'mgmt-monai manifest build', or name another file with --manifest FILE."
        )
    if ours and any(manifest.split.get(key) != settings[key] for key in settings):
        differing = [
            f"{key} {manifest.split.get(key)} (asked: {settings[key]})"
            for key in settings
            if manifest.split.get(key) != settings[key]
        ]
        raise CohortError(
            f"{path}: made with another split: {', '.join(differing)}. Build it again with 'mgmt-monai manifest "
            "build', or name another file with --manifest FILE."
        )


def _check_labels(path: Path, manifest: Manifest, labels_csv: Path) -> None:
    if labels_csv.is_file() and hashlib.sha256(labels_csv.read_bytes()).hexdigest() != manifest.labels_sha256:
        raise CohortError(
            f"{path}: made with other labels than {labels_csv} now has. Build it again with "
            "'mgmt-monai manifest build'."
        )


def _report(manifest: Manifest, findings: list[Finding]) -> None:
    for patient_id, reason in manifest.excluded.items():
        logger.info(f"excluded: patient {patient_id}: {reason}")
    for kind, lines in (("left out", manifest.left_out), ("found", [finding.line for finding in findings])):
        for line in lines[:_SHOWN_WARNINGS]:
            logger.warning(f"{kind}: {line}")
        if len(lines) > _SHOWN_WARNINGS:
            logger.warning(f"{kind}: {len(lines) - _SHOWN_WARNINGS} more, all shown by 'mgmt-monai doctor'")
