"""The manifest: a cohort's patients, labels, split and ordered series, as one JSON file with a content hash."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mgmt_monai.atomic import atomic_file, check_replaceable
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.records import (
    SPLITS,
    PatientRecord,
    SeriesRecord,
    patient_from_json,
    slice_digests,
    wrong_series,
)
from mgmt_monai.cohort.series import MODALITIES, Series
from mgmt_monai.errors import why
from mgmt_monai.json_file import JsonFileError, check_json, read_json

#: Written into every manifest; a reader refuses another.
SCHEMA = "mgmt-monai/manifest/2"

TRUTH = "truth.json"
"""What makes a folder of data known as a phantom."""

MADE_MODEL = "Phantom "
"""What the ManufacturerModelName of a phantom's image begins with, also where that file did not go along."""

#: Beside the data: they make no other cohort, and are not there where they are empty.
_NOTES = ("chosen", "passed_over", "made", "heads")


@dataclass(frozen=True)
class Manifest:
    """A cohort that can be trained on.

    Args:
        layout: How the data directory is laid out, a name of `mgmt_monai.cohort.layouts`.
        labels_sha256: Of the label file the labels were read from.
        split: How the hold-out split was made: method, seed, fractions.
        patients: Sorted by identifier.
        folds: How the folds were made: number, repeats, seed; empty without folds.
        excluded: ``{patient_id: reason}`` of those left out on purpose.
        left_out: Patients without images, label or place in this cohort, one line each.
        ignored: Findings that somebody decided to accept: ``{"finding", "patient_id", "reason"}`` each.
        chosen: Series that the user decided on in ``series.csv``: ``{"patient_id", "file", "frame", "decision"}`` each.
        passed_over: How many files of the data directory were not read, by kind; not part of the hash.
        made: Of a phantom, the ``reachable_auc`` of its ``truth.json`` and that of each modality, where they differ;
            empty for patients; not part of the hash.
        heads: By modality, what of the heads its series show, as `mgmt_monai.cohort.build.heads_of` counts them; not
            part of the hash.
    """

    layout: str
    labels_sha256: str
    split: dict[str, Any]
    patients: list[PatientRecord]
    folds: dict[str, Any] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    ignored: list[dict[str, str]] = field(default_factory=list)
    chosen: list[dict[str, str]] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the content; another order of keys or another layout of the file does not change it.

        Hashed is the document without ``content_hash`` and the notes (``passed_over``, ``chosen``, ``made``, ``heads``)
        as JSON with sorted keys, no spaces and only ASCII characters.
        """
        content = {name: value for name, value in vars(self).items() if name not in _NOTES} | {"schema": SCHEMA}
        digest = hashlib.sha256()
        for piece in _pieces(dict(sorted(content.items())), "", sort_keys=True, separators=(",", ":")):
            digest.update(piece.encode("ascii"))
        return digest.hexdigest()

    @property
    def is_made(self) -> bool:
        """Whether it is a phantom, or has one's series in it."""
        return bool(self.made) or any(of.get("made") for of in self.heads.values())

    def members(self, split: str, modality: str) -> list[PatientRecord]:
        """The patients of a split that have the modality, in the manifest's order."""
        return [p for p in self.patients if p.split == split and modality in p.series]

    def counts(self) -> dict[str, tuple[int, int]]:
        """``{split: (unmethylated, methylated)}``, in patients."""
        tally = Counter((p.split, p.label) for p in self.patients)
        return {split: (tally[split, 0], tally[split, 1]) for split in SPLITS}


def series_reference(patient: PatientRecord, modality: str, data_dir: Path) -> Series:
    """The reference a loader reads, for one series of a patient under ``data_dir``."""
    record = patient.series[modality]
    directory = Path(data_dir) / record.directory
    return Series(
        patient_id=patient.patient_id,
        modality=modality,
        files=tuple(directory / name for name in record.files),
        frames=None if record.frames is None else tuple(record.frames),
        slices=range(record.n_slices),
        geometry_fault=_geometry_fault(record),
        digests=tuple(slice_digests(record.digests)),
    )


def phantom_truth(data_dir: Path) -> dict[str, float]:
    """What makes a cohort known as a phantom.

    Returns:
        ``reachable_auc``, the best that anyone can reach, and under the name of each modality that of it alone, where
        they differ; empty where there is no ``truth.json``.

    Raises:
        CohortError: The file is there, but does not tell it.
    """
    truth = data_dir / TRUTH
    if not truth.is_file():
        return {}
    try:
        told = read_json(truth)
        found = {"reachable_auc": told["reachable_auc"]} | told.get("reachable_auc_of", {})
        found = {name: float(auc) for name, auc in found.items()}
        if not all(0 <= auc <= 1 for auc in found.values()) or found.keys() - {"reachable_auc", *MODALITIES}:
            raise ValueError(found)
        return found
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CohortError(
            f"{truth}: expected a phantom's truth with 'reachable_auc', found none. Make the phantom again, or "
            "remove this file."
        ) from error


def _geometry_fault(record: SeriesRecord) -> str:
    if record.plane == "unknown":
        return "its files do not say where the slices lie"
    missing = sum(count for _, count in record.gaps)
    return f"{missing} slice{'s are' if missing > 1 else ' is'} missing inside the stack" if missing else ""


def write_manifest(manifest: Manifest, path: Path, overwrite: bool = True) -> None:
    """Write the manifest as JSON; either the whole file appears or none.

    Args:
        manifest: What to write.
        path: The file; a manifest there of which nothing is lost is replaced.
        overwrite: Whether any other is replaced too.

    Raises:
        CohortError: There is another manifest, or the place cannot be written to; nothing is left behind then, and an
            older file stays.
    """
    path = Path(path)
    lost = _lost(path, manifest) if path.is_file() and not overwrite else []
    check_replaceable(path, not lost, overwrite, CohortError, " and ".join(lost))
    content = {name: value for name, value in vars(manifest).items() if value or name not in _NOTES}
    try:
        check_writable(path)
        document = {"schema": SCHEMA, "content_hash": manifest.content_hash, **content}
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(_pieces(document, "\n"))
    except OSError as error:
        raise _unwritable(path, why(error)) from error


def _pieces(document: dict[str, Any], end: str, **form: Any) -> Iterator[str]:
    """A document as JSON, patient by patient, so that memory holds none of a hundred thousand twice."""
    for number, (name, value) in enumerate(document.items()):
        yield f"{',' if number else '{'}{end}{json.dumps(name)}:"
        if name == "patients":
            for place, patient in enumerate(value):
                yield f"{',' if place else '['}{end}" + json.dumps(patient, default=vars, **form)
            yield "]" if value else "[]"
        else:
            yield json.dumps(value, **form)
    yield f"{end}}}{end}"


def check_writable(path: Path) -> None:
    """Refuse a place that cannot take a manifest, before the work of building one.

    Raises:
        CohortError: It is a folder, its folder is absent, or that may not be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if not path.parent.is_dir():
        raise _unwritable(path, f"{path.parent} is not a folder")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, f"{path.parent} may not be written to")


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest and hold it against its own hash and rules.

    Args:
        path: A file that `write_manifest` or another tool wrote to the schema.

    Raises:
        CohortError: Absent, not JSON, another schema, a field that is missing, unknown or of the wrong type, a path
            that leaves the data directory, a patient named twice (so in two splits perhaps), an unknown split,
            label or modality, or a content that does not match its hash.

    Example:
        >>> import mgmt_monai as mgmt
        >>> manifest = mgmt.read_manifest("data/phantom/manifest.json")  # doctest: +SKIP
        >>> len(manifest.members("test", "T1w"))  # doctest: +SKIP
        2
    """
    path = Path(path)
    if not path.is_file():
        raise CohortError(f"{path}: no manifest. Build one with 'mgmt-monai manifest build DATA_DIR'.")
    document = None
    try:
        document = read_json(path)
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != SCHEMA:
            found = json.dumps(schema)[:40]
            raise CohortError(f"{path}: expected the schema {SCHEMA}, found {found}. Build the manifest again.")
        check_json(document, "mgmt_monai.cohort", "manifest.schema.json")
    except JsonFileError as error:
        raise CohortError(f"{path}: {_with_names(str(error), document)}. Build the manifest again.") from error
    content = {key: value for key, value in document.items() if key not in ("schema", "content_hash")}
    manifest = Manifest(**{**content, "patients": [patient_from_json(entry) for entry in document["patients"]]})
    _check_rules(path, manifest)
    if document.get("content_hash") != manifest.content_hash:
        raise CohortError(
            f"{path}: expected the content hash {manifest.content_hash}, found {document.get('content_hash')}: it was "
            "changed after it was built. Build it with its options: 'mgmt-monai manifest build DATA_DIR --overwrite'."
        )
    return manifest


def _lost(path: Path, manifest: Manifest) -> list[str]:
    """What of the manifest that is there would be lost, in words; folds and columns may be added to it."""
    try:
        there = read_manifest(path)
    except CohortError:
        return ["content"]
    old, new = ({patient.patient_id: patient for patient in one.patients} for one in (there, manifest))
    if old.keys() != new.keys():
        return [f"{len(old)} patients, not these {len(new)}"]
    pairs = [(patient, new[name]) for name, patient in old.items()]
    lost = []
    if moved := sum((one.split, one.label) != (other.split, other.label) for one, other in pairs):
        lost.append(f"{moved} of {len(old)} patients in another split or with another label")
    if there.folds and [one.folds for one, _ in pairs] != [other.folds for _, other in pairs]:
        lost.append(f"folds ({there.folds['n_folds']})")
    others = ("chosen", "passed_over", "heads", "patients", "folds")
    names = [own.name for own in fields(manifest) if own.name not in others]
    settings = [{name: getattr(one, name) for name in names} for one in (there, manifest)]
    same = all(
        (one.series, one.aliases) == (other.series, other.aliases) and one.columns.items() <= other.columns.items()
        for one, other in pairs
    )
    return lost or ([] if same and settings[0] == settings[1] else ["other series, columns or settings"])


def _unwritable(path: Path, reason: str) -> CohortError:
    return CohortError(
        f"{path}: cannot write the manifest ({reason}). Name another file with --out (manifest build) or --manifest "
        "(training)."
    )


def _with_names(text: str, document: Any) -> str:
    """The text with the patient's name for their number in the document, where it has one."""
    place = re.match(r"patients\[(\d+)\]\.(?!patient_id)", text)
    if place is None:
        return text
    patient_id = document["patients"][int(place[1])].get("patient_id")
    return f"patient {patient_id}: {text[place.end() :]}" if isinstance(patient_id, str) else text


def _check_rules(path: Path, manifest: Manifest) -> None:
    for patient in manifest.patients:
        for modality, record in patient.series.items():
            wrong = wrong_series(record)
            if wrong is not None:
                raise CohortError(
                    f"{path}: patient {patient.patient_id}: {modality}: {wrong}. Build the manifest again."
                )
    splits: dict[str, list[str]] = {}
    for patient in manifest.patients:
        splits.setdefault(patient.patient_id, []).append(patient.split)
    for patient_id, names in splits.items():
        if len(set(names)) > 1:
            raise CohortError(
                f"{path}: patient {patient_id} is in two splits ({', '.join(names)}). Keep every patient in one."
            )
        if len(names) > 1:
            raise CohortError(f"{path}: patient {patient_id} is named {len(names)} times. Keep one entry.")
    wrong = _wrong_folds(manifest)
    if wrong is not None:
        raise CohortError(f"{path}: {wrong}. Split again with 'mgmt-monai manifest split'.")


def _wrong_folds(manifest: Manifest) -> str | None:
    """What is wrong with the folds, in words, or None: a training must not meet a fold that is not there."""
    settings = manifest.folds
    n_folds, n_repeats, n_inner = (settings.get(name, 0) for name in ("n_folds", "n_repeats", "n_inner_folds"))
    for patient in manifest.patients:
        folds, inner = patient.folds, patient.inner_folds
        who = f"patient {patient.patient_id}"
        if len(folds) != n_repeats or any(fold >= n_folds for fold in folds):
            return f"{who}: expected a fold below {n_folds} for each of {n_repeats} repeats, found {folds}"
        # Where the patient is in the outer fold itself it has no inner one.
        wanted = [[outer != fold for outer in range(n_folds)] for fold in folds] if n_inner else []
        given = [[n is not None for n in row] for row in inner]
        if given != wanted or any(n is not None and n >= n_inner for row in inner for n in row):
            return f"{who}: expected an inner fold below {n_inner} for each outer fold but its own, found {inner}"
    return None
