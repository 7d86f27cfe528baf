import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from mgmt_monai.phantom.appearance import tumour_look
from mgmt_monai.phantom.effect import Stream, draw_labels, draw_latent, reachable_auc, squash, stream


@pytest.mark.parametrize("effect", [0.0, 0.5, 1.0, 3.0], ids=lambda d: f"effect{d}")
def test_reachable_auc_is_the_normal_distribution_at_effect_over_root_2(effect):
    assert reachable_auc(effect) == pytest.approx(norm.cdf(effect / np.sqrt(2)), abs=1e-12)


@pytest.mark.parametrize("effect", [0.0, 1.0, 3.0], ids=lambda d: f"effect{d}")
def test_latent_auc_reaches_the_reachable_auc(effect):
    labels = draw_labels(4000, seed=1)
    latent = [draw_latent(int(label), effect, 1, index) for index, label in enumerate(labels)]
    # The standard error of an AUC at 2000 + 2000 is below 0.01.
    assert roc_auc_score(labels, latent) == pytest.approx(norm.cdf(effect / np.sqrt(2)), abs=0.03)


@pytest.mark.parametrize(("n_patients", "methylated"), [(2, 1), (7, 3), (100, 50)])
def test_labels_are_balanced(n_patients, methylated):
    labels = draw_labels(n_patients, seed=0)
    assert labels.shape == (n_patients,)
    assert labels.sum() == methylated


def test_labels_are_shuffled_by_the_seed():
    orders = {tuple(draw_labels(20, seed)) for seed in range(5)}
    assert len(orders) == 5


def test_latent_deviation_does_not_depend_on_effect_or_label():
    deviations = [
        draw_latent(label, effect, 3, 11) - (label - 0.5) * effect for label in (0, 1) for effect in (0.0, 3.0)
    ]
    np.testing.assert_allclose(deviations, deviations[0], atol=1e-12)


def test_streams_of_two_purposes_differ():
    draws = {stream(0, purpose, 0).random() for purpose in Stream}
    assert len(draws) == len(Stream)


def test_squash_does_not_saturate_within_the_latent_range_of_effect_3():
    values = [squash(latent) for latent in np.linspace(-4, 4, 9)]
    assert np.all(np.diff(values) > 0.04)
    assert 0 < values[0] < values[-1] < 1


@pytest.mark.parametrize("field, sign", [("core_share", 1), ("rim_gain", -1), ("mottle", -1)])
def test_tumour_look_is_strictly_monotone_in_the_latent_value(field, sign):
    looks = [getattr(tumour_look(latent), field) for latent in np.linspace(-5, 5, 21)]
    assert np.all(sign * np.diff(looks) > 0)
