"""What a bundle's own run leaves behind: the probabilities of the study's slices and their mean, as JSON."""

import json
import logging
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator

from mgmt_monai.atomic import write_text
from mgmt_monai.inference import NOTICE
from mgmt_monai.training.config import check_weights

logger = logging.getLogger(__name__)


class SavePrediction:
    """Writes ``prediction.json`` when the evaluator is done with the study."""

    def __init__(self, output_dir: str | Path, modality: str) -> None:
        self.path = Path(output_dir) / "prediction.json"
        self.modality = modality
        self._probabilities: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Listen to the evaluator, whose output's ``pred`` are logits ``(B, 1)``."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._probabilities = []
        if isinstance(engine, SupervisedEvaluator):
            check_weights(engine.network)

    def _add(self, engine: Engine) -> None:
        outputs = engine.state.output if isinstance(engine.state.output, list) else [engine.state.output]
        for output in outputs:
            self._probabilities += torch.sigmoid(output["pred"].double()).flatten().tolist()

    def _write(self, engine: Engine) -> None:
        mean = sum(self._probabilities) / len(self._probabilities)
        document = {
            "notice": NOTICE,
            "modality": self.modality,
            "probability": mean,
            "slice_probabilities": self._probabilities,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(document, indent=2) + "\n")
        logger.info(f"{self.modality}: probability of MGMT promoter methylation {mean:.3f} ({self.path}). {NOTICE}")
