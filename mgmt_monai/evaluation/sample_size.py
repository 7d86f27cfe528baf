"""How often a study of a size tells an AUC from chance."""

import math

from scipy.special import gammaln
from scipy.stats import norm

from mgmt_monai.evaluation.predictions import EvaluationError


def power(auc: float, n_methylated: int, n_unmethylated: int, alpha: float = 0.025) -> float:
    """The share of studies of this size whose rank test shows a true AUC to be above 0.5.

    Args:
        auc: The true AUC, in [0, 1].
        n_methylated: At least 1.
        n_unmethylated: At least 1.
        alpha: The one-sided level of the test, between 0 and 1.

    Returns:
        In [0, 1]; the normal approximation with the variance of normal scores; 0 where even perfect separation has a
        larger p-value.

    Raises:
        EvaluationError: An argument is outside its range.

    Source:
        Obuchowski NA, McClish DK. Sample size determination for diagnostic accuracy studies involving binormal ROC
        curve indices. Stat Med 1997;16:1529-1542. Within 2 points of simulated studies with 10 patients a class and
        more (``tests/evaluation/test_sample_size.py``).

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
