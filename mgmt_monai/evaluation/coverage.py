"""How often the intervals hold the truth, by simulation: ``python -m mgmt_monai.evaluation.coverage``.

Patients' scores are normal with unit variance, means ``d / 2`` apart from 0 on either side, so that the truth is
known: the AUC is ``Phi(d / sqrt 2)`` and, at the threshold 0, recall, specificity and accuracy are ``Phi(d / 2)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import click
import numpy as np
from scipy.stats import norm

from mgmt_monai.evaluation.bootstrap import FIGURES, slice_intervals
from mgmt_monai.evaluation.delong import delong_interval, logit_delong_interval
from mgmt_monai.evaluation.discrimination import auc, counts
from mgmt_monai.evaluation.intervals import Interval, f1_interval, newcombe_interval, wilson_interval

PATIENTS = (12, 53, 200)
AUCS = (0.5, 0.6, 0.8, 0.95)

SLICES = 5
SLICE_CORRELATION = 0.7
"""Between two slices of one patient: near enough to 1 that slices counted as independent would mislead."""

_Sample = tuple[np.ndarray, np.ndarray]
_newcombe = lru_cache(maxsize=None)(newcombe_interval)
_wilson = lru_cache(maxsize=None)(wilson_interval)
_f1 = lru_cache(maxsize=None)(f1_interval)


def binormal(n_patients: int, true_auc: float, random: np.random.Generator, methylated_sd: float = 1.0) -> _Sample:
    """Labels and scores of patients whose true AUC is known.

    Args:
        n_patients: How many, half of them methylated (the odd one too).
        true_auc: Between 0 and 1.
        random: The source of randomness.
        methylated_sd: Standard deviation of the methylated scores; the unmethylated have 1.

    Returns:
        Labels (int64) and scores (float64), each of shape ``(n_patients,)``.
    """
    label = _labels(n_patients)
    distance = norm.ppf(true_auc) * math.sqrt(1 + methylated_sd**2)
    sd = np.where(label == 1, methylated_sd, 1.0)
    return label, random.standard_normal(n_patients) * sd + (label - 0.5) * distance


def clustered(
    n_patients: int, true_auc: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and patients of slices, :data:`SLICES` a patient, correlated within a patient.

    Args:
        n_patients: How many, half of them methylated (the odd one too).
        true_auc: Of a slice of one patient against a slice of another, between 0 and 1.
        random: The source of randomness.

    Returns:
        Labels (int64), scores (float64, unit variance) and patient numbers, each of shape
        ``(n_patients * SLICES,)``.
    """
    label = np.repeat(_labels(n_patients), SLICES)
    shared = np.repeat(random.standard_normal(n_patients), SLICES) * math.sqrt(SLICE_CORRELATION)
    own = random.standard_normal(len(label)) * math.sqrt(1 - SLICE_CORRELATION)
    distance = norm.ppf(true_auc) * math.sqrt(2)
    return label, shared + own + (label - 0.5) * distance, np.repeat(np.arange(n_patients), SLICES)


def true_figures(true_auc: float, n_patients: int) -> dict[str, float]:
    """The true figures of :func:`binormal` (equal variances) and :func:`clustered` at the threshold 0.

    Args:
        true_auc: Between 0 and 1.
        n_patients: For the share of methylated, on which precision and F1 depend.

    Returns:
        Each of the six figures.
    """
    right = float(norm.cdf(norm.ppf(true_auc) / math.sqrt(2)))
    methylated = float(_labels(n_patients).mean())
    hit, missed, false_alarm = methylated * right, methylated * (1 - right), (1 - methylated) * (1 - right)
    return {
        "auc": true_auc,
        "accuracy": right,
        "precision": hit / (hit + false_alarm),
        "recall": right,
        "specificity": right,
        "f1": 2 * hit / (2 * hit + missed + false_alarm),
    }


def covered(intervals: list[Interval], truth: float) -> tuple[float, float]:
    """The share of intervals that hold the truth, and their mean width.

    Args:
        intervals: An undefined one counts as a miss and has no width.
        truth: The true figure.

    Returns:
        The share, and the mean width (``nan`` when none is defined).
    """
    ends = np.array(intervals)
    held = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    width = ends[:, 1] - ends[:, 0]
    return float(held.mean()), float(np.nanmean(width)) if np.isfinite(width).any() else math.nan


def auc_rows(simulations: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of three intervals of the AUC over patients.

    Args:
        simulations: How many studies a row.
        seed: Of the simulation.
    """
    settings = [(n, value, 1.0) for n in PATIENTS for value in AUCS] + [(53, 0.8, 2.0), (53, 0.8, 0.5)]
    methods: dict[str, Callable[[np.ndarray, np.ndarray], Interval]] = {
        "DeLong": delong_interval,
        "logit DeLong": logit_delong_interval,
        "Newcombe": _newcombe_of,
    }
    yield _row("patients", "true AUC", "sd of the methylated", *(f"{name} (width)" for name in methods))
    yield _row(*["---"] * (3 + len(methods)))
    for n_patients, true_auc, sd in settings:
        random = np.random.default_rng(seed)
        samples = [binormal(n_patients, true_auc, random, sd) for _ in range(simulations)]
        cells = (_cell([method(*sample) for sample in samples], true_auc) for method in methods.values())
        yield _row(n_patients, true_auc, sd, *cells)


def proportion_rows(simulations: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of Wilson's intervals over patients, and of F1's.

    Args:
        simulations: How many studies a row.
        seed: Of the simulation.
    """
    yield _row("patients", "true AUC", *(f"{figure} (width)" for figure in FIGURES[1:]))
    yield _row(*["---"] * (1 + len(FIGURES)))
    for n_patients in PATIENTS:
        for true_auc in AUCS:
            random = np.random.default_rng(seed)
            truth = true_figures(true_auc, n_patients)
            found = [proportions(*binormal(n_patients, true_auc, random)) for _ in range(simulations)]
            cells = (_cell([each[figure] for each in found], truth[figure]) for figure in FIGURES[1:])
            yield _row(n_patients, true_auc, *cells)


def slice_rows(simulations: int, resamples: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of the intervals over slices.

    Args:
        simulations: How many studies a row.
        resamples: How many resamples of the patients a study.
        seed: Of the simulation.
    """
    yield _row("patients", "true AUC", *(f"{figure} (width)" for figure in FIGURES))
    yield _row(*["---"] * (2 + len(FIGURES)))
    for n_patients in PATIENTS:
        for true_auc in AUCS:
            random = np.random.default_rng(seed)
            truth = true_figures(true_auc, n_patients)
            found = [
                slice_intervals(
                    *clustered(n_patients, true_auc, random), threshold=0.0, n_resamples=resamples, seed=study
                )
                for study in range(simulations)
            ]
            cells = (_cell([each[figure] for each in found], truth[figure]) for figure in FIGURES)
            yield _row(n_patients, true_auc, *cells)


def f1_rows(simulations: int, resamples: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of F1's interval over patients, in closed form and resampled.

    Args:
        simulations: How many studies a row.
        resamples: How many resamples of the patients a study.
        seed: Of the simulation.
    """
    yield _row("patients", "true AUC", "Wilson indirect (width)", "bootstrap (width)")
    yield _row(*["---"] * 4)
    for n_patients in PATIENTS:
        for true_auc in AUCS:
            random = np.random.default_rng(seed)
            truth = true_figures(true_auc, n_patients)["f1"]
            samples = [binormal(n_patients, true_auc, random) for _ in range(simulations)]
            closed = [proportions(*sample)["f1"] for sample in samples]
            resampled = [
                slice_intervals(*sample, np.arange(n_patients), threshold=0.0, n_resamples=resamples, seed=study)["f1"]
                for study, sample in enumerate(samples)
            ]
            yield _row(n_patients, true_auc, _cell(closed, truth), _cell(resampled, truth))


def proportions(label: np.ndarray, score: np.ndarray) -> dict[str, Interval]:
    """The intervals of the figures at the threshold 0, over patients.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        score: Shape ``(n,)``.

    Returns:
        For accuracy, precision, recall, specificity and F1.
    """
    table = counts(label, score, 0.0)
    tp, fp, fn, tn = table.true_positive, table.false_positive, table.false_negative, table.true_negative
    return {
        "accuracy": _wilson(tp + tn, tp + fp + fn + tn),
        "precision": _wilson(tp, tp + fp),
        "recall": _wilson(tp, tp + fn),
        "specificity": _wilson(tn, tn + fp),
        "f1": _f1(tp, fp + fn),
    }


@click.command()
@click.option("--simulations", default=4000, show_default=True, help="Simulated studies a row, over patients.")
@click.option("--slice-simulations", default=1000, show_default=True, help="The same, where patients are resampled.")
@click.option("--resamples", default=500, show_default=True, help="Resamples a study.")
@click.option("--seed", default=0, show_default=True, help="Seed of the simulation.")
def main(simulations: int, slice_simulations: int, resamples: int, seed: int) -> None:
    """Print the coverage of every 95 % interval as Markdown tables."""
    for title, rows in (
        ("AUC over patients", auc_rows(simulations, seed)),
        ("Figures at the threshold over patients", proportion_rows(simulations, seed)),
        ("F1 over patients", f1_rows(slice_simulations, resamples, seed)),
        ("Figures over slices", slice_rows(slice_simulations, resamples, seed)),
    ):
        click.echo(f"\n### {title}\n")
        for row in rows:
            click.echo(row)


def _labels(n_patients: int) -> np.ndarray:
    return (np.arange(n_patients) >= n_patients // 2).astype(np.int64)


def _newcombe_of(label: np.ndarray, score: np.ndarray) -> Interval:
    # Rounded so that the few hundred values that an AUC can take are computed once each.
    positive = int(label.sum())
    return _newcombe(round(auc(label, score), 12), positive, len(label) - positive)


def _cell(intervals: list[Interval], truth: float) -> str:
    share, width = covered(intervals, truth)
    return f"{100 * share:.1f} % ({width:.2f})"


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


if __name__ == "__main__":
    main()
