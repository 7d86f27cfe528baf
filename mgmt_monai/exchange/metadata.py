"""``metadata.json``: what MONAI asks of a bundle, and what this one was trained on and reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from mgmt_monai.exchange.configs import inference_config
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.run_source import Source
from mgmt_monai.packaged_configs import packaged_config
from mgmt_monai.training.origin import MADE

FIGURES = {
    "auc": "auc",
    "accuracy": "accuracy",
    "sensitivity": "recall",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "f1",
}
"""Figures under the names that radiology gives them, and those they have in ``metrics.json``."""

INTENDED_USE = "Research only. Not for diagnosis or treatment, and not for any other clinical use."

ONE_OF_MANY = (
    " It is one training of a comparison (seed {seed}): the comparison's report judges the average of all seeds, an "
    "ensemble; the figures here are this training's own."
)

FIT = {"keep": "padded to a square", "squash": "squashed to a square"}
"""How a field of view that is not square becomes one, by ``aspect``."""

#: What trained the model is told where it is not known at the export.
_NOT_SAID = "Not said by whoever exported this bundle."


def make_metadata(source: Source, name: str, requirements: Sequence[str], data_source: str = "") -> dict[str, Any]:
    """The metadata of a bundle.

    Args:
        source: The run.
        name: The bundle's.
        requirements: Distributions that its code needs beside MONAI, PyTorch and NumPy.
        data_source: What it was trained on, in words; empty where nobody says.

    Returns:
        What MONAI's schema of 2024-07-25 takes; beside it ``evaluation``, the test patients' figures, and
        ``training``, the cohort in numbers and what it was trained with.

    Raises:
        ExchangeError: The run's figures lack the exported stage.
    """
    made, settings = packaged_config("metadata"), inference_config(source.config)
    made |= {
        "name": name,
        "monai_version": _public_version("monai"),
        "pytorch_version": _public_version("torch"),
        "numpy_version": _public_version("numpy"),
        "required_packages_version": {package: _public_version(package) for package in requirements},
        "description": (
            f"Classifies MGMT promoter methylation of glioblastoma from the middle slices of one {source.modality} "
            "series of brain MRI."
        ),
        "data_source": " ".join(part for part in (source.origin, data_source) if part) or _NOT_SAID,
        "data_type": "DICOM or NIfTI",
        "image_classes": f"one slice of {source.modality}, scaled to [0, 1], {FIT[settings['aspect']]}",
        "intended_use": INTENDED_USE,
    }
    evaluation = evaluation_of(source)
    made["eval_metrics"] = {
        name: evaluation[name]["value"] for name in FIGURES if evaluation[name]["value"] is not None
    }
    size = int(settings["image_size"])
    made["network_data_format"]["inputs"]["image"]["spatial_shape"] = [size, size]
    if source.config.get("parent_run_id"):
        made["description"] += ONE_OF_MANY.format(seed=source.config["seed"])
    made["evaluation"] = evaluation
    made["training"] = training_of(source)
    return made


def evaluation_of(source: Source) -> dict[str, Any]:
    """What the exported stage reached on the run's own test patients.

    Args:
        source: The run.

    Returns:
        ``stage``, ``n``, ``n_methylated``, ``level``, ``threshold``; for each of `FIGURES` its ``value``, ``low`` and
        ``high``, None where undefined.

    Raises:
        ExchangeError: The run's figures lack this stage.
    """
    try:
        test = source.metrics[source.stage]["test"]
        figures = test["patient"]
        return {
            "stage": source.stage,
            "n": int(figures["auc"]["n"]),
            "n_methylated": int(figures["recall"]["n"]),
            "level": test["level"],
            "threshold": test["threshold"],
            **{
                ours: {part: figures[theirs][part] for part in ("value", "low", "high")}
                for ours, theirs in FIGURES.items()
            },
        }
    except (KeyError, TypeError) as error:
        raise ExchangeError(
            f"metrics.json: expected the test patients' figures of {source.stage}, found none ({error}). Train again."
        ) from error


def training_of(source: Source) -> dict[str, Any]:
    """What the model was trained on and with: numbers and names of packages, nobody's identity.

    Args:
        source: The run.
    """
    config: Mapping[str, Any] = source.config
    made: dict[str, Any] = {
        "made_cohort": source.origin.startswith(MADE),
        "patients": source.counts,
        "manifest_hash": source.manifest_hash,
        "seed": config["seed"],
        "initial_weights": source.weights,
        "backbone": config["backbone"],
        "software": source.software,
    }
    if config.get("fold") is not None:
        made["fold"] = {key: config.get(key) for key in ("repeat", "fold", "inner_fold")}
    if source.run_id:
        made["mlflow_run_id"] = source.run_id
    return made


def _public_version(package: str) -> str:
    """Without what a local build adds to it."""
    return version(package).partition("+")[0]
