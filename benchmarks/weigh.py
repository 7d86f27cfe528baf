"""What weighs the same in the loss, patients or slices: what each does to the figures of new patients.

Made patients: a hidden share of the label in each patient's features, slices that scatter about it, and as many slices
as RSNA-MICCAI's series have. A head (logistic regression, as the first stage's last layer) is fitted to the slices with
either weight; its strength is the one of the lowest loss on validation patients, weighed alike, as early stopping does.
A patient's probability is the mean of its slices'.

``python benchmarks/weigh.py`` prints the table; seeds 1000 to 1019, cohorts of each row the same for both weights.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, recall_score, roc_auc_score

HIGHEST_IMAGE_NUMBER = (19, 65, 100, 151, 220, 366, 488)
"""Quantiles 0, 10, 25, 50, 75, 90 and 100 % over 143 coronal and sagittal series of RSNA-MICCAI 2021, as the names of
their files tell (the challenge's public listing)."""
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

SLICE_FRACTION = 0.2
N_FEATURES, N_VALIDATION, N_NEW = 32, 20, 300
SLICE_SPREAD = 1.0
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SEEDS = range(1000, 1020)

ROWS = {
    "30 patients": (30, 0),
    "60 patients": (60, 0),
    "60 patients, three with 20 times the slices": (60, 3),
    "200 patients": (200, 0),
}
"""Number of training patients, and of those with twenty times the slices (all methylated)."""


def cohort(n: int, n_heavy: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of the slices, and label and patient of each."""
    labels = draw.permutation(np.arange(n) % 2)
    counts = np.interp(draw.random(n), QUANTILES, HIGHEST_IMAGE_NUMBER) * SLICE_FRACTION
    counts = np.maximum(1, counts.round()).astype(int)
    counts[np.flatnonzero(labels == 1)[:n_heavy]] *= 20
    centres = draw.normal(size=(n, N_FEATURES))
    centres[:, 0] += 2.0 * (labels - 0.5)  # an AUC of 0.92 is reachable: sqrt(2) * Phi^-1(0.92) = 2.0
    patients = np.repeat(np.arange(n), counts)
    features = centres[patients] + draw.normal(scale=SLICE_SPREAD, size=(len(patients), N_FEATURES))
    return features, labels[patients], patients


def weights(patients: np.ndarray, weigh: str) -> np.ndarray:
    """Of each slice; 1 on average."""
    if weigh == "slice":
        return np.ones(len(patients))
    held = np.bincount(patients)
    return len(patients) / (len(held) * held[patients])


def by_patient(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Mean of each patient's slices."""
    return np.bincount(patients, weights=values) / np.bincount(patients)


def figures(weigh: str, n: int, n_heavy: int, seed: int) -> tuple[float, float, float, float]:
    """AUC, loss, recall and specificity at 0.5 of new patients."""
    draw = np.random.default_rng(seed)
    training, validation, new = (cohort(*of, draw) for of in ((n, n_heavy), (N_VALIDATION, 0), (N_NEW, 0)))
    fits = []
    for strength in STRENGTHS:
        weight = weights(training[2], weigh) / len(training[2])
        head = LogisticRegression(C=strength * n, max_iter=500).fit(*training[:2], sample_weight=weight)
        loss = log_loss(
            validation[1], head.predict_proba(validation[0])[:, 1], sample_weight=weights(validation[2], weigh)
        )
        fits.append((loss, head))
    head = min(fits, key=lambda fit: fit[0])[1]
    probability = by_patient(head.predict_proba(new[0])[:, 1], new[2])
    label = by_patient(new[1], new[2]).round().astype(int)
    called = (probability >= 0.5).astype(int)
    return (
        roc_auc_score(label, probability),
        log_loss(label, probability),
        recall_score(label, called),
        recall_score(label, called, pos_label=0),
    )


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    sys.stdout.write(
        "| cohort | weighs the same | AUC (lowest) | loss | recall | specificity |\n|---|---|---|---|---|---|\n"
    )
    for name, (n, n_heavy) in ROWS.items():
        for weigh in ("slice", "patient"):
            found = np.array([figures(weigh, n, n_heavy, seed) for seed in SEEDS])
            auc, loss, recall, specificity = found.mean(axis=0)
            sys.stdout.write(
                f"| {name} | {weigh} | {auc:.3f} ({found[:, 0].min():.3f}) | {loss:.3f} | {recall:.2f} | "
                f"{specificity:.2f} |\n"
            )


if __name__ == "__main__":
    main()
