"""The code of the logged MLflow model. MLflow copies this file into the model, so nothing has to be pickled."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

#: Slices at a time: more ask for more memory, and are not faster.
_BATCH = 64


class MethylationModel(PythonModel):
    """Slices in, probability of MGMT promoter methylation out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the network from the artifacts ``settings`` and ``checkpoint``, without unpickling anything."""
        # Only here: the code beside the model can be imported once the model is loaded, not while it is logged.
        from mgmt_monai.networks import MGMTClassifier

        settings = json.loads(Path(context.artifacts["settings"]).read_text(encoding="utf-8"))
        self.network = MGMTClassifier(network=settings["network"], hidden_units=settings["hidden_units"])
        self.network.load_state_dict(torch.load(context.artifacts["checkpoint"], map_location="cpu", weights_only=True))
        self.network.eval()

    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The probability of each slice, ``(B, 1)`` float32.

        Args:
            model_input: ``(B, 1, H, W)`` float32 in [0, 1], prepared as the bundle's ``preprocessing`` does.
            params: Not used.
        """
        images = torch.as_tensor(np.asarray(model_input), dtype=torch.float32)
        with torch.no_grad():
            logits = torch.cat([self.network(part) for part in images.split(_BATCH)])
        return torch.sigmoid(logits.double()).float().numpy()


set_model(MethylationModel())
