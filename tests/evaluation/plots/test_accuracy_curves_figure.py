"""Accuracy over the epochs of one stage, by modality."""

import numpy as np
import pandas as pd
import pytest

from mgmt_monai.evaluation.plots.accuracy_curves import accuracy_curves_figure
from mgmt_monai.evaluation.predictions import EvaluationError

MODALITIES = ("T1w", "T1wCE", "T2w", "FLAIR")


def curves(n_transfer=6, n_fine_tune=3, first=0.5, stages=("transfer", "fine_tune"), **columns):
    rows = [
        (stage, epoch, split, metric, first + 0.01 * epoch + 0.1 * (split == "train") - 0.2 * (metric == "loss"))
        for stage, n_epochs in zip(("transfer", "fine_tune"), (n_transfer, n_fine_tune), strict=True)
        for epoch in range(n_epochs, 0, -1)
        for split in ("train", "validation")
        for metric in ("loss", "accuracy")
        if stage in stages
    ]
    return pd.DataFrame(rows, columns=["stage", "epoch", "split", "metric", "value"]).assign(**columns)


def named(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_panel_a_modality_with_its_accuracy(n, faults):
    figure = accuracy_curves_figure({m: curves(6 - i) for i, m in enumerate(MODALITIES[:n])}, "transfer")
    assert [axes.get_title() for axes in figure.axes] == list(MODALITIES[:n])
    for i, axes in enumerate(figure.axes):
        for split, first in (("Train", 0.6), ("Validation", 0.5)):
            x, y = named(axes)[split].get_data()
            assert list(x) == list(range(1, 7 - i))
            assert y == pytest.approx(first + 0.01 * np.arange(1, 7 - i))
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert faults(figure) == []


def test_stage_is_the_one_asked_for():
    figure = accuracy_curves_figure({"T1w": curves()}, "fine_tune")
    assert list(named(figure.axes[0])["Train"].get_xdata()) == [1, 2, 3]
    assert figure.legends[0].get_title().get_text() == "Fine-tuned"


def test_splits_differ_in_line_and_marker():
    lines = named(accuracy_curves_figure({"T1w": curves()}, "transfer").axes[0])
    assert lines["Train"].get_linestyle() != lines["Validation"].get_linestyle()
    assert lines["Train"].get_marker() != lines["Validation"].get_marker()


def test_stage_of_one_epoch_has_a_whole_tick(faults):
    figure = accuracy_curves_figure({"T1w": curves(n_transfer=1)}, "transfer")
    assert faults(figure) == []
    shown = figure.axes[0].get_xticks()
    assert [tick for tick in shown if 0.5 <= tick <= 1.5] == [1]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_modality_without_the_stage_says_so(missing, faults):
    tables = {m: curves(stages=("fine_tune",) if i == missing else ("transfer",)) for i, m in enumerate(MODALITIES[:3])}
    figure = accuracy_curves_figure(tables, "transfer")
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [
        ["No such stage"] if position == missing else [] for position in range(3)
    ]
    low, high = figure.axes[0].get_ylim()
    assert 0.4 < low < 0.51
    assert 0.66 < high < 0.8
    assert faults(figure) == []


def test_several_trainings_are_thin_lines_and_a_thick_mean():
    trainings = [curves(4, first=0.4, fold=0, seed=1), curves(4, first=0.5, fold=1, seed=1), curves(2, fold=2, seed=1)]
    trainings.append(curves(1, fold=0, seed=2))
    figure = accuracy_curves_figure({"T1w": pd.concat(trainings)}, "transfer")
    axes = figure.axes[0]
    thin = [line for line in axes.get_lines() if line.get_label().startswith("_")]
    assert sorted(len(line.get_xdata()) for line in thin) == [1, 1, 2, 2, 4, 4, 4, 4]
    mean = named(axes)["Validation"]
    assert list(mean.get_xdata()) == [1, 2, 3, 4]
    assert mean.get_ydata() == pytest.approx([0.485, 0.52 - 0.1 / 3, 0.48, 0.49])
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "Each training (thick: mean)"


def test_mean_ends_where_fewer_than_half_go_on():
    trainings = [curves(n, fold=fold, seed=0) for fold, n in enumerate((5, 3, 3))]
    figure = accuracy_curves_figure({"T1w": pd.concat(trainings)}, "transfer")
    assert list(named(figure.axes[0])["Train"].get_xdata()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("tables", "found"),
    [
        ({}, "found none in no modality"),
        ({"T1w": curves(stages=("fine_tune",))}, "stage transfer in at least one modality, found none in T1w"),
        ({"T1w": curves().drop(columns="epoch")}, "none named epoch"),
        ({"T1w": pd.concat([curves(), curves()])}, "T1w: expected one train accuracy for epoch 6"),
    ],
    ids=["no modality", "no stage", "no column", "twice"],
)
def test_tables_that_cannot_be_drawn_are_refused(tables, found):
    with pytest.raises(EvaluationError, match=found):
        accuracy_curves_figure(tables, "transfer")
