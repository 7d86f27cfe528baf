"""What a comparison says, before anything is trained, that it can show."""

import logging

import pytest
from made_records import made_manifest, made_patient, made_series

from mgmt_monai.comparison.before_training import check_columns, check_fusable, planned_power
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.plan import ComparisonPlan
from mgmt_monai.evaluation.predictions import EvaluationError


def cohort(**columns):
    """40 test patients, half of them methylated, of 120."""
    patients = [
        made_patient(
            f"{n:03d}", "test" if n < 40 else "train", n % 2, T1w=made_series(),
            columns={name: of(n) for name, of in columns.items()},
        )
        for n in range(120)
    ]  # fmt: skip
    return made_manifest(*patients)


def plan(**settings):
    return ComparisonPlan(("resnet-10",), ("T1w",), "resnet-10", "T1w", **settings)


def said(folds=None, **columns):
    return planned_power(cohort(**columns), plan(folds=folds))


def test_power_of_folds_is_that_of_fewer_independent_patients():
    """120 patients in folds are worth 120 / 1.3 ** 2 = 71: 36 of each label."""
    alone, in_folds = said().split(" With folds (120 patients): ")

    assert alone.startswith("40 test patients: Of 100 tests of this size at most 18 would show an AUC of 0.60")
    assert in_folds == said(folds=5).removeprefix("120 test patients: ")
    assert in_folds.startswith("Of 100 tests of this size at most 30 would show an AUC of 0.60")


def test_power_within_sites_is_that_of_their_pairs():
    four = said(site=lambda n: "ABCD"[n // 2 % 4])

    assert four.startswith("40 test patients, within sites (column 'site'): Of 100 tests of this size at most 17")
    assert "can show nothing" in said(hospital=lambda n: "AB"[n % 2])


def test_a_plans_columns_are_looked_for_before_anything_is_trained(caplog):
    manifest = cohort(accession=lambda n: f"a{n}", site=lambda n: "AB"[n // 60], centre=lambda n: "AB"[n % 2])

    with pytest.raises(ComparisonError, match="column 'accession': expected a value that 3 patients with T1w share"):
        check_columns(manifest, plan(site="accession"))
    with pytest.raises(ComparisonError, match="column 'accession'"):
        check_columns(manifest, plan(clinical=("accession",)))
    with pytest.raises(EvaluationError, match="expected the column 'scanner'"):
        check_columns(manifest, plan(site="scanner"))
    with caplog.at_level(logging.WARNING):
        check_columns(manifest, plan(site="centre"))
        assert not caplog.messages
        check_columns(manifest, plan())
    assert "the columns 'site' and 'centre' are both called a site and differ" in caplog.text


def test_a_fusion_without_patients_to_fit_it_on_is_refused_before_anything_is_trained():
    fusing = ComparisonPlan(("resnet-10",), ("T1w", "FLAIR", "fusion-late"), "resnet-10", "T1w")

    def of(n_validation, **series):
        given = [("validation", n % 2) for n in range(n_validation)] + [("train", n % 2) for n in range(8)]
        return made_manifest(
            *(made_patient(f"{n:03d}", split, label, **series) for n, (split, label) in enumerate(given))
        )

    both = {"T1w": made_series(), "FLAIR": made_series()}
    check_fusable(of(6, **both), fusing)
    check_fusable(of(5, **both), plan())  # nothing is fused
    with pytest.raises(ComparisonError, match=r"3 validation patients .* found 3 unmethylated and 2 methylated"):
        check_fusable(of(5, **both), fusing)
    with pytest.raises(ComparisonError, match="expected validation patients with FLAIR, found none"):
        check_fusable(of(6, T1w=made_series()), fusing)
