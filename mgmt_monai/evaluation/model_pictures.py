"""The pictures of one model's predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mgmt_monai.evaluation.calibration import reliability_curve
from mgmt_monai.evaluation.decision_curve import decision_curve
from mgmt_monai.evaluation.delong import auc_estimate
from mgmt_monai.evaluation.folds import fold_widen
from mgmt_monai.evaluation.intervals import wider_level
from mgmt_monai.evaluation.plots.calibration_plot import calibration_figure
from mgmt_monai.evaluation.plots.decision_curve_plot import decision_curve_figure
from mgmt_monai.evaluation.plots.forest import ForestRow, forest_figure, sites_figure
from mgmt_monai.evaluation.plots.roc_band_plot import roc_band_figure
from mgmt_monai.evaluation.roc_band import roc_band
from mgmt_monai.evaluation.subgroups import Subgroup


def model_pictures(
    pooled: pd.DataFrame,
    groups: Sequence[Subgroup],
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
    within: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, Figure]]:
    """The pictures that the predictions have data for.

    Args:
        pooled: One row a test patient, as :func:`mgmt_monai.evaluation.pooling.pool` returns it.
        groups: Of these patients.
        level: Of every interval.
        n_resamples: Of the patients, for the ROC's band.
        seed: Of the resampling.
        within: The model's ``within_site``, as ``evaluation.json`` has it.

    Yields:
        ``roc``, ``calibration`` and ``decision_curve`` where there are patients of both classes, ``forest`` where there
        are subgroups, ``sites`` where a site is known; each with its figure.
    """
    label, probability = pooled["label"].to_numpy(), pooled["probability"].to_numpy()
    wide = wider_level(level, fold_widen(pooled["fold"]))
    whole = auc_estimate(label, probability, wide)
    if 0 < label.sum() < len(label):
        band = roc_band(label, probability, wide, n_resamples, seed)
        yield "roc", roc_band_figure(label, probability, band, whole, level)
        curve = reliability_curve(label, probability, level=wide)
        yield "calibration", calibration_figure(curve, probability, label, level)
        yield "decision_curve", decision_curve_figure(decision_curve(label, probability))
    if groups:
        rows = [ForestRow(group.column, group.value, group.auc, group.n_methylated) for group in groups]
        yield "forest", forest_figure([ForestRow("", "All patients", whole, int(label.sum())), *rows], level)
    if within is not None and within["sites"]:
        yield "sites", sites_figure(within, level)
