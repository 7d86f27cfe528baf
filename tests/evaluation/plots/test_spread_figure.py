"""The AUC of each fold, seed and repeat."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from mgmt_monai.evaluation.plots.spread import spread_figure
from mgmt_monai.evaluation.predictions import EvaluationError


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    rows = [
        (f"{network}, {modality}", repeat, fold, seed, float(np.clip(0.55 + 0.08 * random.normal(), 0, 1)))
        for network in ("efficientnet_b0", "alexnet", "a_network_with_a_very_long_name_v2_large")
        for modality in ("T1w", "FLAIR")
        for repeat in range(2)
        for fold in range(5)
        for seed in range(2)
    ]
    return pd.DataFrame(rows, columns=["candidate", "repeat", "fold", "seed", "auc"])


def test_every_model_is_a_point_beside_its_candidate_s_mean(frame, by_gid, faults):
    figure = spread_figure(frame)
    axes = figure.axes[0]
    means = by_gid(axes, "value")
    clouds = by_gid(axes, "models")
    assert len(means) == len(clouds) == 6
    for (_, rows), cloud, mean in zip(frame.groupby("candidate", sort=False), clouds, means, strict=True):
        x, y = cloud.get_offsets().T
        assert list(x) == list(rows["auc"])
        assert mean.get_xdata()[0] == pytest.approx(rows["auc"].mean())
        assert np.abs(y - mean.get_ydata()[0]).max() <= 0.13 + 1e-9
    assert {mean.get_marker() for mean in means} == {"D"}
    assert all(len(cloud.get_paths()[0].vertices) > 8 for cloud in clouds)  # rounder than a diamond
    assert faults(figure) == []


def test_rows_of_points_do_not_touch(frame, by_gid):
    clouds = by_gid(spread_figure(frame.assign(auc=0.5)).axes[0], "models")
    ends = [(cloud.get_offsets()[:, 1].min(), cloud.get_offsets()[:, 1].max()) for cloud in clouds]
    assert all(upper[1] < lower[0] for upper, lower in pairwise(ends))


def test_mean_and_number_leave_out_what_is_undefined(frame, by_gid, faults):
    first, second = frame["candidate"].unique()[:2]
    holey = frame[frame["candidate"].isin([first, second])].copy()
    holey.loc[holey["candidate"] == first, "auc"] = np.nan
    of_second = holey["candidate"] == second
    holey.loc[of_second, "auc"] = [np.nan, 0.25, 0.75, *[1.0] * 17]
    figure = spread_figure(holey)
    _, values, counts = figure.axes
    assert [label.get_text() for label in values.get_yticklabels()] == ["Mean AUC", "undefined", "0.95"]
    assert [label.get_text() for label in counts.get_yticklabels()] == ["Models", "0", "19"]
    assert len(by_gid(figure.axes[0], "value")) == 1
    assert faults(figure) == []


@pytest.mark.parametrize(
    ("spoil", "found"),
    [(lambda table: table.drop(columns="fold"), "none named fold"), (lambda table: table.iloc[:0], "no row")],
    ids=["column", "empty"],
)
def test_frame_that_cannot_be_drawn_is_refused(frame, spoil, found):
    with pytest.raises(EvaluationError, match=found):
        spread_figure(spoil(frame))
