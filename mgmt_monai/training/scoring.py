"""The best checkpoints' predictions, their figures and pictures: the test patients are scored here, once."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from mgmt_monai.atomic import atomic_file, write_text
from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.evaluation.plots.distributions import distributions_figure
from mgmt_monai.evaluation.plots.learning_curves import learning_curves_figure
from mgmt_monai.evaluation.plots.roc import roc_figure
from mgmt_monai.evaluation.predictions import patients_from_slices, write_patients, write_slices
from mgmt_monai.evaluation.summary import figure_line, summarise
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.slices.loader import SliceLoader
from mgmt_monai.training.learnt import Learning
from mgmt_monai.training.plain_model import PLAIN
from mgmt_monai.training.pseudonyms import under_pseudonyms
from mgmt_monai.training.ranks import from_all_ranks, wait_for_all
from mgmt_monai.training.run_directory import RunDirectory
from mgmt_monai.training.stage import ROW_COLUMNS, StageProgress, load_network

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """What scoring leaves behind.

    Args:
        metrics: What ``metrics.json`` has.
        patients: The patient-level predictions table, of the plain model too.
        public: Files without patient identifiers.
    """

    metrics: dict[str, dict[str, Any]]
    patients: pd.DataFrame
    public: list[Path]


@dataclass(eq=False)
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

    network: MGMTClassifier
    dataloaders: Mapping[str, SliceLoader]
    device: torch.device | str
    seed: int
    threshold: float
    confidence_level: float
    bootstrap_resamples: int

    def predict(self, checkpoints: Mapping[str, Path], cohort: ModalityCohort) -> pd.DataFrame:
        """The probability of every slice; of several processes each computes its share, and all have the whole.

        Args:
            checkpoints: State of the network by the stage that it is told under.
            cohort: Whose patients they are.

        Returns:
            The slice-level predictions table.
        """
        wait_for_all()  # the main process may still be writing the last checkpoint
        return pd.concat([self._predict(*each, cohort) for each in checkpoints.items()], ignore_index=True)

    def record(
        self,
        slices: pd.DataFrame,
        stages: Sequence[StageProgress],
        cohort: ModalityCohort,
        run_directory: RunDirectory,
        learning: Mapping[str, Learning],
    ) -> Scores:
        """Write predictions, figures and pictures into the run's folder.

        Args:
            slices: As `predict` returns it.
            stages: In order.
            cohort: Whose patients they are.
            run_directory: Where to.
            learning: What each stage's best network has learnt.
        """
        folder = run_directory.path
        summaries = self.write(slices, [stage.stage for stage in stages], cohort, folder, learning)
        public = [folder / "metrics.json", folder / "classification_report.txt", stages[-1].write_epochs()]
        curves = pd.DataFrame(stages[-1].all_rows(), columns=ROW_COLUMNS)
        drawn = curves[~curves["metric"].isin(["learning_rate", "patient_log_loss"])]
        figure = learning_curves_figure(drawn, [stage.stage for stage in stages if not stage.best_epoch])
        public += _save({"learning_curves.png": figure}, folder / "figures")
        public += [folder / "figures" / name for name in _TEST_PICTURES]
        shared = folder / "shared" / "predictions.csv", folder / "shared" / "slice_predictions.csv"
        shared[0].parent.mkdir(exist_ok=True)
        patients = patients_from_slices(slices)
        write_patients(under_pseudonyms(patients, run_directory.pseudonym_key), shared[0])
        write_slices(under_pseudonyms(slices, run_directory.pseudonym_key), shared[1])
        public += shared
        return Scores(summaries, patients, public)

    def write(
        self,
        slices: pd.DataFrame,
        stages: Sequence[str],
        cohort: ModalityCohort,
        folder: Path,
        learning: Mapping[str, Learning] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Write the tables, the figures with their intervals, and the test patients' pictures.

        Args:
            slices: The slice-level predictions table.
            stages: Whose predictions are told and drawn, in order; the plain model's may be in the table as well.
            cohort: Whose patients they are.
            folder: Where to.
            learning: What each stage's best network has learnt; None where only its checkpoint is known.

        Returns:
            What ``metrics.json`` has: figures by stage and split, ``learning`` of each stage.
        """
        patients = patients_from_slices(slices)
        write_slices(slices, folder / "slice_predictions.csv")
        write_patients(patients, folder / "predictions.csv")
        summaries: dict[str, dict[str, Any]] = {}
        for stage in slices["stage"].unique():
            for split in self.dataloaders:
                summaries.setdefault(stage, {})[split] = summarise(
                    _select(patients, stage, split),
                    _select(slices, stage, split),
                    level=self.confidence_level,
                    threshold=self.threshold,
                    n_resamples=self.bootstrap_resamples,
                    seed=self.seed,
                )
        of_slices = chain.from_iterable(split["slice"].items() for of in summaries.values() for split in of.values())
        without = {name: None for name, of in of_slices if of["value"] is not None and of["low"] is None}
        if without:
            logger.warning(f"{', '.join(without)} over slices: no interval where too many resamples have no value")
        for stage, of in (learning or {}).items():
            summaries[stage]["learning"] = of.as_json()
        report = _reports(summaries)
        beside = PLAIN in summaries and PLAIN not in stages
        if beside:
            line = f"a plain model on the same features: {figure_line(summaries[PLAIN]['test'])}"
            report += f"\n{line}\n"
        write_text(folder / "metrics.json", json.dumps(summaries, indent=2) + "\n")
        write_text(folder / "classification_report.txt", report)
        drawn = [table[table["stage"].isin(stages)] for table in (patients, slices)]
        self._write_pictures(drawn[0], drawn[1], folder / "figures")
        for stage in stages:
            for unit in ("patient", "slice"):
                logger.info(
                    f"{cohort.modality}, {stage}, test, by {unit}: {figure_line(summaries[stage]['test'], unit)}"
                )
        if beside:
            logger.info(line)
        return summaries

    def _predict(self, stage: str, checkpoint: Path, cohort: ModalityCohort) -> pd.DataFrame:
        load_network(self.network, checkpoint)
        self.network.eval()
        # Those of the batches may be permuted: a negative control is judged by the patients' own.
        labels = {patient.patient_id: patient.label for patient in cohort.manifest.patients}
        rows: list[dict[str, Any]] = []
        for split, loader in self.dataloaders.items():
            ids = loader.slices.patient_ids
            own: list[tuple[int, int, float]] = []
            silent = not logger.isEnabledFor(logging.WARNING)  # one process of several that is not the main one
            for batch in tqdm(loader, desc=f"Scoring {stage} on {split}", disable=silent):
                with torch.no_grad():
                    whose = {name: batch[name].to(self.device) for name in ("row", "modality") if name in batch}
                    logits = self.network(batch["image"].to(self.device), **whose)
                    probabilities = torch.sigmoid(logits.double()).cpu()
                own += zip(
                    batch["patient_index"].tolist(),
                    batch["slice_index"].tolist(),
                    probabilities.flatten().tolist(),
                    strict=True,
                )
            for patient_index, slice_index, probability in chain.from_iterable(from_all_ranks(own)):
                rows.append(
                    {
                        "patient_id": ids[patient_index],
                        "modality": cohort.modality,
                        "stage": stage,
                        "split": split,
                        "fold": cohort.fold_number,
                        "seed": self.seed,
                        "label": labels[ids[patient_index]],
                        "probability": probability,
                        "slice_index": slice_index,
                    }
                )
        return pd.DataFrame(rows)

    def _write_pictures(self, patients: pd.DataFrame, slices: pd.DataFrame, folder: Path) -> None:
        of_test = patients[patients["split"] == "test"]
        roc = roc_figure(
            of_test,
            slices[slices["split"] == "test"],
            level=self.confidence_level,
            n_resamples=self.bootstrap_resamples,
            seed=self.seed,
        )
        distribution = distributions_figure({of_test["modality"].iloc[0]: of_test}, threshold=self.threshold)
        _save(dict(zip(_TEST_PICTURES, (roc, distribution), strict=True)), folder)


#: Of the test patients; the learning curves are the training's.
_TEST_PICTURES = ("roc.png", "prediction_distribution.png")


def _save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        with atomic_file(folder / name) as path:
            figure.savefig(path, format="png", dpi=120)
    return [folder / name for name in figures]


def _select(table: pd.DataFrame, stage: str, split: str) -> pd.DataFrame:
    return table[(table["stage"] == stage) & (table["split"] == split)]


def _reports(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for stage, of_stage in summaries.items():
        for unit, text in of_stage["test"]["classification_report"].items():
            parts.append(f"{stage}, test, by {unit}\n{text.rstrip()}\n")
    return "\n".join(parts)
