"""The page of a training: its result first, what it is worth, curves, patients, and the settings beside the paper's."""

from collections.abc import Iterator, Mapping
from typing import Any

from mgmt_monai.evaluation.intervals import estimate_text
from mgmt_monai.evaluation.summary import figure_line
from mgmt_monai.html_page import data_uri, page_pieces
from mgmt_monai.training.config import without_paths
from mgmt_monai.training.outcome import Outcome
from mgmt_monai.training.plain_model import PLAIN
from mgmt_monai.training.run_directory import RunDirectory

PAPER: dict[str, Any] = {
    "exclusions": "none", "test_fraction": 0.1, "train_fraction": 0.85, "control": "none", "plane": "native",
    "slices": "middle", "slice_fraction": 0.2, "aspect": "squash", "image_size": 300, "zoom_min": 0.8, "zoom_max": 1.2,
    "brightness_min": 0.8, "brightness_max": 1.2, "backbone": "efficientnet-b0", "weights": "imagenet",
    "hidden_units": 32, "dropout": 0.4, "weigh": "slice", "transfer_epochs": 20, "transfer_batch_size": 128,
    "transfer_least_steps": 0, "transfer_learning_rate": 1e-4, "fine_tune_epochs": 10, "fine_tune_batch_size": 64,
}  # fmt: skip
"""What the paper says of the settings; of others it says nothing. Source: docs/explanation/paper.md."""

PICTURES = {
    "learning_curves.png": "Learning curves of both stages",
    "roc.png": "ROC curves of the test patients, and of their slices",
    "prediction_distribution.png": "Predicted probability of each test patient, by label",
}
"""Of the run's ``figures``: file and what it shows."""

FIGURES = {
    "auc": "AUC", "accuracy": "accuracy", "recall": "sensitivity", "specificity": "specificity",
    "precision": "precision", "f1": "F1",
}  # fmt: skip


def training_page(outcome: Outcome, run: RunDirectory) -> Iterator[str]:
    """The page, piece by piece. No script runs in it, and it names no patient and no path.

    Args:
        outcome: Of the training.
        run: Its folder, with ``figures``.
    """
    stages = {name: of for name, of in outcome.metrics.items() if name != PLAIN}
    plain = outcome.metrics.get(PLAIN)
    patient = outcome.test["patient"]
    content = {
        "outcome": outcome,
        "auc": patient["auc"],
        "level": f"{100 * outcome.test['level']:g} %",
        "figures": [(name, estimate_text(patient[key]), patient[key]["n"]) for key, name in FIGURES.items()],
        "stages": [
            (name, _best_epoch(of), *(estimate_text(of[split]["patient"]["auc"]) for split in ("validation", "test")))
            for name, of in stages.items()
        ],
        "plain": "" if plain is None else figure_line(plain["test"]),
        "pictures": [
            (data_uri((run.path / "figures" / name).read_bytes(), "image/png"), title)
            for name, title in PICTURES.items()
        ],
        "differing": [
            (name, here, value)
            for name, value in PAPER.items()
            if (here := without_paths({name: (run.config or {}).get(name, value)})[name]) != value
        ],
        "software": run.state.get("software", {}),
    }
    return page_pieces("mgmt_monai.training", "training.html.j2", "training", run.name, content, style="training.css")


def _best_epoch(of_stage: Mapping[str, Any]) -> str:
    epoch = of_stage["learning"]["best_epoch"]
    return str(epoch) if epoch else "0 (its start)"
