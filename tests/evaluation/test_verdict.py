"""The verdict's rule, on simulated predictions whose truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.verdict import (
    BELOW_CHANCE,
    CANNOT_TELL,
    CONTAMINATED,
    REASONS,
    SUPPORTED,
    TOO_SMALL,
    judge,
    power_by_auc,
    power_text,
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


def explained(seed: int, n: int = 100) -> tuple[np.ndarray, np.ndarray, dict]:
    """A model that has all it knows from what the header tells."""
    label, _, controls = study(seed, n=n, header_tags=0.85)
    random = np.random.default_rng(seed + 1)
    seen = norm.ppf(np.clip(controls["header_tags"], 1e-9, 1 - 1e-9)) + 0.5 * random.standard_normal(n)
    return label, norm.cdf(seen), controls


def states(seeds: range, **settings) -> list[str]:
    return [judge(*study(seed, **settings), n_permutations=500, seed=seed).state for seed in seeds]


def test_no_effect_is_not_supported_and_no_control_is_blamed():
    found = states(range(40))

    assert found.count(SUPPORTED) + found.count(CONTAMINATED) <= 3  # of 40 at 2.5 %: 4 or more in 2 of 100 cases


def test_a_clear_effect_is_supported():
    assert states(range(20), model=0.92).count(SUPPORTED) >= 19


def test_a_signal_beside_an_independent_header_effect_is_no_contamination():
    found = states(range(20), model=0.85, n=120, header_tags=0.7)

    assert CONTAMINATED not in found
    assert found.count(SUPPORTED) >= 18


def test_a_model_that_knows_what_the_header_tells_is_contaminated():
    found = [judge(*explained(seed), n_permutations=500) for seed in range(20)]

    assert [each.state for each in found].count(CONTAMINATED) >= 18
    assert [each.state for each in found].count(SUPPORTED) <= 2  # of 20 at 2.5 %: 3 or more in 1 of 100 cases
    first = next(each for each in found if each.state == CONTAMINATED)
    assert "header_tags, made without the tumour" in first.sentence
    assert first.reasons[0] == "explained_by_control"
    assert [check.passed for check in first.checks[:2]] == [True, False]


def test_a_control_above_chance_beside_a_model_at_chance_is_told_and_explains_nothing():
    found = judge(*study(0, header_tags=1 - 1e-12), n_permutations=500)

    assert found.state == CANNOT_TELL
    assert "control_above_chance" in found.reasons


def test_below_chance_asks_for_the_labels():
    label, model, controls = study(0, model=0.98)

    found = judge(label, 1 - model, controls, n_permutations=500)

    assert found.state == BELOW_CHANCE
    assert found.sentence.startswith("Below chance: check the labels")
    assert not any(check.passed for check in found.checks[:-1])


def test_an_interval_below_the_bound_is_too_small_to_matter_whatever_the_p_value():
    label, model, controls = study(1, model=0.54, n=4000)

    found = judge(label, model, controls, n_permutations=500)

    assert found.p_value < 0.025
    assert (found.state, found.reasons[0]) == (TOO_SMALL, "upper_end_below_bound")
    assert judge(label, model, controls, n_permutations=500, bound=0.53).state == SUPPORTED
    assert "below 0.6, the smallest" in found.sentence


@pytest.mark.parametrize(
    "controls",
    [{}, {"header_tags": 0.4, "geometry": 0.4, "blank": 0.5}, {"permuted_labels": None, "blank": None}],
    ids=["none", "constant", "of procedure"],
)
def test_without_a_control_that_could_see_a_shortcut_nothing_is_supported(controls):
    label, model, _ = study(0, model=0.95)
    random = np.random.default_rng(0)
    given = {name: np.full(58, value) if value else random.random(58) for name, value in controls.items()}

    found = judge(label, model, given, n_permutations=500)

    assert (found.state, found.reasons[0]) == (CANNOT_TELL, "no_informative_control")
    assert found.auc.value > 0.9
    named = [check.name for check in found.checks if "constant on these patients" in check.text]
    assert named == [f"The control '{name}' is informative" for name, value in controls.items() if value]


@pytest.mark.parametrize(("n_other", "informative"), [(1, False), (2, False), (10, True)])
def test_a_control_that_is_constant_but_for_a_few_patients_could_see_no_shortcut(n_other, informative):
    label, model, _ = study(0, model=0.95)
    control = np.where(np.arange(58) < n_other, 0.9, 0.5)

    found = judge(label, model, {"header_tags": control}, n_permutations=500)

    assert found.controls[0].informative == informative
    assert ("no_informative_control" in found.reasons) != informative


def test_a_site_counts_instead_of_all_pairs_and_is_a_control():
    """A model that knows the site alone, and one that knows the label alone."""
    random = np.random.default_rng(2)
    site = np.repeat(["A", "B"], 60)
    label = (random.random(120) < np.where(site == "A", 0.8, 0.2)).astype(int)
    of_site = norm.cdf((site == "A") * 2.0 + random.standard_normal(120) - 1)

    without, within = (judge(label, of_site, {}, site=each, n_permutations=500) for each in (None, site))
    of_label = judge(label, scores(label, 0.95, random), {}, site=site, n_permutations=500)

    assert without.p_value < 0.01
    assert "no_site_column" in without.reasons
    assert within.state == CANNOT_TELL
    assert within.auc == within.site.auc
    assert within.site.pooled > 0.65
    assert of_label.state == SUPPORTED
    assert of_label.reasons == ()
    assert of_label.sentence.endswith("by pairs of one site; no control without the tumour was given or varies.")


def test_one_site_is_no_control():
    label, model, _ = study(0, model=0.95)

    assert "no_informative_control" in judge(label, model, {}, site=["A"] * 58, n_permutations=100).reasons


def test_folds_widen_the_interval_and_compare_ranks_within_a_fold():
    label, model, controls = study(5, model=0.75, n=100)
    fold = np.repeat(np.arange(5), 20)
    shifted = model + 10 * fold  # levels of the folds' models, which say nothing of a patient

    found, plain = judge(label, shifted, controls, fold=fold), judge(label, model, controls)

    assert found.auc.value == pytest.approx(plain.auc.value, abs=0.03)
    width = found.auc.high - found.auc.low
    assert width == pytest.approx(1.3 * (plain.auc.high - plain.auc.low), rel=0.06)
    assert found.p_value > plain.p_value
    assert "folds" in found.reasons


def test_one_fold_is_no_cross_validation():
    label, model, controls = study(5, model=0.75)

    assert judge(label, model, controls, fold=np.zeros(58)).auc == judge(label, model, controls).auc


def test_a_low_p_value_alone_is_not_enough():
    """An interval that holds 0.5, whatever the p-value."""
    label, model = np.array([0, 1] * 5), np.linspace(0.1, 0.9, 10)

    found = judge(label, model, {}, p_value=0.001)

    assert found.auc.low < 0.5
    assert (found.state, found.checks[0].passed) == (CANNOT_TELL, False)


def test_an_interval_above_chance_alone_is_not_enough():
    """The p-value of the best of many, where the choice has seen these patients."""
    label, model, controls = study(0, model=0.9)

    found = judge(label, model, controls, p_value=0.03, notes=["best_of_several"])

    assert found.auc.low > 0.5
    assert (found.state, found.checks[0].passed) == (CANNOT_TELL, False)
    assert found.reasons == ("not_above_chance", "no_site_column", "best_of_several")


@pytest.mark.parametrize(
    ("label", "site", "reason"),
    [([1] * 10, None, "one_class"), ([0] * 5 + [1] * 5, [*"AAAAABBBBB"], "no_pairs_within_site")],
)
def test_what_cannot_be_asked_is_told(label, site, reason):
    found = judge(label, np.linspace(0.1, 0.9, 10), {"blank": np.full(10, 0.5)}, site=site, n_permutations=50)

    assert (found.state, found.reasons[0]) == (CANNOT_TELL, reason)
    assert "nan" not in found.sentence
    assert all("nan" not in check.text for check in found.checks)


def test_cannot_tell_says_what_such_a_study_can_show():
    found = judge(*study(3, model=0.55), n_permutations=200)

    assert found.state == CANNOT_TELL
    assert found.sentence.endswith(power_text(power_by_auc(29, 29)))
    few = judge(np.repeat([1, 0], [12, 40]), np.linspace(0, 1, 52), {}, n_permutations=50)
    assert few.power == power_by_auc(12, 40)
    assert power_by_auc(0, 5) == {}
    assert list(power_by_auc(29, 29, 0.62)) == [0.6, 0.62, 0.65, 0.7]


def test_the_object_is_that_of_the_files():
    found = judge(*study(3, model=0.9), n_permutations=200).as_json()

    assert list(found) == ["state", "sentence", "reasons", "auc", "checks"]
    assert set(found["reasons"]) <= set(REASONS)


@pytest.mark.parametrize("bound", [0.5, 1.0, 60])
def test_a_bound_that_is_none_is_refused(bound):
    with pytest.raises(EvaluationError, match=r"above 0\.5, below 1, found"):
        judge([0, 1], [0.1, 0.9], {}, bound=bound)


@pytest.mark.parametrize("name", ["blank T1w fine_tune", "t1w_Blank T1w fine_tune", "permuted-labels T1w plain"])
def test_a_control_that_sees_no_shortcut_is_known_by_a_word_of_its_name(name):
    label, model, controls = study(3, model=0.95)

    assert judge(label, model, {name: controls["geometry"]}, n_permutations=500).state == CANNOT_TELL
    assert judge(label, model, {"blanket T1w": controls["geometry"]}, n_permutations=500).state == SUPPORTED


@pytest.mark.parametrize("n_folds", [40, 8])
def test_small_folds_do_not_erase_a_model_and_are_told(n_folds):
    label = np.arange(40) % 2

    found = judge(label, 0.2 + 0.6 * label, {}, n_permutations=500, fold=np.arange(40) // 2 % n_folds)

    assert (found.auc.value, found.state) == (1.0, CANNOT_TELL)
    assert found.reasons[-3:] == ("folds", "small_folds", "no_site_column")
    assert "small_folds" not in judge(label, 0.2 + 0.6 * label, {}, fold=np.arange(40) // 10).reasons


def test_a_fold_of_one_label_does_not_erase_a_model_and_is_told():
    label = np.repeat([0, 1, 0], [15, 15, 10])

    found = judge(label, 0.2 + 0.6 * label, {}, n_permutations=500, fold=np.repeat([0, 1], [30, 10]))

    assert found.auc.value == 1.0
    assert "small_folds" in found.reasons


def test_four_of_a_label_have_no_interval_and_no_claim():
    label = np.repeat([0, 1], [40, 4])

    found = judge(label, 0.2 + 0.6 * label, {}, n_permutations=5000)

    assert (found.state, math.isnan(found.auc.low)) == (CANNOT_TELL, True)
    assert "too_few_for_an_interval" in found.reasons


@pytest.mark.parametrize("level", [0.5, 0.8, 0.99])
def test_the_level_that_is_shown_does_not_move_the_state(level):
    label, model = np.tile([0, 1], 30), np.random.default_rng(3).random(60)
    site = np.repeat(["A", "B"], 30)
    for sites in (None, site):
        shown, ruled = judge(label, model, {}, level=level, site=sites), judge(label, model, {}, site=sites)
        assert (shown.state, shown.reasons, shown.p_value) == (ruled.state, ruled.reasons, ruled.p_value)
        assert (shown.auc.high - shown.auc.low < ruled.auc.high - ruled.auc.low) == (level < 0.95)


@pytest.mark.parametrize(
    ("site", "state"),
    [
        (["B"] * 2 + ["A"] * 198, "cannot_tell"),
        (["A", "A", "B", "B"] * 8 + [""] * 168, "cannot_tell"),
        (["B"] * 100 + ["A"] * 100, "supported"),
    ],
    ids=["two patients", "known for a few", "two halves"],
)
def test_a_site_of_a_few_patients_could_see_no_shortcut(site, state):
    label = np.tile([0, 1], 100)
    found = judge(label, np.random.default_rng(0).normal(2 * label, 1), {}, site=site)
    assert found.state == state
    assert ("no_informative_control" in found.reasons) == (state == "cannot_tell")
    assert np.isnan(found.site.share) == ("" in site)


def test_leaving_one_out_is_not_called_below_chance():
    """The mean of the others' labels goes against the label of the one that is left out."""
    label = np.tile([0, 1], 20)
    model = (label.sum() - label) / 39 + np.random.default_rng(1).normal(0, 1e-3, 40)
    assert judge(label, model, {}).state == "below_chance"
    found = judge(label, model, {}, fold=np.arange(40))
    assert found.state == "cannot_tell" and "small_folds" in found.reasons


@pytest.mark.parametrize("size", [20, 2], ids=["two folds", "pairs"])
def test_folds_of_one_label_each_show_nothing(size):
    label, fold = np.repeat([0, 1], 20), np.arange(40) // size
    model = 0.2 + 0.6 * label + 0.01 * np.random.default_rng(0).random(40)  # the level of each fold's model

    found = judge(label, model, {"header_tags": np.random.default_rng(1).random(40)}, fold=fold, n_permutations=500)

    assert (found.state, found.reasons[0]) == (CANNOT_TELL, "not_above_chance")
    assert "labels_by_fold" in found.reasons


def test_levels_of_small_folds_show_nothing_and_a_signal_inside_them_does():
    """Twelve folds of eight, in turn with six and two methylated: a model that only knows the fold has AUC 0.75."""
    fold, number = np.divmod(np.arange(96), 8)
    label = (number < np.where(fold % 2 == 0, 6, 2)).astype(int)
    random = np.random.default_rng(0)
    control = {"header_tags": random.random(96)}
    level = 0.2 * (fold % 2 == 0) + 0.02 * random.standard_normal(96)

    of_fold = judge(label, level, control, fold=fold, n_permutations=500)
    within = judge(label, level + 0.1 * label, control, fold=fold, n_permutations=500)

    assert of_fold.auc.low > 0.5 and of_fold.p_value < 0.025
    assert (of_fold.state, "labels_by_fold" in of_fold.reasons) == (CANNOT_TELL, True)
    assert (within.state, "labels_by_fold" in within.reasons) == (SUPPORTED, False)


@pytest.mark.parametrize(
    "copied",
    [
        lambda p: p,
        lambda p: p.round(1),
        *(lambda p, k=k: np.floor(p * k) / k for k in (2, 3, 5, 10)),
        *(lambda p, k=k: np.argsort(np.argsort(p)) * k // len(p) / k for k in (3, 5, 58)),
        lambda p: 1 - p,
        lambda p: np.floor(3 - 3 * p) / 3,
        lambda p: 0.5 + np.log(p / (1 - p)) / 40,
        np.random.default_rng(3).permutation,
    ],
    ids=[
        "model",
        "rounded",
        *["2", "3", "5", "10"],
        "thirds",
        "fifths",
        "ranks",
        "turned",
        "turned thirds",
        "logits",
        "anew",
    ],
)
def test_a_copy_of_the_model_is_no_control(copied):
    label, model, _ = study(0, model=0.95)

    found = judge(label, model, {"header_tags": copied(model)}, n_permutations=200)

    assert (found.controls[0].copied, found.controls[0].explains, found.state) == (True, False, CANNOT_TELL)
    assert "a control has the model's own predictions" in found.sentence


def test_a_shaken_copy_supports_nothing_and_guesses_are_no_copies():
    label, model, controls = study(0, model=0.95)
    shaken = norm.cdf(norm.ppf(model) + np.random.default_rng(0).normal(0, 0.3, len(model)))

    found = judge(label, model, {"header_tags": shaken}, n_permutations=200)

    assert found.controls[0].alike and found.state != SUPPORTED
    assert not any(each.copied or each.alike for each in judge(label, model, controls, n_permutations=200).controls)


def test_two_scanners_that_model_and_control_both_see_are_no_copy():
    random = np.random.default_rng(0)
    scanner = np.repeat([0, 1], 40)
    label = (random.random(80) < 0.2 + 0.6 * scanner).astype(int)

    found = judge(label, 0.1 + 0.7 * scanner + 0.1 * random.random(80), {"header_tags": scanner}, n_permutations=200)

    assert (found.controls[0].copied, found.state) == (False, CONTAMINATED)


def test_an_order_of_rounding_errors_shows_nothing():
    label, model, controls = study(0, model=0.95)

    found = judge(label, 0.5 + 1e-6 * model, controls, n_permutations=200)

    assert (found.state, "rounding_errors" in found.reasons) == (CANNOT_TELL, True)


def test_one_answer_for_all_is_told():
    label, _, controls = study(0)

    assert "one_answer" in judge(label, np.full(len(label), 0.5), controls, n_permutations=200).reasons


def test_the_others_labels_turned_round_show_nothing_where_one_is_left_out():
    label = np.tile([0, 1], 20)
    model = (39 - label.sum() + label) / 39 + np.random.default_rng(1).normal(0, 1e-3, 40)

    found = judge(label, model, {"header_tags": np.random.default_rng(2).random(40)}, fold=np.arange(40))

    assert found.auc.low > 0.5
    assert (found.state, "labels_by_fold" in found.reasons) == (CANNOT_TELL, True)
