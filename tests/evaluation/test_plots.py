"""The pictures: what they show, not how they look."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.metrics import auc, roc_auc_score

from mgmt_monai.evaluation.plots.learning_curves import learning_curves_figure
from mgmt_monai.evaluation.plots.roc import roc_figure
from mgmt_monai.evaluation.predictions import SLICE_COLUMNS, EvaluationError, patients_from_slices


@pytest.fixture
def slices():
    random = np.random.default_rng(0)
    rows = [
        (f"{number:05d}", "T1w", stage, "test", 0, 7, number % 2, probability, index)
        for stage in ("fine_tune", "transfer")
        for number in range(12)
        for index, probability in enumerate(random.random(3))
    ]
    return pd.DataFrame(rows, columns=list(SLICE_COLUMNS))


@pytest.fixture
def curves():
    rows = [
        (stage, epoch, split, metric, 1 / (epoch + (split == "validation")) if epoch != 3 else 0.1)
        for stage, epochs in (("transfer", 4), ("fine_tune", 2))
        for epoch in range(1, epochs + 1)
        for split in ("train", "validation")
        for metric in ("auc", "loss", "accuracy")
    ]
    return pd.DataFrame(rows, columns=["stage", "epoch", "split", "metric", "value"])


def _legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def _curves(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def _renders(figure):
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=100)
    return target.getvalue()[:8] == b"\x89PNG\r\n\x1a\n"


def test_roc_figure_has_a_curve_a_stage_whose_area_is_the_legend_s(slices):
    figure = roc_figure(patients_from_slices(slices), slices, n_resamples=50)
    left, right = figure.axes
    for axes, table in ((left, patients_from_slices(slices)), (right, slices)):
        names = _legend(axes)
        assert [name.split(":")[0] for name in names] == ["Chance", "Transfer", "Fine-tuned"]
        for name, stage in zip(names[1:], ("transfer", "fine_tune"), strict=True):
            of_stage = table[table["stage"] == stage]
            x, y = _curves(axes)[name].get_data()
            area = roc_auc_score(of_stage["label"], of_stage["probability"])
            assert auc(x, y) == pytest.approx(area)
            assert f"{area:.2f} (" in name
    assert _renders(figure)


def test_roc_figure_gives_patients_the_interval_of_delong(slices):
    patients = patients_from_slices(slices)
    legend = _legend(roc_figure(patients, slices, level=0.9, n_resamples=20).axes[0])
    for name, stage in zip(legend[1:], ("transfer", "fine_tune"), strict=True):
        of_stage = patients[patients["stage"] == stage]
        positive, negative = (of_stage.loc[of_stage["label"] == value, "probability"].to_numpy() for value in (1, 0))
        beats = (positive[:, None] > negative[None]).mean(axis=1), (positive[:, None] > negative[None]).mean(axis=0)
        area = beats[0].mean()
        sd = np.sqrt(sum(part.var(ddof=1) / len(part) for part in beats))
        reach = norm.ppf(0.95) * sd / (area * (1 - area))
        low, high = (expit(logit(area) + end) for end in (-reach, reach))
        assert name.endswith(f": {area:.2f} ({low:.2f}-{high:.2f})")


def test_roc_figure_of_one_class_says_undefined(slices):
    one = slices[slices["label"] == 1]
    figure = roc_figure(patients_from_slices(one), one, n_resamples=20)
    assert "Transfer: undefined (one class only)" in _legend(figure.axes[0])
    assert _renders(figure)


def test_learning_curves_put_stages_end_to_end(curves):
    figure = learning_curves_figure(curves)
    loss, accuracy, _ = figure.axes
    assert [axes.get_ylabel().split(" ")[0] for axes in figure.axes] == ["Loss", "Accuracy", "AUC"]
    train = [line.get_xdata().tolist() for line in accuracy.get_lines() if line.get_marker() == "o"]
    assert train == [[1, 2, 3, 4], [5, 6]]
    assert [4.5, 4.5] in [list(line.get_xdata()) for line in loss.get_lines()]
    assert {text.get_text() for text in loss.texts} == {"Transfer", "Fine-tuned"}
    assert _renders(figure)


def test_learning_curves_with_epochs_that_run_on_stay_where_they_are(curves):
    running = curves.assign(epoch=curves["epoch"] + np.where(curves["stage"] == "fine_tune", 4, 0))
    shifted, kept = (learning_curves_figure(table).axes[1].get_lines() for table in (curves, running))
    assert [list(line.get_xdata()) for line in shifted] == [list(line.get_xdata()) for line in kept]


def test_learning_curves_ring_the_lowest_validation_loss_of_each_stage(curves):
    loss = learning_curves_figure(curves).axes[0]
    rings = [line for line in loss.get_lines() if line.get_markersize() == 10]
    assert [(float(ring.get_xdata()[0]), float(ring.get_ydata()[0])) for ring in rings] == [
        (3.0, 0.1),
        (6.0, pytest.approx(1 / 3)),
    ]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda table: table.drop(columns="value"), "none named value"),
        (lambda table: table.iloc[:0], "no row"),
        (lambda table: table.assign(split="val"), "train or validation, found val"),
    ],
    ids=["column", "empty", "split"],
)
def test_learning_curves_of_a_bad_table_are_refused(curves, spoil, found):
    with pytest.raises(EvaluationError, match=found):
        learning_curves_figure(spoil(curves))


@pytest.mark.parametrize("module", ["matplotlib.pyplot", "torch", "monai"])
def test_room_does_not_import(module, imported_by_the_room):
    assert module not in imported_by_the_room


@pytest.fixture(scope="module")
def imported_by_the_room():
    rooms = ", ".join(f"mgmt_monai.evaluation.{name}" for name in ("evaluation_folder", "plots", "summary"))
    code = f"import sys, {rooms}; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
