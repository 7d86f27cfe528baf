"""How many patients a study needs before an AUC can be told from chance."""

import math

from scipy.special import gammaln
from scipy.stats import norm

from mgmt_monai.evaluation.predictions import EvaluationError


def patients_needed(auc: float, power: float = 0.8, alpha: float = 0.05, methylated_share: float = 0.5) -> float:
    """The patients needed for a two-sided test of ``AUC = 0.5`` to succeed with the given power.

    With the variance that the AUC has under normal scores, times the number of methylated, at chance and at the true
    AUC: ``n_methylated = (z_alpha sqrt(V(0.5)) + z_power sqrt(V(auc)))^2 / (auc - 0.5)^2``. An AUC near 1 needs so
    few that the formula, made for large numbers, undercuts what an exact rank test can ever show; the answer is then
    the smallest number at which its p-value can reach ``alpha``.

    Args:
        auc: The true AUC, in [0, 1].
        power: The share of such studies that should succeed, between ``alpha`` and 1.
        alpha: The share of studies that may succeed at an AUC of 0.5, between 0 and 1.
        methylated_share: Of the patients, between 0 and 1.

    Returns:
        Patients of both classes together, each class rounded up: a whole number. ``nan`` for an AUC of 0.5 or less
        (no number of patients shows a model that does not predict to be better than chance) or of ``nan``.

    Raises:
        EvaluationError: An argument is outside its range.

    Source:
        Obuchowski NA, McClish DK. Sample size determination for diagnostic accuracy studies involving binormal ROC
        curve indices. Stat Med 1997;16:1529-1542; Obuchowski NA, Lieber ML, Wians FH. ROC curves in Clinical
        Chemistry: uses, misuses, and possible solutions. Clin Chem 2004;50:1118-1125, formula 3. As in
        ``power.roc.test`` of the R package pROC.

    Example:
        >>> patients_needed(0.7)
        62
    """
    for name, value, low in (
        ("alpha", alpha, 0.0),
        ("power", power, alpha),
        ("share of methylated", methylated_share, 0.0),
    ):
        if not low < value < 1:
            raise EvaluationError(f"sample size: expected {name} between {low:g} and 1, found {value}")
    if auc < 0 or auc > 1:
        raise EvaluationError(f"sample size: expected an AUC from 0 to 1, found {auc}")
    if math.isnan(auc) or auc <= 0.5:
        return math.nan
    ratio = (1 - methylated_share) / methylated_share
    reach = norm.isf(alpha / 2) * math.sqrt(_variance(0.5, ratio)) + norm.ppf(power) * math.sqrt(_variance(auc, ratio))
    methylated = float(reach / (auc - 0.5)) ** 2
    while not _can_reach(math.ceil(methylated), math.ceil(ratio * methylated), alpha):
        methylated += methylated_share
    return math.ceil(methylated) + math.ceil(ratio * methylated)


def power(auc: float, n_methylated: int, n_unmethylated: int, alpha: float = 0.025) -> float:
    """The share of studies of this size whose rank test shows a true AUC to be above 0.5.

    Args:
        auc: The true AUC, in [0, 1].
        n_methylated: At least 1.
        n_unmethylated: At least 1.
        alpha: The one-sided level of the test, between 0 and 1.

    Returns:
        In [0, 1]; the normal approximation with the variance of normal scores, as `patients_needed`; 0 where even
        perfect separation has a larger p-value.

    Raises:
        EvaluationError: An argument is outside its range.

    Source:
        As `patients_needed`. Within 2 points of simulated studies with 10 patients a class and more
        (``tests/evaluation/test_sample_size.py``).

    Example:
        >>> round(power(0.6, 30, 29), 2)
        0.25
    """
    if not 0 <= auc <= 1 or not 0 < alpha < 1 or min(n_methylated, n_unmethylated) < 1:
        raise EvaluationError(
            f"power: expected an AUC from 0 to 1, a level between 0 and 1 and both classes, found {auc}, {alpha}, "
            f"{n_methylated} and {n_unmethylated} patients"
        )
    if not _can_reach(n_methylated, n_unmethylated, 2 * alpha):
        return 0.0
    chance = math.sqrt((n_methylated + n_unmethylated + 1) / (12 * n_methylated * n_unmethylated))
    spread = math.sqrt(_variance(auc, n_unmethylated / n_methylated) / n_methylated)
    reach = auc - 0.5 - norm.isf(alpha) * chance
    return float(norm.cdf(reach / spread)) if spread else float(reach > 0)


def _variance(auc: float, ratio: float) -> float:
    """The variance of the AUC times the number of methylated, ``ratio`` unmethylated to each of them."""
    squared = 2 * float(norm.ppf(auc)) ** 2
    if math.isinf(squared):
        return 0.0
    return 0.0099 * math.exp(-squared / 2) * (5 * squared + 8 + (squared + 8) / ratio)


def _can_reach(methylated: int, unmethylated: int, alpha: float) -> bool:
    """Whether perfect separation is significant in the exact two-sided rank test: ``2 / C(m + k, m) <= alpha``."""
    orders = gammaln(methylated + unmethylated + 1) - gammaln(methylated + 1) - gammaln(unmethylated + 1)
    return bool(math.log(2) - orders <= math.log(alpha) + 1e-9)
