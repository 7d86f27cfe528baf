"""What several hospitals say of another one, against statsmodels' meta-analysis."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t as student
from statsmodels.stats.meta_analysis import combine_effects

from mgmt_monai.evaluation.intervals import Estimate, logit_interval
from mgmt_monai.evaluation.over_sites import over_sites
from mgmt_monai.evaluation.plots.forest import sites_figure
from mgmt_monai.evaluation.within_site import within_site

AUCS = [(0.55, 0.04), (0.71, 0.05), (0.62, 0.03), (0.80, 0.06), (0.50, 0.05)]


def estimates(level=0.95):
    return [Estimate(value, *logit_interval(value, error, level), 100) for value, error in AUCS]


@pytest.mark.parametrize("level", [0.95, 0.9])
def test_mean_spread_and_intervals_are_those_of_statsmodels(level):
    value = np.array([value for value, _ in AUCS])
    variance = np.array([(error / (value * (1 - value))) ** 2 for value, error in AUCS])
    theirs = combine_effects(logit(value), variance, method_re="iterated", atol=1e-10, use_t=True, alpha=1 - level)
    frame = theirs.summary_frame(alpha=1 - level, use_t=True)

    found = over_sites(estimates(level), level)

    assert found.spread**2 == pytest.approx(theirs.tau2, rel=1e-4)
    assert logit(found.mean.value) == pytest.approx(theirs.mean_effect_re, rel=1e-4)
    low, high = expit(frame.loc["random effect wls", ["ci_low", "ci_upp"]].astype(float))  # Hartung and Knapp's
    assert (found.mean.low, found.mean.high) == pytest.approx((low, high), rel=1e-4)
    half = student.ppf((1 + level) / 2, 3) * math.sqrt(theirs.tau2 + theirs.sd_eff_w_re**2)
    assert (logit(found.new_high) - logit(found.new_low)) / 2 == pytest.approx(half, rel=1e-4)
    assert found.mean.n == 500


def test_equal_sites_have_no_spread_and_few_or_undefined_ones_say_nothing():
    same = [Estimate(0.6, *logit_interval(0.6, 0.05), 50)] * 3
    assert over_sites(same).spread == 0.0
    # Of equal variance v and 0.1 apart on the logit scale: Q is 0.02 / (v + spread squared), expected 2.
    apart = [Estimate(expit(at), *expit([at - 0.09 * 1.959964, at + 0.09 * 1.959964]), 50) for at in (-0.1, 0, 0.1)]
    assert over_sites(apart).spread ** 2 == pytest.approx(0.01 - 0.09**2, rel=1e-3)
    assert over_sites(same[:2]) is None
    assert over_sites([*same[:2], Estimate(math.nan, math.nan, math.nan, 9), Estimate(1.0, 0.8, 1.0, 40)]) is None


def test_each_site_is_told_the_largest_first_and_small_ones_by_counts_alone():
    random = np.random.default_rng(3)
    site = np.repeat(["A", "B", "C", ""], [30, 50, 12, 3])
    label = np.arange(95) % 2
    found = within_site(label, random.random(95), site, n_permutations=20, fold=(site == "A") + 2 * (site == "B"))

    assert [(each.site, each.auc.n, math.isnan(each.auc.value)) for each in found.sites] == [
        ("B", 50, False), ("A", 30, False), ("C", 12, True),
    ]  # fmt: skip
    assert found.unseen
    assert not within_site(label, random.random(95), site, n_permutations=20, fold=label).unseen
    texts = {
        text.get_text() for text in sites_figure(found.as_json("site")).findobj(lambda of: hasattr(of, "get_text"))
    }
    assert {"too few", "50 (25)", "Within sites"} <= texts
