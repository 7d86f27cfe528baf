"""Whether the predictions support a signal, by a written rule: ``docs/explanation/verdict.md``.

A model is held against chance and against its negative controls: predictions for the same patients made without the
tumour (from header tags, from the geometry, from the background, from blank images, from permuted training labels).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from numpy.typing import ArrayLike

from mgmt_monai.evaluation.comparison import PairedComparison, compare_paired, holm
from mgmt_monai.evaluation.delong import auc_estimate
from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.intervals import Estimate, with_interval
from mgmt_monai.evaluation.permutation import permutation_test

ALPHA_MODEL = 0.025
"""One-sided level at which the model is above chance: that of the lower end of a 95 % interval."""

ALPHA_CONTROLS = 0.01
"""Family-wise level (Holm) at which a control beside a model at chance shows contamination. It is strict, because it
adds to `ALPHA_MODEL`: of twenty studies without an effect, nineteen shall end with 'not supported'."""

ALPHA_BESIDE_SIGNAL = 0.05
"""Level, for each control alone, at which it counts beside a model that is above chance. It is lax, because a claim
stands to be lost, not one to be made."""

SUPPORTED, NOT_SUPPORTED, CONTAMINATED = "supported", "not_supported", "contaminated"

SENTENCES = {
    SUPPORTED: "Signal supported: the model tells the classes apart on patients it has not seen, and no control "
    "without the tumour does as well.",
    NOT_SUPPORTED: "Signal not supported: on patients it has not seen the model cannot be told from chance.",
    CONTAMINATED: "Contaminated: a control without the tumour does as well, so the figures say nothing of the tumour.",
}
"""The report's three verdicts."""


@dataclass(frozen=True)
class Control:
    """A negative control beside the model.

    Args:
        name: Such as ``header_tags``.
        auc: Its AUC over the same patients.
        p_value: One-sided, of its AUC against chance.
        p_holm: The same, corrected for the number of controls.
        difference: The model minus the control, paired.
        does_as_well: It is above chance, and the model is not shown to be better.
    """

    name: str
    auc: Estimate
    p_value: float
    p_holm: float
    difference: PairedComparison
    does_as_well: bool


@dataclass(frozen=True)
class Check:
    """One step of the rule, as it came out.

    Args:
        name: What was asked.
        passed: Whether it speaks for a signal.
        text: With the figures.
    """

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """What the predictions are worth.

    Args:
        code: ``supported``, ``not_supported`` or ``contaminated``.
        auc: The model's.
        p_value: One-sided, of the model's AUC against chance.
        controls: In the order given.
        checks: The steps that led there.
    """

    code: str
    auc: Estimate
    p_value: float
    controls: tuple[Control, ...]
    checks: tuple[Check, ...]

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return SENTENCES[self.code]


def judge(
    label: ArrayLike,
    probability: ArrayLike,
    controls: Mapping[str, ArrayLike],
    level: float = 0.95,
    n_permutations: int = 10_000,
    seed: int = 0,
    p_value: float | None = None,
) -> Verdict:
    """Hold a model's predictions against chance and against its negative controls.

    1. The model is *above chance* when the permutation p-value of its AUC is at most `ALPHA_MODEL` and the lower end
       of the AUC's interval lies above 0.5.
    2. A control is above chance beside a model that is when its own p-value is at most `ALPHA_BESIDE_SIGNAL`; beside
       a model that is not, when it is at most `ALPHA_CONTROLS` after Holm's correction.
    3. Such a control *does as well* unless the interval of the paired difference model - control lies above 0.
    4. A control that does as well: contaminated. Else a model above chance: supported. Else: not supported.

    Args:
        label: Shape ``(n,)``, 0 or 1, of patients that neither the model nor a control has seen.
        probability: Shape ``(n,)``, the model's.
        controls: By name, each of shape ``(n,)``, for the same patients in the same order.
        level: Of the intervals.
        n_permutations: Of the labels, for each p-value.
        seed: Of the permutations.
        p_value: Of the model, where it was chosen with some regard to these patients: that of
            :func:`mgmt_monai.evaluation.permutation.best_of_p_value`. None: it was not, and its own is worked out.

    Returns:
        The verdict with the figures it rests on.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not finite.

    Example:
        >>> label = [0, 1] * 20
        >>> judge(label, [0.2, 0.8] * 20, {"header_tags": [0.3, 0.7] * 20}).code
        'contaminated'
        >>> judge(label, [0.4, 0.4, 0.6, 0.6] * 10, {}).code
        'not_supported'
    """
    checked, _ = checked_arrays(label, probability)
    model = auc_estimate(checked, probability, level)
    p_model = permutation_test(checked, probability, n_permutations, seed).p_value if p_value is None else p_value
    above = bool(p_model <= ALPHA_MODEL and model.low > 0.5)
    p_values = {
        name: permutation_test(checked, scores, n_permutations, seed + 1 + number).p_value
        for number, (name, scores) in enumerate(controls.items())
    }
    corrected = dict(zip(p_values, holm(list(p_values.values())).tolist() if p_values else [], strict=True))
    found = []
    for name, scores in controls.items():
        difference = compare_paired(checked, probability, scores, level)
        beside = p_values[name] <= ALPHA_BESIDE_SIGNAL if above else corrected[name] <= ALPHA_CONTROLS
        estimate = auc_estimate(checked, scores, level)
        as_well = bool(beside and not difference.low > 0)
        found.append(Control(name, estimate, p_values[name], corrected[name], difference, as_well))
    contaminating = [control for control in found if control.does_as_well]
    code = CONTAMINATED if contaminating else SUPPORTED if above else NOT_SUPPORTED
    return Verdict(code, model, p_model, tuple(found), tuple(_checks(model, p_model, above, found)))


def _checks(model: Estimate, p_model: float, above: bool, controls: list[Control]) -> list[Check]:
    checks = [
        Check(
            "The model is above chance",
            above,
            f"AUC {with_interval(*model[:3])}, {_p(p_model)} of permuted labels (at most {ALPHA_MODEL}, one-sided, and "
            "an interval above 0.5 are asked for)",
        )
    ]
    for control in controls:
        checks.append(
            Check(
                f"The control '{control.name}' does not do as well",
                not control.does_as_well,
                f"AUC {with_interval(*control.auc[:3])}, {_p(control.p_value)}, {_p(control.p_holm)} after Holm; "
                f"model minus control {_difference(control.difference)}",
            )
        )
    return checks


def _difference(found: PairedComparison) -> str:
    if math.isnan(found.low):
        return f"{found.difference:+.2f} (no interval)"
    return f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
