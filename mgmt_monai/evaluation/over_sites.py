"""The AUC of each hospital, and what another hospital would see: a random-effects meta-analysis over sites."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import t as student

from mgmt_monai.evaluation.intervals import Estimate, normal_quantile

LEAST_AT_SITE = 10
"""Patients of each label that a site's AUC needs; of a smaller one the counts alone are shown."""

LEAST_SITES = 3
"""With an AUC, from which on another site is told of: the prediction interval has two degrees of freedom less."""


class SiteAuc(NamedTuple):
    """One site.

    Args:
        site: Its name.
        n_methylated: Of its patients.
        auc: ``nan`` with fewer than `LEAST_AT_SITE` patients of a label.
    """

    site: str
    n_methylated: int
    auc: Estimate


class OverSites(NamedTuple):
    """What sites with an AUC say together.

    Args:
        n_sites: How many they are.
        mean: The AUC of an average site, with its interval.
        new_low: Lower end of the prediction interval: where the AUC of another site is expected.
        new_high: Its upper end.
        spread: Standard deviation of the sites' true AUCs on the logit scale.
    """

    n_sites: int
    mean: Estimate
    new_low: float
    new_high: float
    spread: float


def over_sites(aucs: Sequence[Estimate], level: float = 0.95) -> OverSites | None:
    """A random-effects mean and the prediction interval of another site, on the logit scale.

    Each site's variance is read from its interval. The sites' variance is Paule and Mandel's, the mean's interval is
    Hartung and Knapp's (never narrower than the usual one), and the prediction interval is Higgins' with Student's t.

    Args:
        aucs: Of sites, each with an interval that is symmetric on the logit scale; others are left out.
        level: Of all intervals; sites' that were made wider, for folds, count as the larger variance that they tell.

    Returns:
        None with fewer than `LEAST_SITES` sites.

    Source:
        Debray TPA et al. BMJ 2017;356:i6460, and Snell KIE et al. Stat Methods Med Res 2018;27:3505-3522 (logit scale);
        Riley RD, Higgins JPT, Deeks JJ. BMJ 2011;342:d549 (prediction interval); Paule RC, Mandel J. J Res Natl Bur
        Stand 1982;87:377-385.
    """
    used = [auc for auc in aucs if 0 < auc.value < 1 and auc.low < auc.value < auc.high]
    if len(used) < LEAST_SITES:
        return None
    value = logit([auc.value for auc in used])
    half = logit([auc.high for auc in used]) - logit([auc.low for auc in used])
    variance = (half / (2 * normal_quantile(level))) ** 2  # widened ones stay so
    k = len(used)

    def excess(between: float) -> float:
        weight = 1 / (variance + between)
        return float(weight @ (value - weight @ value / weight.sum()) ** 2) - (k - 1)

    between = 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, 1e4))
    weight = 1 / (variance + between)
    mean = float(weight @ value / weight.sum())
    scale = max(1.0, float(weight @ (value - mean) ** 2) / (k - 1))
    error = math.sqrt(scale / weight.sum())
    of_mean = student.ppf((1 + level) / 2, k - 1) * error
    of_new = student.ppf((1 + level) / 2, k - 2) * math.sqrt(between + 1 / weight.sum())
    low, high, new_low, new_high = map(float, expit([mean - of_mean, mean + of_mean, mean - of_new, mean + of_new]))
    n = sum(auc.n for auc in used)
    return OverSites(k, Estimate(float(expit(mean)), low, high, n), new_low, new_high, math.sqrt(between))
