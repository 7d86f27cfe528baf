"""How often the intervals hold the truth, by simulation: ``python benchmarks/coverage.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

import click
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import norm
from simulated import binormal, clustered, paired, true_figures

from mgmt_monai.evaluation.balanced_accuracy import balanced_accuracy_interval
from mgmt_monai.evaluation.bootstrap import FIGURES, patient_auc_interval, resampled_figures, slice_intervals
from mgmt_monai.evaluation.calibration import calibrate
from mgmt_monai.evaluation.comparison import compare_paired
from mgmt_monai.evaluation.decision_curve import net_benefit
from mgmt_monai.evaluation.delong import auc_and_variance, auc_interval
from mgmt_monai.evaluation.discrimination import auc, counts
from mgmt_monai.evaluation.intervals import (
    UNDEFINED,
    Estimate,
    Interval,
    f1_interval,
    newcombe_interval,
    normal_quantile,
    wilson_interval,
)

PATIENTS = (12, 53, 200)
AUCS = (0.5, 0.6, 0.8, 0.95)

_SETTINGS = tuple((n, value) for n in PATIENTS for value in AUCS)
_SPREADS = (*((n, value, 1.0) for n, value in _SETTINGS), (53, 0.8, 2.0), (53, 0.8, 0.5))
_PAIRS = ((0.6, 0.6), (0.8, 0.6), (0.8, 0.8), (0.95, 0.8))
_AT_THRESHOLD = (*FIGURES[1:], "balanced_accuracy")

_Method = Callable[[np.ndarray, np.ndarray, int], Interval]
"""Of labels, scores and the draw's number, which seeds what is random."""

Sample = tuple[np.ndarray, np.ndarray]
"""Labels and probabilities."""

_newcombe = lru_cache(maxsize=None)(newcombe_interval)
_wilson = lru_cache(maxsize=None)(wilson_interval)
_f1 = lru_cache(maxsize=None)(f1_interval)
_balanced = lru_cache(maxsize=None)(balanced_accuracy_interval)


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


def auc_rows(simulations: int, resamples: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of the intervals in use of the AUC over patients.

    Args:
        simulations: How many draws a row.
        resamples: How many resamples of the patients a draw.
        seed: Of the simulation.
    """
    methods: dict[str, _Method] = {
        "DeLong, logit": lambda label, score, _: auc_interval(label, score),
        "stratified bootstrap": lambda label, score, draw: patient_auc_interval(
            label, score, n_resamples=resamples, seed=draw
        ),
    }
    yield from _auc_table(methods, simulations, seed)


def other_auc_rows(simulations: int, resamples: int, seed: int) -> Iterator[str]:
    """Markdown rows: the same of the intervals that are not in use.

    Args:
        simulations: How many draws a row.
        resamples: How many resamples of the patients a draw.
        seed: Of the simulation; the same draws as in :func:`auc_rows`.
    """
    methods: dict[str, _Method] = {
        "DeLong": lambda label, score, _: delong_interval(label, score),
        "Newcombe": lambda label, score, _: _newcombe_of(label, score),
        "bootstrap percentiles": lambda label, score, draw: _percentiles_of(label, score, resamples, draw),
    }
    yield from _auc_table(methods, simulations, seed)


def proportion_rows(simulations: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of the closed intervals of the figures at the threshold over patients.

    Args:
        simulations: How many draws a row.
        seed: Of the simulation.
    """
    yield from _head("patients", "true AUC", figures=_AT_THRESHOLD)
    for n_patients, true_auc in _SETTINGS:
        random = np.random.default_rng(seed)
        truth = true_figures(true_auc, n_patients)
        found = [proportions(*binormal(n_patients, true_auc, random)) for _ in range(simulations)]
        cells = (_cell([each[figure] for each in found], truth[figure]) for figure in _AT_THRESHOLD)
        yield _row(n_patients, true_auc, *cells)


def f1_rows(simulations: int, resamples: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of F1's interval over patients, in closed form and resampled.

    Args:
        simulations: How many draws a row.
        resamples: How many resamples of the patients a draw.
        seed: Of the simulation.
    """
    yield from _head("patients", "true AUC", figures=("Wilson indirect", "bootstrap"))
    for n_patients, true_auc in _SETTINGS:
        random = np.random.default_rng(seed)
        truth = true_figures(true_auc, n_patients)["f1"]
        samples = [binormal(n_patients, true_auc, random) for _ in range(simulations)]
        closed = [proportions(*sample)["f1"] for sample in samples]
        resampled = [
            slice_intervals(*sample, np.arange(n_patients), threshold=0.0, n_resamples=resamples, seed=draw)["f1"]
            for draw, sample in enumerate(samples)
        ]
        yield _row(n_patients, true_auc, _cell(closed, truth), _cell(resampled, truth))


def slice_rows(simulations: int, resamples: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of the intervals over slices.

    Args:
        simulations: How many draws a row.
        resamples: How many resamples of the patients a draw.
        seed: Of the simulation.
    """
    yield from _head("patients", "true AUC", figures=FIGURES)
    for n_patients, true_auc in _SETTINGS:
        random = np.random.default_rng(seed)
        truth = true_figures(true_auc, n_patients)
        found = [
            slice_intervals(*clustered(n_patients, true_auc, random), threshold=0.0, n_resamples=resamples, seed=draw)
            for draw in range(simulations)
        ]
        cells = (_cell([each[figure] for each in found], truth[figure]) for figure in FIGURES)
        yield _row(n_patients, true_auc, *cells)


def paired_rows(simulations: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of the interval of a difference of two AUCs over the same patients.

    Args:
        simulations: How many draws a row.
        seed: Of the simulation.
    """
    yield from _head("patients", "true AUC, first", "true AUC, second", figures=("difference",))
    for n_patients in PATIENTS:
        for first, second in _PAIRS:
            random = np.random.default_rng(seed)
            found = [compare_paired(*paired(n_patients, first, second, random)) for _ in range(simulations)]
            cell = _cell([Interval(each.low, each.high) for each in found], first - second)
            yield _row(n_patients, first, second, cell)


def score_rows(simulations: int, seed: int) -> Iterator[str]:
    """Markdown rows: coverage and mean width of the intervals of scores over patients, of the draws that have one.

    Args:
        simulations: How many draws a row.
        seed: Of the simulation.
    """
    yield from _head("patients", "true AUC", "logits times", figures=("Brier", "log-loss", "ECE", "net benefit"))
    for n_patients, true_auc, stretch in (
        (n, value, by) for n in (24, 53, 200) for value in (0.6, 0.8) for by in (1, 2)
    ):
        random = np.random.default_rng(seed)

        def drawn(
            n: int, true_auc: float = true_auc, by: int = stretch, random: np.random.Generator = random
        ) -> Sample:
            label, score = binormal(n, true_auc, random)
            return label, expit(by * math.sqrt(2) * norm.ppf(true_auc) * score)

        truth = _true_scores(*drawn(100_000))
        found = [_scores(*drawn(n_patients), draw) for draw in range(simulations)]
        shown = (
            [Interval(each.low, each.high) for each in of if not math.isnan(each.low)]
            for of in zip(*found, strict=True)
        )
        cells = (_cell(of or [UNDEFINED], value) for of, value in zip(shown, truth, strict=True))
        yield _row(n_patients, true_auc, stretch, *cells)


def _scores(label: np.ndarray, probability: np.ndarray, draw: int) -> list[Estimate]:
    found = calibrate(label, probability, seed=draw)
    return [found.brier, found.log_loss, found.ece, net_benefit(label, probability >= 0.5, 0.5)]


def _true_scores(label: np.ndarray, probability: np.ndarray) -> list[float]:
    """The same of very many patients, by their definitions."""
    bins = np.array_split(np.argsort(probability), 5)
    ece = sum(abs((label[of] - probability[of]).sum()) for of in bins) / len(label)
    loss = -np.log(np.where(label == 1, probability, 1 - probability)).mean()
    gain = ((probability >= 0.5) * (2 * label - 1)).mean()
    return [float(((probability - label) ** 2).mean()), float(loss), float(ece), float(gain)]


def delong_interval(label: ArrayLike, probability: ArrayLike, level: float = 0.95) -> Interval:
    """``auc +- z sd``, cut to [0, 1]; of no width at an AUC of 0 or 1. The field's usual one, for comparison.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.
        level: Between 0 and 1.

    Returns:
        The interval; undefined with fewer than two in a class.

    Raises:
        EvaluationError: As :func:`auc_and_variance`, or ``level`` is not between 0 and 1.
    """
    z = normal_quantile(level)
    value, variance = auc_and_variance(label, probability)
    if math.isnan(variance):
        return UNDEFINED
    half = z * math.sqrt(variance)
    return Interval(max(0.0, value - half), min(1.0, value + half))


def proportions(label: np.ndarray, score: np.ndarray) -> dict[str, Interval]:
    """The intervals of the figures at the threshold 0, over patients.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        score: Shape ``(n,)``.

    Returns:
        For accuracy, precision, recall, specificity, F1 and balanced accuracy.
    """
    table = counts(label, score, 0.0)
    tp, fp, fn, tn = table.true_positive, table.false_positive, table.false_negative, table.true_negative
    return {
        "accuracy": _wilson(tp + tn, tp + fp + fn + tn),
        "precision": _wilson(tp, tp + fp),
        "recall": _wilson(tp, tp + fn),
        "specificity": _wilson(tn, tn + fp),
        "f1": _f1(tp, fp + fn),
        "balanced_accuracy": _balanced(tp, tp + fn, tn, tn + fp),
    }


@click.command()
@click.option("--simulations", default=4000, show_default=True, help="Simulated draws a row.")
@click.option("--resamples", default=500, show_default=True, help="Resamples a draw.")
@click.option("--seed", default=0, show_default=True, help="Seed of the simulation.")
def main(simulations: int, resamples: int, seed: int) -> None:
    """Print the coverage of every 95 % interval of these figures as Markdown tables; it takes minutes."""
    for title, rows in (
        ("AUC over patients", auc_rows(simulations, resamples, seed)),
        ("AUC over patients: methods not used", other_auc_rows(simulations, resamples, seed)),
        ("Figures at the threshold over patients", proportion_rows(simulations, seed)),
        ("F1 over patients", f1_rows(simulations, resamples, seed)),
        ("Figures over slices", slice_rows(simulations, resamples, seed)),
        ("Difference of two AUCs over the same patients", paired_rows(simulations, seed)),
        ("Scores over patients", score_rows(simulations, seed)),
    ):
        click.echo(f"\n### {title}\n")
        for row in rows:
            click.echo(row)


def _auc_table(methods: Mapping[str, _Method], simulations: int, seed: int) -> Iterator[str]:
    yield from _head("patients", "true AUC", "sd of the methylated", figures=methods)
    for n_patients, true_auc, sd in _SPREADS:
        random = np.random.default_rng(seed)
        samples = [binormal(n_patients, true_auc, random, sd) for _ in range(simulations)]
        cells = (
            _cell([method(*sample, draw) for draw, sample in enumerate(samples)], true_auc)
            for method in methods.values()
        )
        yield _row(n_patients, true_auc, sd, *cells)


def _newcombe_of(label: np.ndarray, score: np.ndarray) -> Interval:
    # Rounded so that the few hundred values that an AUC can take are computed once each.
    positive = int(label.sum())
    return _newcombe(round(auc(label, score), 12), positive, len(label) - positive)


def _percentiles_of(label: np.ndarray, score: np.ndarray, n_resamples: int, seed: int) -> Interval:
    found = resampled_figures(label, score, np.arange(len(label)), n_resamples=n_resamples, seed=seed)["auc"]
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(float(low), float(high))


def _cell(intervals: list[Interval], truth: float) -> str:
    share, width = covered(intervals, truth)
    return f"{100 * share:.1f} % ({width:.2f})"


def _head(*settings: str, figures: Iterable[str]) -> Iterator[str]:
    names = [*settings, *(f"{figure.replace('_', ' ')} (width)" for figure in figures)]
    yield _row(*names)
    yield _row(*["---"] * len(names))


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


if __name__ == "__main__":
    main()
