"""The patients' ROC curve with its band."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.roc_band_plot import roc_band_figure
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.roc_band import roc_band

AUC = Estimate(0.66, 0.56, 0.75, 60)


@pytest.fixture(params=[(60, 0.5), (20, 40.0), (5, 0.3)], ids=["weak", "perfect", "five patients"])
def patients(request, cohort):
    return cohort(*request.param)


def test_curve_is_that_of_scikit_learn(patients, faults):
    band = roc_band(*patients, n_resamples=50)
    figure = roc_band_figure(*patients, band, AUC)
    (curve,) = [line for line in figure.axes[0].get_lines() if "AUC" in line.get_label()]
    x, y, _ = roc_curve(*patients, drop_intermediate=False)
    assert curve.get_xdata() == pytest.approx(x)
    assert curve.get_ydata() == pytest.approx(y)
    assert faults(figure) == []


def test_band_is_filled_between_its_ends_and_edged(patients):
    band = roc_band(*patients, n_resamples=50)
    (axes,) = roc_band_figure(*patients, band, AUC).axes
    (area,) = axes.collections
    outline = area.get_paths()[0].vertices
    for ends in (band.low, band.high):
        expected = np.column_stack([band.false_positive_rate, ends])
        assert all((np.abs(outline - point).max(axis=1) < 1e-12).any() for point in expected)
        assert any(
            line.get_xdata().shape == ends.shape and (line.get_ydata() == ends).all() for line in axes.get_lines()[:2]
        )


def test_legend_says_auc_interval_level_and_patients(cohort):
    label, probability = cohort(60)
    band = roc_band(label, probability, level=0.9, n_resamples=50)
    legend = roc_band_figure(label, probability, band, AUC, level=0.9).axes[0].get_legend()
    words = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    assert words == [
        "AUC 0.66 (0.56-0.75), 90 % interval",
        "90 % band of the sensitivity at each false positive rate",
        "Chance: 0.50",
    ]
    methylated = int(label.sum())
    expected = f"60 patients\n{methylated} methylated, {60 - methylated} unmethylated"
    assert legend.get_title().get_text() == expected


def test_band_that_is_undefined_leaves_the_curve(faults):
    label, probability = np.array([0, 0, 1]), np.array([0.2, 0.6, 0.5])
    band = roc_band(label, probability, n_resamples=20)
    assert np.isnan(band.low).all()
    assert faults(roc_band_figure(label, probability, band, AUC)) == []


def test_one_class_is_refused(cohort):
    label, probability = cohort(10)
    band = roc_band(label, probability, n_resamples=20)
    with pytest.raises(EvaluationError, match="found 10 methylated of 10"):
        roc_band_figure(np.ones(10), probability, band, AUC)
