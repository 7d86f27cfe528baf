"""The summary: right figures under the right names, fit for JSON."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from mgmt_monai.evaluation.predictions import SLICE_COLUMNS, EvaluationError, patients_from_slices
from mgmt_monai.evaluation.summary import figure_line, patient_figures, report, summarise


def _slices(labels, probabilities, stage="transfer"):
    """Slices of patients '00000', '00001', ... with the given label and probabilities each."""
    rows = [
        (f"{number:05d}", "T1w", stage, "test", 0, 7, label, probability, index)
        for number, (label, of_patient) in enumerate(zip(labels, probabilities, strict=True))
        for index, probability in enumerate(of_patient)
    ]
    return pd.DataFrame(rows, columns=list(SLICE_COLUMNS))


@pytest.fixture
def slices():
    # Eighths, so that means are exact and ties are ties.
    labels = [1, 1, 1, 0, 0, 0]
    return _slices(labels, [[0.875, 0.75], [0.375, 0.875], [0.25], [0.625, 0.625], [0.125, 0.375, 0.25], [0.75, 0.125]])


@pytest.fixture
def summary(slices):
    return summarise(patients_from_slices(slices), slices, n_resamples=200)


def test_patient_figures_by_hand(summary):
    # Patients: methylated 13/16, 5/8, 1/4; unmethylated 5/8, 1/4, 7/16. Pairs won 3 + 2.5 + 0.5 of 9.
    found = {figure: entry["value"] for figure, entry in summary["patient"].items()}
    assert found == pytest.approx(
        {
            "auc": 6 / 9,
            "accuracy": 4 / 6,
            "precision": 2 / 3,
            "recall": 2 / 3,
            "specificity": 2 / 3,
            "f1": 2 / 3,
        }
    )


def test_patient_intervals_are_wilson_over_the_right_patients(summary):
    accuracy, recall = summary["patient"]["accuracy"], summary["patient"]["recall"]
    assert (accuracy["low"], accuracy["high"]) == pytest.approx(proportion_confint(4, 6, method="wilson"))
    assert (recall["low"], recall["high"]) == pytest.approx(proportion_confint(2, 3, method="wilson"))


def test_patient_auc_of_three_a_class_has_no_interval(summary):
    found = summary["patient"]["auc"]
    assert found["low"] is found["high"] is None


def test_slice_figures_count_slices(summary, slices):
    found = summary["slice"]
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(slices["label"], slices["probability"]))
    assert found["accuracy"]["value"] == pytest.approx(7 / 12)  # 3 of 5 and 4 of 7
    assert found["recall"]["value"] == pytest.approx(3 / 5)
    assert found["specificity"]["value"] == pytest.approx(4 / 7)


def test_n_is_what_the_figure_is_a_share_of(summary):
    assert {figure: entry["n"] for figure, entry in summary["slice"].items()} == {
        "auc": 12,
        "accuracy": 12,
        "precision": 6,
        "recall": 5,
        "specificity": 7,
        "f1": 12,
    }


def test_threshold_moves_the_figures_but_not_the_auc(slices, summary):
    strict = summarise(patients_from_slices(slices), slices, threshold=0.7, n_resamples=50)["patient"]
    assert strict["recall"]["value"] == pytest.approx(1 / 3)
    assert strict["auc"] == summary["patient"]["auc"]


def test_wider_level_wider_intervals(slices, summary):
    wide = summarise(patients_from_slices(slices), slices, level=0.99, n_resamples=200)
    for figure in ("recall", "accuracy", "f1"):
        assert wide["patient"][figure]["low"] < summary["patient"][figure]["low"]


def test_undefined_figures_are_null_in_strict_json():
    slices = _slices([1, 1], [[0.1], [0.2]])
    found = summarise(patients_from_slices(slices), slices, n_resamples=20)
    back = json.loads(json.dumps(found, allow_nan=False))
    assert back["patient"]["auc"] == {"value": None, "low": None, "high": None, "n": 2}
    assert back["patient"]["precision"]["value"] is None
    assert back["patient"]["recall"]["value"] == 0


def test_summary_survives_json_unchanged(summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_report_names_the_classes():
    text = report(np.array([0, 0, 1, 1]), np.array([0.1, 0.9, 0.9, 0.9]))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["unmethylated"] == ["1.000", "0.500", "0.667", "2"]
    assert rows["methylated"] == ["0.667", "1.000", "0.800", "2"]


@pytest.mark.parametrize(("threshold", "called"), [(0.5, 2), (0.75, 1), (0.751, 0)])
def test_report_calls_methylated_from_the_threshold_on(threshold, called):
    # All are methylated, so that the recall is the share that is called so.
    text = report(np.ones(4), np.array([0.25, 0.499, 0.5, 0.75]), threshold)
    methylated = next(line.split() for line in text.splitlines() if line.split()[:1] == ["methylated"])
    assert methylated[2] == f"{called / 4:.3f}"


def test_report_of_nobody_called_methylated_says_nan():
    text = report(np.array([0, 1]), np.array([0.1, 0.2]))
    methylated = next(line for line in text.splitlines() if line.split()[:1] == ["methylated"])
    assert methylated.split()[1] == "nan"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ((0.708, 0.52, 0.849, 24), "AUC 0.71 (95 % interval 0.52-0.85, 24 patients)"),
        ((0.5, 0.09, 0.91, 1), "AUC 0.50 (95 % interval 0.09-0.91, 1 patient)"),
        ((None, None, None, 9), "AUC undefined (9 patients)"),
        ((0.5, None, None, 9), "AUC 0.50 (interval undefined, 9 patients)"),
    ],
    ids=["auc", "one", "undefined", "no interval"],
)
def test_figure_line(entry, expected):
    summary = {"level": 0.95, "patient": {"auc": dict(zip(("value", "low", "high", "n"), entry, strict=True))}}
    assert figure_line(summary, "patient") == expected


def test_two_stages_in_one_table_are_refused(slices):
    both = pd.concat([slices, slices.assign(stage="fine_tune")])
    with pytest.raises(EvaluationError, match="one stage to summarise, found fine_tune, transfer"):
        summarise(patients_from_slices(both), both)


def test_patient_in_two_folds_is_refused_and_folds_of_others_are_pooled(slices):
    last = slices["patient_id"] == "00005"
    pooled = slices.assign(fold=last.astype(int))
    assert summarise(patients_from_slices(pooled), pooled, n_resamples=20)["patient"]["auc"]["n"] == 6
    twice = pd.concat([slices, slices[last].assign(fold=1)])
    with pytest.raises(EvaluationError, match="patient 00005: expected each patient once"):
        summarise(patients_from_slices(twice), twice)


def test_patients_and_slices_that_differ_are_refused_by_name(slices):
    patients = patients_from_slices(slices)
    with pytest.raises(EvaluationError, match=r"patient 00005: .*found 0 and no row"):
        summarise(patients, slices[slices["patient_id"] != "00005"])
    with pytest.raises(EvaluationError, match=r"patient 00000: .*found 0 and 1"):
        summarise(patients.assign(label=0), slices)


def test_intervals_are_of_95_percent_where_nothing_else_is_asked_for(slices):
    patients = patients_from_slices(slices)
    assert patient_figures(patients["label"], patients["probability"]) == patient_figures(
        patients["label"], patients["probability"], level=0.95, threshold=0.5
    )
    assert summarise(patients, slices, n_resamples=20)["level"] == 0.95
