"""The verdict's rule, on simulated predictions whose truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from mgmt_monai.evaluation.verdict import (
    ALPHA_BESIDE_SIGNAL,
    ALPHA_CONTROLS,
    CONTAMINATED,
    NOT_SUPPORTED,
    SENTENCES,
    SUPPORTED,
    judge,
)

CONTROLS = ("header_tags", "geometry", "background", "permuted_labels")


def scores(label: np.ndarray, true_auc: float, random: np.random.Generator) -> np.ndarray:
    """Probabilities whose AUC is known: the normal distribution function of scores that lie that far apart."""
    return norm.cdf(random.standard_normal(len(label)) + label * math.sqrt(2) * norm.ppf(true_auc))


def study(seed: int, model: float = 0.5, n: int = 58, **controls: float) -> tuple[np.ndarray, np.ndarray, dict]:
    """Labels, the model's probabilities and those of all controls; a control without a true AUC guesses."""
    random = np.random.default_rng(seed)
    label = (np.arange(n) % 2).astype(int)
    made = {name: scores(label, controls.get(name, 0.5), random) for name in CONTROLS}
    return label, scores(label, model, random), {**made, "blank": np.full(n, 0.5)}


def codes(seeds: range, **settings) -> list[str]:
    return [judge(*study(seed, **settings), n_permutations=1000, seed=seed).code for seed in seeds]


def test_no_effect_is_not_supported_in_19_of_20_studies():
    assert codes(range(20)).count(NOT_SUPPORTED) >= 19


@pytest.mark.parametrize("n_studies", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_effect_errs_no_more_often_than_the_levels_allow(n_studies):
    found = codes(range(1000, 1000 + n_studies))

    # 2.5 % for the model and 1 % for the controls, and four standard errors of the share of that many studies.
    most = 0.035 + 4 * math.sqrt(0.035 * 0.965 / n_studies)
    assert 1 - found.count(NOT_SUPPORTED) / n_studies < most


def test_a_clear_effect_is_supported():
    assert codes(range(20), model=0.92).count(SUPPORTED) >= 19


def test_a_shortcut_that_the_model_does_not_see_is_contamination():
    assert codes(range(20), header_tags=1 - 1e-12) == [CONTAMINATED] * 20


def test_a_control_as_good_as_a_good_model_is_contamination():
    assert codes(range(20), model=0.9, background=0.95).count(CONTAMINATED) >= 19


def test_a_weak_control_does_not_take_a_strong_signal_away():
    label, model, controls = study(3, model=0.99, n=200, geometry=0.65)
    found = judge(label, model, controls)

    geometry = next(control for control in found.controls if control.name == "geometry")
    assert geometry.p_value < 0.05
    assert geometry.difference.low > 0
    assert found.code == SUPPORTED


def test_a_model_worse_than_chance_is_not_supported():
    label, model, controls = study(0, model=0.9)

    assert judge(label, 1 - model, controls).code == NOT_SUPPORTED


def test_the_checks_tell_which_control_does_as_well():
    found = judge(*study(0, model=0.9, header_tags=0.99))

    assert [check.passed for check in found.checks] == [True, False, True, True, True, True]
    assert found.checks[1].name == "The control 'header_tags' does not do as well"
    assert found.sentence == SENTENCES[CONTAMINATED]


def test_a_control_that_cannot_differ_gives_no_number_that_is_none():
    label = np.array([0, 1] * 10)
    found = judge(label, np.full(20, 0.3), {"blank": np.full(20, 0.5)})

    assert found.code == NOT_SUPPORTED
    assert all("nan" not in check.text for check in found.checks)


def test_without_controls_the_model_alone_is_judged():
    label, model, _ = study(0, model=0.9)

    assert judge(label, model, {}).code == SUPPORTED


def test_a_low_p_value_alone_is_not_enough():
    """An interval that holds 0.5, whatever the p-value."""
    label, model = np.array([0, 1] * 5), np.linspace(0.1, 0.9, 10)

    found = judge(label, model, {}, p_value=0.001)

    assert found.auc.low < 0.5
    assert (found.code, found.checks[0].passed) == (NOT_SUPPORTED, False)


def test_an_interval_above_chance_alone_is_not_enough():
    """The p-value of the best of many, where the choice has seen these patients."""
    label, model, _ = study(0, model=0.9)

    found = judge(label, model, {}, p_value=0.03)

    assert found.auc.low > 0.5
    assert (found.code, found.checks[0].passed) == (NOT_SUPPORTED, False)


def between_the_levels(model: float, header_tags: float):
    """The first study whose header control is above chance by itself, but not after the correction for all controls."""
    for seed in range(1000):
        found = judge(*study(seed, model=model, header_tags=header_tags), n_permutations=1000, seed=seed)
        control = found.controls[0]
        if control.p_value <= ALPHA_CONTROLS < control.p_holm and not control.difference.low > 0:
            return found
    raise AssertionError("no such study")


def test_beside_a_model_at_chance_a_control_needs_to_pass_holms_correction():
    found = between_the_levels(model=0.5, header_tags=0.68)

    assert not found.checks[0].passed
    assert found.code == NOT_SUPPORTED


def test_beside_a_model_above_chance_a_control_counts_by_its_own_p_value():
    found = next(
        found
        for seed in range(1000)
        for found in [judge(*study(seed, model=0.72, header_tags=0.66), n_permutations=1000, seed=seed)]
        if found.checks[0].passed
        and ALPHA_CONTROLS < found.controls[0].p_value <= ALPHA_BESIDE_SIGNAL
        and not found.controls[0].difference.low > 0
    )

    assert found.controls[0].p_holm > ALPHA_BESIDE_SIGNAL
    assert found.code == CONTAMINATED
