"""The best checkpoints' predictions, their figures and pictures: the test patients are scored here, once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from mgmt_monai.atomic import atomic_file, write_text
from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.evaluation.plots import learning_curves_figure, prediction_distribution_figure, roc_figure
from mgmt_monai.evaluation.predictions import patients_from_slices, write_patients, write_slices
from mgmt_monai.evaluation.summary import figure_line, summarise
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.training.pseudonyms import write_pseudonymous
from mgmt_monai.training.run_directory import RunDirectory
from mgmt_monai.training.stage import ROW_COLUMNS, StageProgress, load_network

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """What scoring leaves behind.

    Args:
        metrics: Test figures by name, for MLflow.
        public: Files without patient identifiers.
        headline: The result in one line.
    """

    metrics: dict[str, float]
    public: list[Path]
    headline: str


class Scoring:
    """Scores each stage's best checkpoint on validation and test patients.

    Args:
        network: Takes each checkpoint in turn.
        dataloaders: Of ``validation`` and ``test`` slices, not shuffled.
        device: Where the network is.
        seed: Of the training; written beside each prediction, and of the resampling.
        threshold: Called methylated at this probability or above.
        confidence_level: Of every interval.
        bootstrap_resamples: For the slices' intervals.
    """

    def __init__(
        self,
        network: MGMTClassifier,
        dataloaders: Mapping[str, DataLoader],
        device: torch.device | str,
        seed: int,
        threshold: float,
        confidence_level: float,
        bootstrap_resamples: int,
    ) -> None:
        self.network = network
        self.dataloaders = dataloaders
        self.device = device
        self.seed = int(seed)
        self.threshold = float(threshold)
        self.confidence_level = float(confidence_level)
        self.bootstrap_resamples = int(bootstrap_resamples)

    def run(self, stages: Sequence[StageProgress], cohort: ModalityCohort, run_directory: RunDirectory) -> Scores:
        """Write predictions, figures and pictures into the run's folder, and say the result.

        Args:
            stages: With their best checkpoints.
            cohort: Whose patients they are.
            run_directory: Where to.

        Returns:
            What MLflow is to be told.
        """
        slices = pd.concat([self._predict(stage, cohort) for stage in stages], ignore_index=True)
        patients = patients_from_slices(slices)
        write_slices(slices, run_directory.path / "slice_predictions.csv")
        write_patients(patients, run_directory.path / "predictions.csv")

        summaries: dict[str, dict[str, Any]] = {}
        for stage in stages:
            for split in self.dataloaders:
                summaries.setdefault(stage.stage, {})[split] = summarise(
                    _select(patients, stage.stage, split),
                    _select(slices, stage.stage, split),
                    level=self.confidence_level,
                    threshold=self.threshold,
                    n_resamples=self.bootstrap_resamples,
                    seed=self.seed,
                )
        public = [run_directory.write_json("metrics.json", summaries)]
        report = run_directory.path / "classification_report.txt"
        write_text(report, _reports(summaries))
        public += [report, run_directory.path / "epochs.csv"]
        public += self._pictures(stages, patients, slices, run_directory.path / "figures")
        public += write_pseudonymous(patients, slices, run_directory.pseudonym_key, run_directory.path / "shared")
        for stage in stages:
            for unit in ("patient", "slice"):
                line = figure_line(summaries[stage.stage]["test"], unit)
                logger.info(f"{cohort.modality}, {stage.stage}, test, by {unit}: {line}")
        return Scores(metrics=_flat(summaries), public=public, headline=_headline(summaries, stages[-1].stage, cohort))

    def _predict(self, stage: StageProgress, cohort: ModalityCohort) -> pd.DataFrame:
        load_network(self.network, stage.best_checkpoint)
        self.network.eval()
        # Those of the batches may be permuted: a negative control is judged by the patients' own.
        labels = {patient.patient_id: patient.label for patient in cohort.manifest.patients}
        rows: list[dict[str, Any]] = []
        for split, loader in self.dataloaders.items():
            ids = loader.dataset.patient_ids  # type: ignore[attr-defined]
            for batch in tqdm(loader, desc=f"Scoring {stage.stage} on {split}"):
                with torch.no_grad():
                    probabilities = torch.sigmoid(self.network(batch["image"].to(self.device)).double()).cpu()
                for patient_index, slice_index, probability in zip(
                    batch["patient_index"].tolist(),
                    batch["slice_index"].tolist(),
                    probabilities.flatten().tolist(),
                    strict=True,
                ):
                    rows.append(
                        {
                            "patient_id": ids[patient_index],
                            "modality": cohort.modality,
                            "stage": stage.stage,
                            "split": split,
                            "fold": cohort.fold_number,
                            "seed": self.seed,
                            "label": labels[ids[patient_index]],
                            "probability": probability,
                            "slice_index": slice_index,
                        }
                    )
        return pd.DataFrame(rows)

    def _pictures(
        self, stages: Sequence[StageProgress], patients: pd.DataFrame, slices: pd.DataFrame, folder: Path
    ) -> list[Path]:
        of_test = patients[patients["split"] == "test"]
        curves = pd.DataFrame(stages[-1].all_rows(), columns=ROW_COLUMNS)
        figures = {
            "roc.png": roc_figure(
                of_test,
                slices[slices["split"] == "test"],
                level=self.confidence_level,
                n_resamples=self.bootstrap_resamples,
                seed=self.seed,
            ),
            "learning_curves.png": learning_curves_figure(curves[curves["metric"] != "learning_rate"]),
            "prediction_distribution.png": prediction_distribution_figure(of_test, threshold=self.threshold),
        }
        folder.mkdir(exist_ok=True)
        for name, figure in figures.items():
            with atomic_file(folder / name) as path:
                figure.savefig(path, format="png", dpi=120)
        return [folder / name for name in figures]


def _headline(summaries: Mapping[str, Mapping[str, Any]], stage: str, cohort: ModalityCohort) -> str:
    reachable = cohort.reachable_auc()
    beside = "" if reachable is None else f"; reachable AUC of this phantom: {reachable:.3f}"
    return (
        f"{cohort.modality}, test patients, after {stage}: {figure_line(summaries[stage]['test'], 'patient')}{beside}"
    )


def _select(table: pd.DataFrame, stage: str, split: str) -> pd.DataFrame:
    return table[(table["stage"] == stage) & (table["split"] == split)]


def _reports(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for stage, of_stage in summaries.items():
        for unit, text in of_stage["test"]["classification_report"].items():
            parts.append(f"{stage}, test, by {unit}\n{text.rstrip()}\n")
    return "\n".join(parts)


def _flat(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for stage, of_stage in summaries.items():
        for unit in ("patient", "slice"):
            for name, figure in of_stage["test"][unit].items():
                for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                    if figure[part] is not None:
                        metrics[f"test/{stage}/{unit}/{name}{suffix}"] = float(figure[part])
    return metrics
