"""A cohort as one modality's training sees it: the manifest, checked, and its patients by split."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mgmt_monai.cohort.build import build_manifest, split_settings, warnings_of
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.exclusions import read_exclusions
from mgmt_monai.cohort.layouts import HOW_TO_GET_DATA, MODALITIES
from mgmt_monai.cohort.manifest import Manifest, check_writable, read_manifest, series_reference, write_manifest
from mgmt_monai.cohort.splits import check_both_classes

logger = logging.getLogger(__name__)

#: A warning of the same kind is shown this often; the rest is counted.
_SHOWN_WARNINGS = 5


class ModalityCohort:
    """The patients of one modality.

    Reads the manifest, or builds it where the data directory has none: then it is written to
    ``<dataset_dir>/manifest.json``, or, where that cannot be written, to
    ``<output_dir>/manifest-<name of dataset_dir>.json``.

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

    Raises:
        CohortError: No data, a setting that is no number, a manifest made with other settings or labels, a place
            that cannot take one, a patient without this modality, or a split without a class.
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
    ) -> None:
        if modality not in MODALITIES:
            raise CohortError(f"modality: expected one of {', '.join(MODALITIES)}, found {modality!r}.")
        self.modality = modality
        self.dataset_dir = Path(dataset_dir)
        if not self.dataset_dir.is_dir():
            raise CohortError(f"{dataset_dir}: no such data directory. {HOW_TO_GET_DATA}")
        settings = split_settings(
            _number("test_fraction", test_fraction, float),
            _number("train_fraction", train_fraction, float),
            _number("split_seed", split_seed, int),
        )
        inside = self.dataset_dir / "manifest.json"
        outside = Path(output_dir) / f"manifest-{self.dataset_dir.resolve().name}.json"
        known = [Path(manifest)] if manifest else [path for path in (inside, outside) if path.is_file()]
        if known and known[0].is_file():
            self.manifest = read_manifest(known[0])
            _check_settings(known[0], self.manifest, settings, Path(labels_csv), exclusions)
        else:
            path = known[0] if known else inside if os.access(self.dataset_dir, os.W_OK) else outside
            _make_folder(path)
            check_writable(path)
            self.manifest = build_manifest(
                self.dataset_dir,
                Path(labels_csv),
                test_fraction=settings["test_fraction"],
                train_fraction=settings["train_fraction"],
                seed=settings["seed"],
                exclusions=exclusions,
            )
            write_manifest(self.manifest, path)
            logger.info(f"built the manifest {path}: {len(self.manifest.patients)} patients")
            _report(self.manifest)
        self._check_modality()

    def items(self, split: str) -> list[dict[str, Any]]:
        """The patients of a split as data items for a MONAI dataset.

        Args:
            split: ``train``, ``validation`` or ``test``.

        Returns:
            ``{"image": Series, "label": 0 | 1, "patient_id": str}`` for each patient, in the manifest's order.
        """
        return [
            {
                "image": series_reference(patient, self.modality, self.dataset_dir),
                "label": patient.label,
                "patient_id": patient.patient_id,
            }
            for patient in self.manifest.members(split, self.modality)
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

    def _check_modality(self) -> None:
        lacking = [p.patient_id for p in self.manifest.patients if self.modality not in p.series]
        if lacking:
            where = ", ".join(f"patient {patient_id}" for patient_id in lacking[:10])
            more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
            raise CohortError(
                f"{self.dataset_dir}: {where}{more}: expected a {self.modality} series, found none. Add it, or leave "
                "these patients out with an exclusion list (--exclusions FILE, columns patient_id,reason) and a new "
                "manifest (--manifest FILE)."
            )
        labels = {p.patient_id: p.label for p in self.manifest.patients}
        check_both_classes(labels, {p.patient_id: p.split for p in self.manifest.patients})


def _number(name: str, value: object, kind: Callable[[Any], Any]) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise CohortError(f"{name}: expected a number, found {value!r}.") from error


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CohortError(
            f"{path.parent}: cannot make this folder for the manifest ({error.strerror}). Choose another with "
            "--output_dir or --manifest."
        ) from error


def _check_settings(
    path: Path, manifest: Manifest, settings: dict[str, Any], labels_csv: Path, exclusions: str | Path
) -> None:
    ours = manifest.split.get("method") == "holdout"  # another split is the user's own, and so are its exclusions
    reasons = read_exclusions(exclusions) if ours else {}
    kept = [p.patient_id for p in manifest.patients if p.patient_id in reasons]
    dropped = [patient_id for patient_id in manifest.excluded if patient_id not in reasons] if ours else []
    if kept or dropped:
        names = ", ".join((kept or dropped)[:10])
        found = f"{names} is in it, although listed" if kept else f"{names} is left out, although not listed"
        raise CohortError(
            f"{path}: made with another exclusion list than {str(exclusions)!r}: patient {found}. Build it again with "
            "'mgmt-monai manifest build', or name another file with --manifest FILE."
        )
    if ours and manifest.split != settings:
        differing = [
            f"{key} {manifest.split.get(key)} (asked: {settings[key]})"
            for key in settings
            if manifest.split.get(key) != settings[key]
        ]
        raise CohortError(
            f"{path}: made with another split: {', '.join(differing)}. Build it again with 'mgmt-monai manifest "
            "build', or name another file with --manifest FILE."
        )
    if labels_csv.is_file() and hashlib.sha256(labels_csv.read_bytes()).hexdigest() != manifest.labels_sha256:
        raise CohortError(
            f"{path}: made with other labels than {labels_csv} now has. Build it again with "
            "'mgmt-monai manifest build'."
        )


def _report(manifest: Manifest) -> None:
    for patient_id, reason in manifest.excluded.items():
        logger.info(f"excluded: patient {patient_id}: {reason}")
    for kind, lines in (("left out", manifest.left_out), ("warning", warnings_of(manifest))):
        for line in lines[:_SHOWN_WARNINGS]:
            logger.warning(f"{kind}: {line}")
        if len(lines) > _SHOWN_WARNINGS:
            logger.warning(f"{kind}: {len(lines) - _SHOWN_WARNINGS} more, all shown by 'mgmt-monai manifest build'")
