"""What the paper printed, as it printed it, and the intervals that its 53 test patients give those figures.

The table is ``data/published.json``; ``docs/explanation/paper.md`` says which paper it is.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from scipy.stats import binom

from mgmt_monai.evaluation.intervals import Estimate, newcombe_interval, wilson_interval

N_METHYLATED, N_UNMETHYLATED = 26, 27
"""The support of the two classes in the paper's Figure 7."""

N_PATIENTS = N_METHYLATED + N_UNMETHYLATED
"""The paper's test patients; it never says whether a slice or a patient is counted, so its intervals are the narrowest
that it can mean if patients are counted, and too narrow if slices are."""


@dataclass(frozen=True)
class Printed:
    """One figure of the paper.

    Args:
        text: As printed, such as ``71.92 %`` or ``49.45``.
        estimate: As a share, with the interval that 53 patients give it; the ends are ``nan`` where the paper gives
            too little for one.
        of: For an accuracy, how many of 53 patients are nearest to it; else None.
        note: What is odd about it, or "".
    """

    text: str
    estimate: Estimate
    of: int | None = None
    note: str = ""


@dataclass(frozen=True)
class NetworkRow:
    """A column of Table I: one network, fine-tuned, on T1w.

    ``network`` is spelt as in the paper, without the space; ``names`` are the spellings that mean it, as `spelling`
    returns them. The accuracy has Wilson's interval; the others are averages over both classes where Figure 7 lets one
    check.
    """

    network: str
    names: tuple[str, ...]
    accuracy: Printed
    precision: Printed
    recall: Printed
    f1: Printed


@dataclass(frozen=True)
class ModalityRow:
    """A row of Table II: EfficientNet-B0 on one modality.

    Accuracies have Wilson's interval, the AUC Newcombe's; the paper gives no AUC after fine-tuning.
    """

    modality: str
    transfer_accuracy: Printed
    transfer_auc: Printed
    fine_tune_accuracy: Printed


@dataclass(frozen=True)
class Published:
    """The paper's figures, the tables in its order, and Figure 7 as text.

    ``n_candidates``: networks times modalities that it names, out of which the best is its headline. Sensitivity and
    specificity are from the counts behind Figure 7.
    """

    citation: str
    n_candidates: int
    table_1: tuple[NetworkRow, ...]
    table_2: tuple[ModalityRow, ...]
    classification_report: str
    sensitivity: Estimate
    specificity: Estimate

    def accuracies(self) -> list[Printed]:
        """Every accuracy of both tables, in order: six, then four times two."""
        of_modalities = [printed for row in self.table_2 for printed in (row.transfer_accuracy, row.fine_tune_accuracy)]
        return [row.accuracy for row in self.table_1] + of_modalities


def read_published(level: float = 0.95) -> Published:
    """The paper's tables with intervals of ``level``, between 0 and 1.

    Raises:
        EvaluationError: ``level`` is not between 0 and 1.
    """
    found = json.loads(
        resources.files("mgmt_monai.comparison.report").joinpath("data", "published.json").read_text(encoding="utf-8")
    )
    counts = found["figure_7"]["counts"]
    right = counts["true_positive"], counts["true_negative"]
    return Published(
        citation=found["citation"],
        n_candidates=found["n_networks"] * found["n_modalities"],
        table_1=tuple(_network_row(row, level) for row in found["table_1"]),
        table_2=tuple(_modality_row(row, level) for row in found["table_2"]),
        classification_report=_report_text(found["figure_7"]["rows"]),
        sensitivity=Estimate(right[0] / N_METHYLATED, *wilson_interval(right[0], N_METHYLATED, level), N_METHYLATED),
        specificity=Estimate(
            right[1] / N_UNMETHYLATED, *wilson_interval(right[1], N_UNMETHYLATED, level), N_UNMETHYLATED
        ),
    )


def printed_accuracy(percent: str, note: str = "", level: float = 0.95) -> Printed:
    """An accuracy as the paper printed it, in percent, with Wilson's interval of the nearest number of its patients.

    Example:
        >>> found = printed_accuracy("70")
        >>> found.of, round(found.estimate.low, 2), round(found.estimate.high, 2)
        (37, 0.56, 0.8)
    """
    value = float(percent) / 100
    of = round(value * N_PATIENTS)
    return Printed(f"{percent} %", Estimate(value, *wilson_interval(of, N_PATIENTS, level), N_PATIENTS), of, note)


def is_of_whole_patients(percent: str) -> bool:
    """Whether some whole number of 53 patients gives this accuracy at the precision that it is printed with.

    Where none does, the paper cannot have counted its 53 patients once each.

    Example:
        >>> is_of_whole_patients("70"), is_of_whole_patients("71.92 %")
        (True, False)
    """
    digits = percent.removesuffix("%").strip()
    decimals = len(digits.partition(".")[2])
    return any(f"{100 * of / N_PATIENTS:.{decimals}f}" == digits for of in range(N_PATIENTS + 1))


def best_of_guessers(n_guessers: int, n_patients: int = N_PATIENTS) -> tuple[float, float]:
    """Mean and 95th percentile of the best accuracy of guessers that toss a coin for each patient, each for itself.

    Source:
        The largest of k independent binomial counts is at most x with probability ``F(x) ** k``.

    Example:
        >>> [round(figure, 3) for figure in best_of_guessers(24)]
        [0.633, 0.698]
    """
    at_most = [float(binom.cdf(right, n_patients, 0.5)) ** n_guessers for right in range(n_patients + 1)]
    mean = sum(1 - chance for chance in at_most) / n_patients
    return mean, next(right for right in range(n_patients + 1) if at_most[right] >= 0.95) / n_patients


def spelling(network: str) -> str:
    """A network's name without case and punctuation, so that ``efficientnet-b0`` is the paper's EfficientNetB0.

    Example:
        >>> spelling("EfficientNet-B0")
        'efficientnetb0'
    """
    return re.sub(r"[^a-z0-9]", "", network.lower())


def _network_row(row: Mapping[str, Any], level: float) -> NetworkRow:
    nan = float("nan")
    others = {
        name: Printed(row[name], Estimate(float(row[name]), nan, nan, N_PATIENTS))
        for name in ("precision", "recall", "f1")
    }
    return NetworkRow(row["network"], tuple(row["names"]), printed_accuracy(row["accuracy"], level=level), **others)


def _modality_row(row: Mapping[str, Any], level: float) -> ModalityRow:
    notes = row.get("notes", {})
    auc = float(row.get("read_as", row)["transfer_auc"])
    interval = newcombe_interval(auc, N_METHYLATED, N_UNMETHYLATED, level)
    return ModalityRow(
        row["modality"],
        printed_accuracy(row["transfer_accuracy"], notes.get("transfer_accuracy", ""), level),
        Printed(row["transfer_auc"], Estimate(auc, *interval, N_PATIENTS), None, notes.get("transfer_auc", "")),
        printed_accuracy(row["fine_tune_accuracy"], notes.get("fine_tune_accuracy", ""), level),
    )


def _report_text(rows: list[list[str]]) -> str:
    """The rows in the columns of scikit-learn's classification report, which the figure is a picture of."""
    lines = [f"{'':>12} " + "".join(f"{name:>10}" for name in ("precision", "recall", "f1-score", "support")), ""]
    for name, *cells in rows:
        if name == "accuracy":
            lines.append("")
        lines.append(f"{name:>12} " + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)
