"""The code of the logged MLflow model. MLflow copies this file into the model, so nothing has to be pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from mgmt_monai.networks import MGMTClassifier


class MethylationModel(PythonModel):
    """Slices in, probability of MGMT promoter methylation out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the network and load its state, without unpickling anything.

        Args:
            context: Holds the paths of the artifacts ``settings`` and ``checkpoint``.
        """
        settings = json.loads(Path(context.artifacts["settings"]).read_text(encoding="utf-8"))
        self.network = MGMTClassifier(network=settings["network"], hidden_units=settings["hidden_units"])
        self.network.load_state_dict(torch.load(context.artifacts["checkpoint"], map_location="cpu", weights_only=True))
        self.network.eval()

    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The probability of each slice.

        Args:
            model_input: ``(B, 1, H, W)`` float32 in [0, 1], prepared as the bundle's ``preprocessing`` does.
            params: Not used.

        Returns:
            ``(B, 1)`` float32.
        """
        with torch.no_grad():
            logits = self.network(torch.as_tensor(np.asarray(model_input), dtype=torch.float32))
        return torch.sigmoid(logits).numpy()


set_model(MethylationModel())
