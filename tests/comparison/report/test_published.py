"""The paper's figures as printed, and their intervals against statsmodels and scikit-learn."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.metrics import classification_report
from statsmodels.stats.proportion import proportion_confint

from mgmt_monai.comparison.report.published import (
    best_of_guessers,
    is_of_whole_patients,
    printed_accuracy,
    read_published,
    spelling,
)

# Typed from the paper, independently of published.json.
TABLE_1 = {
    "AlexNet": ("55.68 %", "0.55", "0.55", "0.54"),
    "MobileNet": ("52 %", "0.52", "0.52", "0.51"),
    "ResNet10": ("57 %", "0.50", "0.77", "0.61"),
    "ResNet50": ("56.81 %", "0.56", "0.56", "0.55"),
    "EfficientNetB0": ("70 %", "0.71", "0.70", "0.69"),
    "EfficientNetB3": ("66.92 %", "0.58", "0.56", "0.55"),
}
TABLE_2 = {
    "FLAIR": ("52.40 %", "0.5077", "64.20 %"),
    "T1w": ("48.61 %", "0.4443", "71.92 %"),
    "T1wCE": ("46.73 %", "0.4945", "53.6 %"),
    "T2w": ("53.97 %", "49.45", "61.51 %"),
}
FIGURE_7 = """
0.0 0.67 0.81 0.73 27
1.0 0.75 0.58 0.65 26
accuracy 0.70 53
macro avg 0.71 0.70 0.69 53
weighted avg 0.71 0.70 0.69 53
"""


@pytest.fixture(scope="module")
def published():
    return read_published()


def test_table_1_is_as_printed(published):
    found = {
        row.network: tuple(getattr(row, name).text for name in ("accuracy", "precision", "recall", "f1"))
        for row in published.table_1
    }
    assert found == TABLE_1


def test_table_2_is_as_printed_slips_included(published):
    found = {
        row.modality: (row.transfer_accuracy.text, row.transfer_auc.text, row.fine_tune_accuracy.text)
        for row in published.table_2
    }
    assert found == TABLE_2


def test_the_two_slips_and_nothing_else_are_marked(published):
    notes = {
        (row.modality, name): getattr(row, name).note
        for row in published.table_2
        for name in ("transfer_accuracy", "transfer_auc", "fine_tune_accuracy")
        if getattr(row, name).note
    }
    assert set(notes) == {("T1w", "fine_tune_accuracy"), ("T2w", "transfer_auc")}
    assert "70 %" in notes["T1w", "fine_tune_accuracy"] and "0.4945" in notes["T2w", "transfer_auc"]


def test_accuracies_have_the_wilson_interval_of_statsmodels(published):
    accuracies = published.accuracies()
    assert len(accuracies) == 6 + 4 * 2
    for printed in accuracies:
        share = float(printed.text.removesuffix(" %")) / 100
        right = min(range(54), key=lambda count: abs(count / 53 - share))
        low, high = proportion_confint(right, 53, method="wilson")
        assert printed.of == right
        assert printed.estimate == pytest.approx((share, low, high, 53))


def test_aucs_have_the_interval_whose_ends_the_score_test_just_keeps(published):
    def rejected(auc, end):
        # Newcombe's method 5, written out: Hanley and McNeil's variance at `end`, mean sample size in its bracket
        mean = (26 + 27) / 2 - 1
        variance = end * (1 - end) * (1 + mean * ((1 - end) / (2 - end) + end / (1 + end))) / (26 * 27)
        return (end - auc) ** 2 - 1.959963984540054**2 * variance

    for row in published.table_2:
        auc = row.transfer_auc.estimate.value
        ends = (
            brentq(lambda end, auc=auc: rejected(auc, end), 1e-9, auc),
            brentq(lambda end, auc=auc: rejected(auc, end), auc, 1 - 1e-9),
        )
        assert row.transfer_auc.estimate[1:3] == pytest.approx(ends)


def test_auc_that_is_none_is_read_as_the_line_above(published):
    by_modality = {row.modality: row.transfer_auc.estimate for row in published.table_2}
    assert by_modality["T2w"].value == 0.4945 == by_modality["T1wCE"].value


def test_precision_recall_and_f1_get_no_interval(published):
    for row, name in product(published.table_1, ("precision", "recall", "f1")):
        estimate = getattr(row, name).estimate
        assert estimate.value == float(TABLE_1[row.network][("precision", "recall", "f1").index(name) + 1])
        assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_classification_report_is_as_printed(published):
    lines = [line.split() for line in published.classification_report.splitlines() if line.strip()]
    assert lines[0] == ["precision", "recall", "f1-score", "support"]
    assert lines[1:] == [line.split() for line in FIGURE_7.strip().splitlines()]


def test_counts_behind_figure_7_give_its_every_figure(published):
    label = np.array([0] * 27 + [1] * 26)
    called = np.array([0] * 22 + [1] * 5 + [0] * 11 + [1] * 15)
    printed = [line.split() for line in published.classification_report.splitlines() if line.strip()]
    made = classification_report(label, called, target_names=["0.0", "1.0"], digits=2)
    assert [line.split() for line in made.splitlines() if line.strip()] == printed
    assert published.sensitivity == pytest.approx((15 / 26, *proportion_confint(15, 26, method="wilson"), 26))
    assert published.specificity == pytest.approx((22 / 27, *proportion_confint(22, 27, method="wilson"), 27))


def test_two_of_the_fourteen_accuracies_are_of_whole_patients(published):
    # 37 of 53 is 69.81 %, 30 of 53 is 56.60 %; no other printed accuracy is a rounded multiple of 1 in 53
    found = [printed.text for printed in published.accuracies() if is_of_whole_patients(printed.text)]
    assert found == ["57 %", "70 %"]


def test_best_of_24_guessers_against_guessers_that_toss_coins():
    mean, high = best_of_guessers(24)
    best = np.random.default_rng(0).binomial(53, 0.5, size=(100_000, 24)).max(axis=1) / 53
    assert mean == pytest.approx(best.mean(), abs=0.0005)
    assert high == pytest.approx(np.quantile(best, 0.95))


def test_best_of_one_guesser_is_a_coin():
    assert best_of_guessers(1, 10)[0] == pytest.approx(0.5)


def test_level_of_the_intervals_is_kept(published):
    wide = printed_accuracy("70", level=0.99).estimate
    assert tuple(wide[1:3]) == pytest.approx(proportion_confint(37, 53, alpha=0.01, method="wilson"))
    assert read_published(0.99).table_1[4].accuracy.estimate == wide


@pytest.mark.parametrize(
    ("ours", "papers"),
    [
        ("alexnet", "AlexNet"),
        ("mobilenet-v2", "MobileNet"),
        ("resnet-10", "ResNet10"),
        ("resnet-50", "ResNet50"),
        ("efficientnet-b0", "EfficientNetB0"),
        ("efficientnet-b3", "EfficientNetB3"),
    ],
)
def test_networks_of_this_package_are_found_among_the_papers(published, ours, papers):
    assert [row.network for row in published.table_1 if spelling(ours) in row.names] == [papers]
