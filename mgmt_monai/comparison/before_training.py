"""What is looked at before a comparison trains for hours: its columns, its power, whether its folds can be fused."""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.patients import LATE_FUSION
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.splits.plans import of_fold
from mgmt_monai.comparison.collect import LEAST_SHARED, patient_columns
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.plan import ComparisonPlan
from mgmt_monai.evaluation.columns import clinical_columns
from mgmt_monai.evaluation.folds import FOLDS_WIDEN
from mgmt_monai.evaluation.late_fusion import LEAST_IN_CLASS
from mgmt_monai.evaluation.verdict import power_of_test, power_text
from mgmt_monai.evaluation.within_site import other_sites, site_codes, site_column

logger = logging.getLogger(__name__)


def check_fusable(manifest: Manifest, plan: ComparisonPlan) -> None:
    """Whether each fold has the validation patients that a late fusion is fitted on.

    Raises:
        ComparisonError: One has not.
    """
    if LATE_FUSION not in plan.modalities:
        return
    folds = [] if plan.folds is None else list(product(range(plan.repeats), range(plan.folds)))
    for part in [of_fold(manifest, *fold, None) for fold in folds] or [manifest]:
        fitted = [p for p in part.patients if p.split == "validation"]
        labels = Counter(p.label for p in fitted if not p.series.keys().isdisjoint(plan.singles))
        if min(labels[0], labels[1]) < LEAST_IN_CLASS:
            raise ComparisonError(
                f"{LATE_FUSION}: expected {LEAST_IN_CLASS} validation patients or more of each label to fit it on, "
                f"found {labels[0]} unmethylated and {labels[1]} methylated. Set a smaller train_fraction, or leave it "
                "out of --modalities."
            )
        for modality in plan.singles:
            if not any(modality in p.series for p in fitted):
                raise ComparisonError(
                    f"{LATE_FUSION}: expected validation patients with {modality}, found none. Leave {modality} or "
                    "the fusion out of --modalities."
                )


def columns_of(manifest: Manifest) -> pd.DataFrame:
    """The manifest's columns, one row a patient."""
    return pd.DataFrame([patient.columns for patient in manifest.patients])


def check_columns(manifest: Manifest, plan: ComparisonPlan) -> None:
    """Whether a plan's columns are there, and will be in the record: before hours of training.

    Raises:
        EvaluationError: One is not there.
        ComparisonError: No value of one is shared by as many patients as the record asks for.
    """
    known = columns_of(manifest)
    clinical_columns(known, plan.clinical)
    site = site_column(known, plan.site)
    for modality in plan.modalities:
        kept = patient_columns(manifest, plan.sees(modality), plan.site).columns
        for column in (*plan.clinical, *([plan.site] if plan.site else [])):
            if column not in kept:
                raise ComparisonError(
                    f"column {column!r}: expected a value that {LEAST_SHARED} patients with {modality} share, found "
                    "none. Name another, or leave it out."
                )
    if not plan.site and (others := other_sites(known)):
        logger.warning(
            f"the columns {site!r} and {others[0]!r} are both called a site and differ: the first is taken. Name one "
            "with --site."
        )


def planned_power(manifest: Manifest, plan: ComparisonPlan) -> str:
    """What a comparison can show, said before anything is trained: within sites where these are known, as its verdict.

    Returns:
        A line with the power of the test patients, and of all patients in folds where they are more.
    """
    of_modality = [patient for patient in manifest.patients if plan.reference_modality in patient.series]
    tested = [patient for patient in of_modality if plan.folds or patient.split == "test"]
    site = site_column(columns_of(manifest), plan.site)

    def line(patients: Sequence[PatientRecord], folds: bool) -> str:
        sites = [patient.columns.get(site, "") for patient in patients]
        code = site_codes(sites, len(sites)) if site and sites else None
        label = np.array([patient.label for patient in patients], dtype=int)
        return power_text(power_of_test(label, code, FOLDS_WIDEN if folds else 1.0, plan.bound))

    where = f", within sites (column {site!r})" if site else ""
    said = f"{len(tested)} test patients{where}: {line(tested, bool(plan.folds))}"
    if plan.folds is None and len(of_modality) > len(tested):
        said += f" With folds ({len(of_modality)} patients): {line(of_modality, True)}"
    return said
