"""The probabilities of several modalities, by class and stage."""

import numpy as np
import pandas as pd
import pytest

from mgmt_monai.evaluation.plots.distributions import distributions_figure
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, EvaluationError

MODALITIES = ("T1w", "T1wCE", "T2w", "FLAIR")


@pytest.fixture
def table(cohort):
    def make(n=53, modality="T1w", stages=("fine_tune", "transfer"), effect=0.5, fold=0, probability=None):
        rows = []
        for stage in stages:
            label, found = cohort(n, effect * (1 + (stage == "fine_tune")))
            found = found if probability is None else np.full(n, probability)
            rows += [
                (f"{i:05d}", modality, stage, "test", fold, 7, a, b, 20)
                for i, (a, b) in enumerate(zip(label.tolist(), found.tolist(), strict=True))
            ]
        return pd.DataFrame(rows, columns=list(PATIENT_COLUMNS))

    return make


def panels(figure):
    n_stages = sum(bool(axes.get_title()) for axes in figure.axes)
    return np.array(figure.axes).reshape(-1, n_stages)


def test_row_a_modality_and_column_a_stage(table, faults):
    figure = distributions_figure({modality: table(modality=modality) for modality in MODALITIES})
    grid = panels(figure)
    assert grid.shape == (4, 2)
    assert [axes.get_title() for axes in grid[0]] == ["Transfer", "Fine-tuned"]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == [f"{modality}\npatients" for modality in MODALITIES]
    assert faults(figure) == []


def test_every_patient_is_a_point_and_in_a_bar(table):
    patients = table()
    for axes, stage in zip(panels(distributions_figure({"T1w": patients}))[0], ("transfer", "fine_tune"), strict=True):
        of_stage = patients[patients["stage"] == stage]
        for value, points in enumerate(axes.collections):
            expected = of_stage.loc[of_stage["label"] == value, "probability"].to_numpy()
            x, y = points.get_offsets().T
            assert sorted(x) == pytest.approx(sorted(expected))
            assert (y < 0).all()
            outline = axes.patches[2 * value + 1].get_xy()
            assert outline[:, 1].max() == np.histogram(expected, np.linspace(0, 1, 21))[0].max()
        low, high = axes.get_ylim()
        assert low < min(points.get_offsets()[:, 1].min() for points in axes.collections)
        assert all(0 <= tick <= high for tick in axes.get_yticks())


def test_classes_differ_in_line_and_marker(table):
    axes = panels(distributions_figure({"T1w": table()}))[0, 0]
    assert axes.patches[1].get_linestyle() != axes.patches[3].get_linestyle()
    circle, triangle = (len(points.get_paths()[0].vertices) for points in axes.collections)
    assert circle != triangle


def test_patient_of_several_models_is_shown_once_with_their_mean(table):
    of_model = [table(10, fold=i, probability=p, stages=("fine_tune",)) for i, p in enumerate((0.2, 0.7))]
    (axes,) = distributions_figure({"T1w": pd.concat(of_model)}).axes
    x = [points[0] for cloud in axes.collections for points in cloud.get_offsets().tolist()]
    assert x == pytest.approx([0.45] * 10)


def test_mean_of_ones_stays_in_the_last_bar(table):
    several = pd.concat([table(4, fold=fold, probability=1.0, stages=("fine_tune",)) for fold in range(7)])
    (axes,) = distributions_figure({"T1w": several}).axes
    counted = sum(axes.patches[2 * value + 1].get_xy()[:, 1].max() for value in (0, 1))
    assert counted == 4


def test_stage_that_one_modality_lacks_is_said_and_has_no_threshold(table, faults):
    figure = distributions_figure({"T1w": table(), "T2w": table(3, "T2w", stages=("fine_tune",))}, threshold=0.43751)
    grid = panels(figure)
    assert [text.get_text() for text in grid[1, 0].texts] == ["No such stage"]
    assert [[list(line.get_xdata()) for line in axes.get_lines()] for axes in grid[1]] == [[], [[0.43751, 0.43751]]]
    assert figure.legends[0].get_texts()[-1].get_text() == "Threshold: 0.438"
    assert faults(figure) == []


@pytest.mark.parametrize(("n", "effect"), [(582, 0.5), (53, 200.0), (2, 0.5)], ids=["large", "perfect", "two patients"])
def test_one_modality_of_any_size_is_drawn(table, faults, n, effect):
    assert faults(distributions_figure({"T1w": table(n, effect=effect)})) == []


def test_nothing_to_draw_is_refused(table):
    with pytest.raises(EvaluationError, match="found no table"):
        distributions_figure({})
    with pytest.raises(EvaluationError, match="found no row for T2w"):
        distributions_figure({"T1w": table(), "T2w": table().iloc[:0]})
