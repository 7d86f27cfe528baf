"""A fusion's training: what its test patients' answers owe to each modality, and its record."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from mgmt_monai.atomic import write_text
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.evaluation.intervals import number_or_none
from mgmt_monai.networks.fusion import FusionClassifier
from mgmt_monai.slices.patients import PatientDataset
from mgmt_monai.training.experiment import Experiment
from mgmt_monai.training.patient_reference import PatientReference
from mgmt_monai.training.stage import StageProgress, load_network

logger = logging.getLogger(__name__)

N_DRAWS = 100
"""Deals of one modality's series to other patients; the mean is told."""

FILE = "modalities.json"
"""In the run's folder."""


@dataclass(eq=False)
class FusionExperiment(Experiment):
    """An `Experiment` whose model takes more than pictures, which MLflow could not serve: its files are recorded."""

    def _record_model(self, last: StageProgress) -> None:
        tracking, folder = self.opening.tracking, self.opening.run_directory.path
        network = cast(FusionClassifier, self.network)
        load_network(network, last.best_checkpoint)
        network.eval()
        labels = {patient.patient_id: patient.label for patient in self.opening.cohort.manifest.patients}
        tested = cast(PatientDataset, self.scoring.dataloaders["test"].slices)
        shares = modality_shares(network, tested, labels, self.scoring.seed)
        for name, of in shares.items():
            fall = of["auc_falls_when_shuffled"]
            told = "" if fall is None else f"dealt to other test patients, the AUC changes by {-fall:+.2f}; "
            logger.info(f"{name}: {told}missing in {of['missing']} of {len(tested)}")
        write_text(folder / FILE, json.dumps(shares, indent=2, allow_nan=False) + "\n")
        tracking.log_file(folder / FILE)
        for path in [last.best_checkpoint, *cast(PatientReference, self.reference).run(last)]:
            tracking.log_file(path, folder="model")


def modality_shares(
    network: FusionClassifier, patients: PatientDataset, labels: Mapping[str, int], seed: int
) -> dict[str, dict[str, Any]]:
    """By how much a fusion's AUC falls when one modality's series are dealt to other patients, or are left out.

    Args:
        network: In eval mode.
        patients: Of the test.
        labels: By patient.
        seed: Of the deals.

    Returns:
        By modality ``auc_falls_when_shuffled`` (dealt among the patients who have it), ``auc_falls_without`` (of those
        who have another), each None where an AUC has no value, and ``missing``, how many patients lack it.
    """
    device, parts = network.imagenet_mean.device, []
    for index in range(len(patients)):
        batch = patients.batch([index])
        images, row, modality = (batch[name].to(device) for name in ("image", "row", "modality"))
        with torch.no_grad():
            parts.append(network.pooled(network.slice_features(images, modality), row, modality))
    pooled, there = (torch.cat(part) for part in zip(*parts, strict=True))
    label = np.array([labels[patient] for patient in patients.patient_ids])
    random = np.random.default_rng(seed)

    def reached(pooled: Tensor, there: Tensor, of: np.ndarray) -> float:
        with torch.no_grad():
            logits = network.head(network.fused(pooled, there)).double().flatten().cpu().numpy()
        return auc(label[of], 1 / (1 + np.exp(-logits[of])))

    everybody, found = np.arange(len(label)), {}
    whole = reached(pooled, there, everybody)
    for number, name in enumerate(network.modalities):
        has = there[:, number].nonzero().flatten().cpu().numpy()
        draws = []
        for _ in range(N_DRAWS if len(has) > 1 else 0):
            dealt = pooled.clone()
            dealt[has, number] = pooled[random.permutation(has), number]
            draws.append(reached(dealt, there, everybody))
        without = there.clone()
        without[:, number] = False
        rest = without.any(dim=1).nonzero().flatten().cpu().numpy()
        falls = whole - float(np.mean(draws)) if draws else float("nan")
        lost = reached(pooled, there, rest) - reached(pooled, without, rest) if len(rest) else float("nan")
        found[name] = {
            "auc_falls_when_shuffled": number_or_none(falls),
            "auc_falls_without": number_or_none(lost),
            "missing": int(len(label) - len(has)),
        }
    return found
