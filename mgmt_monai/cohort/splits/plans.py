"""A manifest's split and folds, made or made anew; related patients stay together, unless they are accepted.

A plan's ``apply`` takes a manifest, whose own split or folds are given up, and its patients' relations where they are
known (`open_relations`); it returns another manifest.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.relations import open_relations
from mgmt_monai.cohort.splits.folds import fold_split, inner_folds, kfold
from mgmt_monai.cohort.splits.groups import groups_of
from mgmt_monai.cohort.splits.holdout import ListedSplit, check_holdout, holdout_split, read_split
from mgmt_monai.cohort.tables.aliases import normalised
from mgmt_monai.cohort.tables.columns import read_columns, values_of
from mgmt_monai.cohort.tables.table import is_unknown, names


@dataclass(frozen=True)
class Holdout:
    """A test share, then training and validation of the rest, stratified by label.

    Args:
        test_fraction: Share of all patients for the test.
        train_fraction: Share of the others for training.
        seed: Of the split.
        group_by: A column whose values are not torn apart, or "".

    Raises:
        CohortError: A fraction or the seed is out of range.
    """

    test_fraction: float
    train_fraction: float
    seed: int
    group_by: str = ""

    def __post_init__(self) -> None:
        check_holdout(self.test_fraction, self.train_fraction, self.seed)  # now, not after a scan of hours

    def apply(self, manifest: Manifest, related: Sequence[Finding] | None = None) -> Manifest:
        """The manifest, split so.

        Raises:
            CohortError: A column is unknown, or a split would lack a class.
        """
        labels = {patient.patient_id: patient.label for patient in manifest.patients}
        groups = group_of_patients(manifest, self.group_by, related)
        split = holdout_split(labels, self.test_fraction, self.train_fraction, self.seed, groups)
        return _with_split(manifest, split, holdout_settings(self))


@dataclass(frozen=True)
class Listed:
    """The split that a table names, such as a committed one.

    Args:
        path: A CSV with the columns ``patient_id,split``, ``fold`` where it has folds and, for those to leave out,
            ``excluded,reason``.

    Raises:
        CohortError: The table cannot be read.
    """

    path: Path
    table: ListedSplit = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", read_split(self.path))  # now, not after a scan of hours

    def apply(self, manifest: Manifest, related: Sequence[Finding] | None = None) -> Manifest:
        """The manifest, split so.

        Raises:
            CohortError: The table does not name a patient of the manifest.
        """
        listed = {name: name for name in self.table.split}
        by_name = {normalised(name): name for name in sorted(listed, reverse=True)}
        # The very name counts, else another spelling of it, as in a table of columns.
        listed_as = {
            p.patient_id: listed.get(p.patient_id) or by_name.get(normalised(p.patient_id)) or ""
            for p in manifest.patients
        }
        unknown = sorted(patient_id for patient_id, name in listed_as.items() if not name)
        if unknown:
            raise CohortError(
                f"{self.path}: expected a split for every patient, found none for {names(unknown)}. Add them, "
                "or leave them out with an exclusion list (--exclude)."
            )
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        settings = {"method": "listed", "source": self.path.name, "sha256": digest}
        made = _with_split(manifest, {p: self.table.split[name] for p, name in listed_as.items()}, settings)
        if not self.table.fold:
            return made
        n_folds = max(self.table.fold.values()) + 1
        patients = [replace(p, folds=[self.table.fold[listed_as[p.patient_id]]], inner_folds=[]) for p in made.patients]
        folds = {**settings, "n_folds": n_folds, "n_repeats": 1, "n_inner_folds": 0}
        return replace(made, patients=patients, folds=folds)


@dataclass(frozen=True)
class External:
    """Every patient is for the test: the cohort is only ever scored.

    Args:
        against_hash: Content hash of the training data's manifest that it was held against, or "".
        mappings: Tables of aliases that were used.
    """

    against_hash: str = ""
    mappings: tuple[Path, ...] = ()

    def apply(self, manifest: Manifest, related: Sequence[Finding] | None = None) -> Manifest:
        """The manifest, split so."""
        settings = {
            "method": "external",
            "against": self.against_hash,
            "mappings": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.mappings},
        }
        return _with_split(manifest, {p.patient_id: "test" for p in manifest.patients}, settings)


@dataclass(frozen=True)
class KFold:
    """Stratified k-fold, repeated and nested where asked.

    Args:
        n_folds: Outer folds.
        n_repeats: How often the cohort is divided anew.
        n_inner_folds: Folds of each training part; 0 for none.
        seed: Of the folds.
        group_by: A column whose values are not torn apart, or "".
    """

    n_folds: int
    n_repeats: int
    n_inner_folds: int
    seed: int
    group_by: str = ""

    def apply(self, manifest: Manifest, related: Sequence[Finding] | None = None) -> Manifest:
        """The manifest with these folds; its hold-out split stays.

        Raises:
            CohortError: A number is out of range, a column is unknown, or there are too few patients of a class.
        """
        labels = {patient.patient_id: patient.label for patient in manifest.patients}
        groups = group_of_patients(manifest, self.group_by, related)
        folds = kfold(labels, self.n_folds, self.n_repeats, self.seed, groups)
        settings = {"method": "kfold", "n_folds": self.n_folds, "n_repeats": self.n_repeats}
        made = _with_folds(manifest, labels, folds, settings, self.n_inner_folds, self.seed, groups)
        return replace(made, folds=_grouped(made.folds, self.group_by))


@dataclass(frozen=True)
class LeaveSiteOut:
    """One fold a site, the largest first: each is tested by models that have not seen it.

    Sites without patients of both labels are tested together. Related patients' sites are one.

    Args:
        column: That names the site.
        n_inner_folds: Folds of each training part; 0 for none.
        seed: Of the inner folds.
    """

    column: str
    n_inner_folds: int
    seed: int

    def apply(self, manifest: Manifest, related: Sequence[Finding] | None = None) -> Manifest:
        """The manifest with these folds; its hold-out split stays.

        Raises:
            CohortError: The column is unknown, patients have no site, or there are fewer than two sites.
        """
        labels = {patient.patient_id: patient.label for patient in manifest.patients}
        groups = group_of_patients(manifest, self.column, related)
        lacking = [p.patient_id for p in manifest.patients if is_unknown(p.columns.get(self.column, ""))]
        if lacking:
            raise CohortError(
                f"--folds-by {self.column}: expected a site for every patient, found none for {names(lacking)}. Fill "
                "it in, or leave them out with an exclusion list (--exclude)."
            )
        sites: dict[str, list[str]] = {}
        for patient, group in sorted(groups.items()):
            sites.setdefault(group, []).append(patient)
        whole = [of for of in sites.values() if len({labels[patient] for patient in of}) == 2]
        whole.sort(key=lambda of: (-len(of), of))
        rest = [patient for of in sites.values() if of not in whole for patient in of]
        if rest and (len({labels[patient] for patient in rest}) == 2 or not whole):
            whole.append(rest)
        elif rest:  # with the smallest
            whole[-1] = whole[-1] + rest
        if len(whole) < 2:
            raise CohortError(
                f"--folds-by {self.column}: expected two sites or more with patients of both labels, found "
                f"{len(sites)} in all. Make folds of patients instead (--folds)."
            )
        folds = {patient: [number] for number, of in enumerate(whole) for patient in of}
        settings = {"method": "site", "n_folds": len(whole), "n_repeats": 1}
        people = group_of_patients(manifest, "", related)  # inner folds part sites, not persons
        made = _with_folds(manifest, labels, folds, settings, self.n_inner_folds, self.seed, people)
        return replace(made, folds=_grouped(made.folds, self.column))


def of_fold(manifest: Manifest, repeat: int, fold: int, inner_fold: int | None) -> Manifest:
    """The same cohort, split as a fold of its k-fold split says.

    Args:
        manifest: With folds.
        repeat: Which repeat, from 0.
        fold: The outer fold that is the test, from 0.
        inner_fold: The inner fold that is the validation; None without nested folds: the next outer fold is.

    Raises:
        CohortError: The manifest has no folds, or no such one.
    """
    if not manifest.folds:
        raise CohortError("the manifest has no folds. Make them with 'mgmt-monai manifest split --folds K'.")
    nested = manifest.folds["n_inner_folds"] > 0
    split = fold_split(
        {p.patient_id: p.folds for p in manifest.patients},
        repeat,
        fold,
        manifest.folds["n_folds"],
        inner={p.patient_id: p.inner_folds for p in manifest.patients} if nested else None,
        inner_fold=inner_fold,
    )
    return _with_split(manifest, split, {**manifest.folds, "repeat": repeat, "fold": fold, "inner_fold": inner_fold})


def holdout_settings(plan: Holdout) -> dict[str, Any]:
    """How a hold-out split was made, as the manifest records it.

    Args:
        plan: How it is made.

    Returns:
        ``method``, both fractions, ``seed``, and ``group_by`` where it has one.
    """
    settings = {
        "method": "holdout",
        "test_fraction": plan.test_fraction,
        "train_fraction": plan.train_fraction,
        "seed": plan.seed,
    }
    return _grouped(settings, plan.group_by)


def with_columns(manifest: Manifest, path: Path) -> Manifest:
    """The manifest with what a table tells of its patients.

    Args:
        manifest: Columns of the same name are replaced.
        path: A CSV with a column of patient identifiers and others.

    Raises:
        CohortError: The table cannot be read, or has none of these patients.
    """
    columns = read_columns(path, [patient.patient_id for patient in manifest.patients])
    patients = [replace(p, columns={**p.columns, **columns.get(p.patient_id, {})}) for p in manifest.patients]
    return replace(manifest, patients=patients)


def group_of_patients(manifest: Manifest, group_by: str, related: Sequence[Finding] | None = None) -> dict[str, str]:
    """The group of each patient: one with those it is related to, and with those of the same value in a column.

    Args:
        manifest: The patients, with their columns.
        group_by: A column, or "".
        related: Their relations, where they are known.

    Returns:
        ``{patient_id: group}`` of every patient.

    Raises:
        CohortError: No patient has this column, or a value in it. Patients without one are named in the log: nobody
            is joined to them by it.
    """
    column = None
    if group_by:
        if not any(group_by in p.columns for p in manifest.patients):
            known = sorted({name for p in manifest.patients for name in p.columns})
            raise CohortError(
                f"--group-by {group_by}: expected a column of the patients, found {', '.join(known) or 'none'}. "
                "Name a table that has it with --columns."
            )
        told = {p.patient_id: p.columns for p in manifest.patients}
        column = values_of(told, group_by, told)
    relations = open_relations(manifest) if related is None else related
    links = [(finding.patient_id, finding.others[0]) for finding in relations]
    return groups_of([p.patient_id for p in manifest.patients], links, column)


def _with_folds(
    manifest: Manifest,
    labels: Mapping[str, int],
    folds: Mapping[str, Sequence[int]],
    settings: Mapping[str, Any],
    n_inner: int,
    seed: int,
    groups: Mapping[str, str] | None,
) -> Manifest:
    inner = inner_folds(labels, folds, settings["n_folds"], n_inner, seed, groups) if n_inner else {}
    patients = [
        replace(p, folds=list(folds[p.patient_id]), inner_folds=inner.get(p.patient_id, [])) for p in manifest.patients
    ]
    return replace(manifest, patients=patients, folds={**settings, "n_inner_folds": n_inner, "seed": seed})


def _with_split(manifest: Manifest, split: dict[str, str], settings: dict[str, Any]) -> Manifest:
    patients = [replace(patient, split=split[patient.patient_id]) for patient in manifest.patients]
    return replace(manifest, patients=patients, split=settings)


def _grouped(settings: dict[str, Any], group_by: str) -> dict[str, Any]:
    return {**settings, "group_by": group_by} if group_by else settings
