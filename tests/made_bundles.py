"""Bundles by hand, as small as one can be: for tests of how a bundle is read, whoever wrote it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parents[1] / "bundles" / "inference.json"

#: Of the training that `phantom_runs.SMALL` makes.
SMALL = {"image_size": 48}

EVALUATION = {
    "stage": "fine_tune",
    "n": 24,
    "n_methylated": 11,
    "level": 0.95,
    "threshold": 0.5,
    "auc": {"value": 0.61, "low": 0.38, "high": 0.8},
    "accuracy": {"value": 0.58, "low": 0.39, "high": 0.76},
    "sensitivity": {"value": 0.64, "low": 0.35, "high": 0.85},
    "specificity": {"value": 0.54, "low": 0.29, "high": 0.77},
}


def template_text() -> str:
    """The template as it stands in a bundle, where our rooms lie in ``scripts``."""
    return TEMPLATE.read_text(encoding="utf-8").replace("mgmt_monai", "scripts")


def write_bundle(
    folder: Path, run: Path | None = None, metadata: dict[str, Any] | None = None, **settings: Any
) -> Path:
    """Write a bundle into ``folder``: of a finished training, or with a model that is none."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    config = {**json.loads(template_text()), **SMALL, **settings}
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    about = {"version": "0.1.0", "evaluation": EVALUATION} if metadata is None else metadata
    (folder / "configs" / "metadata.json").write_text(json.dumps(about))
    if run is None:
        (folder / "models" / "model.pt").write_bytes(b"no model")
        return folder
    shutil.copy(run / "fine_tune" / "best.pt", folder / "models" / "model.pt")
    if (run / "reference.safetensors").is_file():
        shutil.copy(run / "reference.safetensors", folder / "models" / "reference.safetensors")
    return folder
