"""The pictures, one a file, as matplotlib figures; without global state, so that they work in threads."""

from mgmt_monai.evaluation.plots.accuracy_curves import accuracy_curves_figure
from mgmt_monai.evaluation.plots.calibration_plot import calibration_figure
from mgmt_monai.evaluation.plots.candidates import candidates_figure
from mgmt_monai.evaluation.plots.controls import ControlRow, controls_figure
from mgmt_monai.evaluation.plots.decision_curve_plot import decision_curve_figure
from mgmt_monai.evaluation.plots.distributions import distributions_figure
from mgmt_monai.evaluation.plots.forest import ForestRow, forest_figure
from mgmt_monai.evaluation.plots.learning_curves import learning_curves_figure
from mgmt_monai.evaluation.plots.picture_files import save_figure
from mgmt_monai.evaluation.plots.roc import roc_figure
from mgmt_monai.evaluation.plots.roc_band_plot import roc_band_figure
from mgmt_monai.evaluation.plots.spread import spread_figure

__all__ = [
    "ControlRow",
    "ForestRow",
    "accuracy_curves_figure",
    "calibration_figure",
    "candidates_figure",
    "controls_figure",
    "decision_curve_figure",
    "distributions_figure",
    "forest_figure",
    "learning_curves_figure",
    "roc_band_figure",
    "roc_figure",
    "save_figure",
    "spread_figure",
]
