from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.phantom.anatomy import GRID_MM, GRID_ORIGIN_MM, GRID_SHAPE, build_tissue
from mgmt_monai.phantom.appearance import paint, tumour_look
from mgmt_monai.phantom.effect import Planted, Stream, draw_labels, draw_latent, reachable_auc, squash, stream
from mgmt_monai.phantom.made_cohort import plan_patient
from mgmt_monai.transforms import CropMiddleSlices


@pytest.mark.parametrize("effect", [0.0, 0.5, 1.0, 3.0], ids=lambda d: f"effect{d}")
def test_reachable_auc_is_the_normal_distribution_at_effect_over_root_2(effect):
    assert reachable_auc(effect) == pytest.approx(norm.cdf(effect / np.sqrt(2)), abs=1e-12)


@pytest.mark.parametrize("effect", [0.0, 1.0, 3.0], ids=lambda d: f"effect{d}")
def test_latent_auc_reaches_the_reachable_auc(effect):
    labels = draw_labels(4000, seed=1)
    latent = [draw_latent(int(label), effect, 1, index) for index, label in enumerate(labels)]
    # The standard error of an AUC at 2000 + 2000 is below 0.01.
    assert roc_auc_score(labels, latent) == pytest.approx(norm.cdf(effect / np.sqrt(2)), abs=0.03)


@pytest.mark.parametrize("wrong", [0.1, 0.3])
def test_labels_of_which_a_share_is_wrong_pull_the_auc_towards_chance(wrong):
    """Of a pair, both labels are right, one is, or none: A (1 - w)^2 + w (1 - w) + (1 - A) w^2."""
    labels = draw_labels(4000, seed=1)
    latent = np.array([draw_latent(int(label), 2.0, 1, index) for index, label in enumerate(labels)])
    noisy = labels ^ (np.random.default_rng(0).random(4000) < wrong)
    best = norm.cdf(2 / np.sqrt(2))
    expected = best * (1 - wrong) ** 2 + wrong * (1 - wrong) + (1 - best) * wrong**2
    assert auc(noisy, [squash(value) for value in latent]) == pytest.approx(expected, abs=0.03)
    assert expected == pytest.approx(0.5 + (1 - 2 * wrong) * (best - 0.5))


@pytest.mark.parametrize(("off_mm", "is_seen"), [(0.0, True), (60.0, False)])
def test_tumour_off_the_centre_is_in_no_middle_slice(off_mm, is_seen):
    """What the label changes of the pixels lies within the tumour's reach, and so does what the middle slices show."""
    head = plan_patient(0, 5).head
    middle = GRID_ORIGIN_MM[2] + GRID_MM * (GRID_SHAPE[2] - 1) / 2
    centre = np.array([0.0, 0.0, middle + off_mm])
    head = replace(head, tumour_centre_mm=centre, tumour_radius_mm=12.0, oedema_mm=6.0)
    tissue = build_tissue(head, stream(5, Stream.TISSUE, 0))
    one, other = (paint(tissue, "T1w", tumour_look(latent), 12.0) for latent in (-2.0, 2.0))
    volumes = [np.moveaxis(image, 2, 0) for image in (one, other)]
    differing = np.flatnonzero((volumes[0] != volumes[1]).any(axis=(1, 2)))
    places = GRID_ORIGIN_MM[2] + GRID_MM * differing
    reach = 1.3 * 12.0 + 2.2 * 6.0  # of the box around it
    assert len(places) and np.abs(places - centre[2]).max() <= reach + GRID_MM
    kept = [CropMiddleSlices(0.2)(volume) for volume in volumes]
    half = 0.2 * GRID_SHAPE[2] * GRID_MM / 2
    assert (np.abs(places - middle) < half - GRID_MM).any() == is_seen
    assert (kept[0] != kept[1]).any() == is_seen


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


FOUR = ("FLAIR", "T1w", "T1wCE", "T2w")


def drawn(planted: Planted, n_patients: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and latent values ``(patients, modalities)``."""
    labels = draw_labels(n_patients, seed=1)
    return labels, np.array([list(planted.latents(int(one), 1, i).values()) for i, one in enumerate(labels)])


@pytest.mark.parametrize(
    ("effects", "shared", "together"),
    [
        ((1, 1, 1, 1), 0.0, 2.0),  # the root of the sum of squares
        ((0, 1, 1, 0), 0.0, np.sqrt(2)),
        ((0, 3, 4, 0), 0.0, 5.0),
        ((2, 2, 2, 2), 1.0, 2.0),
        ((1, 1, 1, 1), 0.5, np.sqrt(4 / 2.5)),  # the mean of four has variance (1 + 3 * 0.5) / 4
    ],
)
def test_effect_of_all_modalities_together(effects, shared, together):
    planted = Planted(dict(zip(FOUR, map(float, effects), strict=True)), shared)
    assert planted.together() == pytest.approx(together)
    labels, latents = drawn(planted)
    best = LinearDiscriminantAnalysis().fit(latents, labels).decision_function(latents)
    assert roc_auc_score(labels, best) == pytest.approx(norm.cdf(together / np.sqrt(2)), abs=0.03)
    for effect, values in zip(effects, latents.T, strict=True):
        assert roc_auc_score(labels, values) == pytest.approx(norm.cdf(effect / np.sqrt(2)), abs=0.03)
        assert values[labels == 1].std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_deviations_correlate_as_asked(shared):
    _, latents = drawn(Planted(dict.fromkeys(FOUR, 0.0), shared))
    correlations = np.corrcoef(latents.T)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(correlations, shared, atol=0.06)


def test_unequal_effects_of_one_latent_value_show_the_label():
    assert Planted({"T1w": 1.0, "T2w": 2.0}).together() == np.inf
    assert reachable_auc(np.inf) == 1


def test_one_effect_for_all_is_the_latent_value_of_before():
    assert Planted(dict.fromkeys(FOUR, 2.0)).latents(1, 3, 11) == dict.fromkeys(FOUR, draw_latent(1, 2.0, 3, 11))
