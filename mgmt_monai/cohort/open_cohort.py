"""A cohort opened for training: its manifest read, or built and written where there is none, and checked."""

import hashlib
import logging
import os
import shlex
from pathlib import Path

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.check import changed_files, overlaps
from mgmt_monai.cohort.errors import CohortError, CohortFaultsError
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts import LAYOUTS
from mgmt_monai.cohort.layouts.found import check_data_dir
from mgmt_monai.cohort.layouts.tree import every_unreadable
from mgmt_monai.cohort.manifest import Manifest, check_writable, read_manifest, write_manifest
from mgmt_monai.cohort.modality import Fold, ModalityCohort
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.cohort.splits.plans import Holdout, holdout_settings
from mgmt_monai.cohort.tables.labels import holds_labels
from mgmt_monai.cohort.tables.review import left_out
from mgmt_monai.cohort.tables.table import names
from mgmt_monai.errors import why

logger = logging.getLogger(__name__)

#: A warning of the same kind is shown this often; the rest is counted.
_SHOWN_WARNINGS = 5


def open_cohort(
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
    make: type[ModalityCohort] = ModalityCohort,
    segmentations: str | Path = "",
) -> ModalityCohort:
    """The patients of one modality, as the settings of a bundle config name them.

    Reads the manifest, or builds it where the data directory has none: then it is written to
    ``<dataset_dir>/manifest.json``, or, where that cannot be written, to
    ``<output_dir>/manifest-<name of dataset_dir>.json``. One that was there is checked before anyone trains on it:
    nobody may be in two splits under two names, and the files must still be those it speaks of. One that was just
    built has been held to the same, and no file is read for it again.

    Args:
        modality: ``T1w``, ``T1wCE``, ``T2w`` or ``FLAIR``; several with + between, where ``make`` takes them.
        dataset_dir: The cohort's folder.
        labels_csv: The label table; empty for the layout's own.
        manifest: A manifest file, built there where it is absent; empty for the one in the data directory.
        output_dir: Where a manifest goes that the data directory cannot take.
        test_fraction: Share of all patients for the test.
        train_fraction: Share of the others for training.
        split_seed: Of the split.
        exclusions: ``"default"``, ``"none"`` or a CSV ``patient_id,reason``.
        repeat: Of the manifest's folds, from 0.
        fold: The fold that is the test, from 0; None for the hold-out split.
        inner_fold: The inner fold that is the validation; None without nested folds.
        permute_labels: A negative control, as `ModalityCohort` has it.
        permutation_seed: Of the dealing, 0 or more.
        scored_only: Nobody is trained on it: test patients suffice, of one class even, and a manifest is taken however
            it was split.
        make: What is made of it.
        segmentations: Where the tumours' are: ``"auto"`` or a CSV; "" where nobody asks for them.

    Raises:
        CohortFaultsError: Patients that cross splits, files that changed; each a line of ``faults``.
        CohortError: No data, a setting that is no number, a manifest made with other settings or labels, a place
            that cannot take one, no such fold, or a split without a class.
    """
    if not {*modality.split("+")} <= {*MODALITIES}:
        raise CohortError(f"modality: expected one of {', '.join(MODALITIES)}, found {modality!r}. Name one.")
    for name, number in (("repeat", repeat or None), ("inner_fold", inner_fold)):
        if fold is None and number is not None:
            raise CohortError(f"{name} {number}: expected a fold with it, found none. Set --fold, or leave it out.")
    chosen = None
    if fold is not None:
        inner = None if inner_fold is None else _whole("inner_fold", inner_fold)
        chosen = Fold(_whole("repeat", repeat), _whole("fold", fold), inner)
    seed = _whole("permutation_seed", permutation_seed)
    plan = Holdout(
        _number("test_fraction", test_fraction),
        _number("train_fraction", train_fraction),
        _whole("split_seed", split_seed),
    )
    dataset_dir, labels = Path(dataset_dir), Path(labels_csv) if labels_csv else None
    check_data_dir(dataset_dir)
    inside = dataset_dir / "manifest.json"
    outside = Path(output_dir) / f"manifest-{dataset_dir.resolve().name}.json"
    sources = Sources(labels_csv=labels, exclusions=exclusions)
    known = [Path(manifest)] if manifest else [path for path in (inside, outside) if path.is_file()]
    if known and known[0].is_file():
        opened = read_manifest(known[0])
        if not scored_only:
            _check_settings(known[0], opened, dataset_dir, sources, plan)
        _check_labels(known[0], opened, dataset_dir, labels)
        _check_files(opened, dataset_dir, modality)
    else:
        path = known[0] if known else inside if os.access(dataset_dir, os.W_OK) else outside
        opened = _build(path, dataset_dir, sources, plan)
    permutation = seed if permute_labels else None
    return make(opened, modality, dataset_dir, chosen, permutation, bool(scored_only), segmentations)


def _build(path: Path, dataset_dir: Path, sources: Sources, plan: Holdout) -> Manifest:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CohortError(
            f"{path.parent}: cannot make this folder for the manifest ({why(error)}). Choose another with "
            "--output_dir or --manifest."
        ) from error
    check_writable(path)
    with every_unreadable(dataset_dir):
        built = build_manifest(dataset_dir, sources, plan)
    write_manifest(built.manifest, path)
    logger.info(f"built the manifest {path}: {len(built.manifest.patients)} patients")
    _report(built.manifest, [finding.under(dataset_dir) for finding in built.findings])
    return built.manifest


def _check_files(manifest: Manifest, dataset_dir: Path, modality: str) -> None:
    faults = overlaps(manifest)
    faults += changed_files(manifest, dataset_dir, modalities=modality.split("+"), pixels=False, cached=True)
    if faults:
        lines = [finding.under(dataset_dir).line for finding in faults]
        raise CohortFaultsError(lines, "manifest check MANIFEST")


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


def _check_settings(path: Path, manifest: Manifest, dataset_dir: Path, sources: Sources, plan: Holdout) -> None:
    if manifest.split.get("method") != "holdout":  # another split is the user's own, and so are its exclusions
        return
    settings, own = holdout_settings(plan), [*(p.patient_id for p in manifest.patients), *manifest.excluded]
    reasons = left_out(dataset_dir, sources.exclusions, own)
    kept = [p.patient_id for p in manifest.patients if p.patient_id in reasons]
    dropped = [patient_id for patient_id in manifest.excluded if patient_id not in reasons]
    differing = [
        f"{key} {manifest.split.get(key)} (asked: {asked})"
        for key, asked in settings.items()
        if manifest.split.get(key) != asked
    ]
    if kept or dropped:
        found = f"{names(kept)} is in it, although" if kept else f"{names(dropped)} is left out, although not"
        fault = f"another exclusion list than {str(sources.exclusions)!r}: patient {found} listed"
    elif differing:
        fault = f"another split: {', '.join(differing)}"
    else:
        return
    asked = {"labels": sources.labels_csv, "exclude": sources.exclusions, "test-fraction": plan.test_fraction,
             "train-fraction": plan.train_fraction, "seed": plan.seed}  # fmt: skip
    words = ["mgmt-monai", "manifest", "build", str(dataset_dir), "--out", str(path), "--overwrite"]
    words += [word for key, value in asked.items() if value is not None for word in (f"--{key}", str(value))]
    raise CohortError(
        f"{path}: made with {fault}. Ask for the same, name another file with --manifest FILE, or build it "
        f"again: {shlex.join(words)}"
    )


def _check_labels(path: Path, manifest: Manifest, dataset_dir: Path, labels_csv: Path | None) -> None:
    table = labels_csv or _own_table(manifest, dataset_dir)
    if table is None or not table.is_file():
        return
    if hashlib.sha256(table.read_bytes()).hexdigest() != manifest.labels_sha256:
        raise CohortError(
            f"{path}: made with other labels than {table} now has. Name the table it was made with by --labels_csv "
            f"FILE, or build it again with its other options: 'mgmt-monai manifest build "
            f"{shlex.quote(str(dataset_dir))} --overwrite'."
        )


def _own_table(manifest: Manifest, dataset_dir: Path) -> Path | None:
    """The label table of the manifest's layout, where it is there and holds labels."""
    layout = LAYOUTS.get(manifest.layout)
    table = layout.labels_file(dataset_dir) if layout else None
    return table if table is not None and table.is_file() and holds_labels(table) else None


def _report(manifest: Manifest, findings: list[Finding]) -> None:
    for patient_id, reason in manifest.excluded.items():
        logger.info(f"excluded: patient {patient_id}: {reason}")
    for kind, lines in (("left out", manifest.left_out), ("found", [finding.line for finding in findings])):
        for line in lines[:_SHOWN_WARNINGS]:
            logger.warning(f"{kind}: {line}")
        if len(lines) > _SHOWN_WARNINGS:
            logger.warning(f"{kind}: {len(lines) - _SHOWN_WARNINGS} more, all shown by 'mgmt-monai doctor'")
