"""What a training came to, in the words that its console, its page and MLflow share."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.evaluation.summary import figure_line
from mgmt_monai.evaluation.verdict import Verdict, judge, power_of_test, power_text
from mgmt_monai.evaluation.within_site import site_codes
from mgmt_monai.training.origin import MADE_FIGURES, origin_of, sites_of
from mgmt_monai.training.plain_model import PLAIN

PAGE_NAME = "training.html"
"""In the run's folder."""

ADDED_NOTHING = (
    "Training added nothing beyond chance to the plain model that the network began as: it still is that model."
)

LEAST_POWER, OF_AUC = 0.5, 0.7
"""A hold-out whose test would miss this AUC more often than not is called too small."""


@dataclass(frozen=True)
class Outcome:
    """A finished training's result, and what it rests on.

    Args:
        modality: Of the cohort.
        stage: The last one.
        metrics: ``metrics.json``: figures by stage and split.
        verdict: Of the last stage's test patients, without controls; of a negative control too, where it means little.
        origin: As `origin_of` gives it.
        counts: Patients by split and label.
        reachable: The best AUC that anyone can reach, of a phantom.
        warnings: What a reader has to know before the figures.
        is_exported: Whether a bundle can be made of it: not of a control, nor of slices that need a segmentation.
    """

    modality: str
    stage: str
    metrics: Mapping[str, Any]
    verdict: Verdict
    origin: Mapping[str, Any]
    counts: Mapping[str, Mapping[str, int]]
    reachable: float | None
    warnings: tuple[str, ...]
    is_exported: bool = True

    @property
    def test(self) -> Mapping[str, Any]:
        """The last stage's figures of the test patients."""
        return self.metrics[self.stage]["test"]

    @property
    def headline(self) -> str:
        """The result in one line."""
        beside = "" if self.reachable is None else f"; reachable AUC of this phantom: {self.reachable:.3f}"
        return f"{self.modality}, test patients, after {self.stage}: {figure_line(self.test)}{beside}"

    @property
    def threshold_text(self) -> str:
        """By which rule patients are called methylated here, and by which in ``evaluate``."""
        return (
            f"Called methylated from {self.test['threshold']:g} on, set before the training; 'mgmt-monai evaluate' "
            "chooses on the validation patients unless it is told the same --threshold."
        )

    def block(self, folder: Path) -> str:
        """The last lines of a training: result, what it rests on, where it is, what to do next."""
        lines = [self.headline, self.verdict.sentence, *self.warnings, self.origin["text"], self.threshold_text]
        run, table, runs = (shlex.quote(str(path)) for path in (folder, folder / "predictions.csv", folder.parents[1]))
        named = {
            "folder": folder,
            "page": folder / PAGE_NAME,
            "judge it": f"mgmt-monai evaluate {table}",
            **({"export it": f"mgmt-monai bundle export {run} --out models"} if self.is_exported else {}),
            "compare": f"mgmt-monai ui --output-dir {runs}",
        }
        return "\n".join([*lines, *(f"  {name + ':':<11}{what}" for name, what in named.items())])

    def markdown(self) -> str:
        """The description of its run in MLflow."""
        rows = "\n".join(
            f"| {split} | {sum(of.values())} | {of['methylated']} |" for split, of in self.counts.items() if of
        )
        told = "\n".join(f"- **{line}**" for line in self.warnings)
        plain = ""
        if PLAIN in self.metrics:
            plain = f"\nA plain model on the same features: {figure_line(self.metrics[PLAIN]['test'])}.\n"
        return (
            f"**{self.headline}**\n\n{self.verdict.sentence}\n\n{told}\n\n{self.origin['text']}\n\n"
            f"| split | patients | methylated |\n|---|---|---|\n{rows}\n{plain}\n"
            f"{self.threshold_text} All figures: `metrics.json`; the page: `{PAGE_NAME}`."
        )

    def headline_metrics(self) -> dict[str, float]:
        """The few figures that a list of runs shows: AUC, its interval, patients; the rest is in ``metrics.json``."""
        auc = self.test["patient"]["auc"]
        named = {"test_AUC": auc["value"], "test_AUC_low": auc["low"], "test_AUC_high": auc["high"]}
        if PLAIN in self.metrics:
            named["test_AUC_plain"] = self.metrics[PLAIN]["test"]["patient"]["auc"]["value"]
        found = {name: float(value) for name, value in named.items() if value is not None}
        learnt = self.metrics[self.stage].get("learning", {}).get("has_learnt", True)
        return {**found, "test_patients": float(auc["n"]), "learnt": float(learnt)}


def outcome_of(
    metrics: Mapping[str, Any], patients: pd.DataFrame, stage: str, cohort: ModalityCohort, control: str
) -> Outcome:
    """Put together what a training came to.

    Args:
        metrics: As `mgmt_monai.training.scoring.Scoring.write` returns it.
        patients: The patient-level predictions table.
        stage: The last one.
        cohort: That was trained on.
        control: Which negative control it is, or ``none``.
    """
    test = patients[(patients["stage"] == stage) & (patients["split"] == "test")]
    summary = metrics[stage]["test"]
    origin, sites = origin_of(cohort), sites_of(cohort)
    verdict = judge(
        test["label"],
        test["probability"],
        {},
        level=summary["level"],
        site=[sites[patient] for patient in test["patient_id"]] if sites else None,
    )
    unlearnt = metrics[stage].get("learning", {}).get("sentence", "")
    warnings = [unlearnt[:1].upper() + unlearnt[1:]]
    best = [of["learning"]["best_epoch"] for of in metrics.values() if "learning" in of]
    warnings += [ADDED_NOTHING] if best and not any(best) else []
    warnings += [f"A negative control ({control}): no model."] if control != "none" else []
    warnings += [MADE_FIGURES] if origin["made"] else []
    warnings += [small_test(cohort, with_power=power_text(verdict.power) not in verdict.sentence)]
    return Outcome(
        modality=cohort.modality,
        stage=stage,
        metrics=metrics,
        verdict=verdict,
        origin=origin,
        counts={split: {"unmethylated": n[0], "methylated": n[1]} for split, n in cohort.manifest.counts().items()},
        reachable=cohort.reachable_auc(),
        warnings=tuple(line for line in warnings if line),
        is_exported=control == "none" and not cohort.segmentations,
    )


def small_test(cohort: ModalityCohort, with_power: bool = True) -> str:
    """That a hold-out's test is too small to show much, and what tests everybody; empty where it is not.

    Args:
        cohort: Of the training.
        with_power: Tell what a test of this size can show.
    """
    tested = cohort.members("test")
    labels, sites = np.array([patient.label for patient in tested], dtype=int), sites_of(cohort)
    code = site_codes([sites[patient.patient_id] for patient in tested], len(tested)) if sites and tested else None
    found = power_of_test(labels, code)
    if found.get(OF_AUC, 0.0) >= LEAST_POWER:
        return ""
    n = len(cohort.manifest.patients)
    folds = (
        f" Folds test all {n} patients: 'mgmt-monai compare --folds 5', or 'mgmt-monai manifest split MANIFEST "
        "--folds 5' and a training with each of --fold 0 to 4."
    )
    if cohort.fold is not None:
        folds = ""
    power = f" {power_text(found)}" if with_power else ""
    return f"Too small a test: {len(labels)} test patient{'' if len(labels) == 1 else 's'}.{power}{folds}"
