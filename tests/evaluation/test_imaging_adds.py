"""What an image model adds to age and sex: nothing where it tells nothing, in-sample optimism or not."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from statsmodels.discrete.discrete_model import Logit

from mgmt_monai.evaluation import imaging_adds as module
from mgmt_monai.evaluation.columns import clinical_columns
from mgmt_monai.evaluation.imaging_adds import imaging_adds
from mgmt_monai.evaluation.predictions import EvaluationError


@pytest.fixture(autouse=True)
def few_repeats(monkeypatch):
    monkeypatch.setattr(module, "N_REPEATS", 3)


def study(seed, n=120, clinical=0.7, image=0.5):
    random = np.random.default_rng(seed)
    label = np.arange(n) % 2
    age, score = (random.standard_normal(n) + label * math.sqrt(2) * norm.ppf(auc) for auc in (clinical, image))
    return (
        label,
        score,
        pd.DataFrame({"age": (60 + 10 * age).round(2).astype(str), "sex": random.choice(["F", "M"], n)}),
    )


def test_the_likelihood_ratio_is_that_of_statsmodels():
    label, score, columns = study(1, image=0.65)
    age = columns["age"].astype(float)
    own = norm.ppf(pd.Series(score).rank() / (len(label) + 1))
    design = np.column_stack([np.ones(120), (age - age.mean()) / 10, columns["sex"] == "M"])
    without, both = (Logit(label, terms).fit(disp=0).llf for terms in (design, np.column_stack([design, own])))

    found = imaging_adds(label, score, columns)

    assert found["likelihood_ratio"]["chi2"] == pytest.approx(2 * (both - without), rel=1e-3)
    assert found["columns"] == ["age", "sex"]


def test_a_model_that_tells_something_new_adds_it_and_one_that_tells_the_age_does_not():
    label, score, columns = study(2, n=300, image=0.8)
    new = imaging_adds(label, score, columns)
    same = imaging_adds(label, columns["age"].astype(float), columns)

    assert new["difference"]["low"] > 0 and new["net_benefit"]["difference"]["low"] > 0
    assert new["both"]["value"] > new["clinical"]["value"]
    assert new["image"]["value"] == pytest.approx(roc_auc_score(label, score), abs=0.02)
    assert same["difference"]["low"] <= 0 <= same["difference"]["high"]
    assert same["likelihood_ratio"]["p"] > 0.05


def test_many_columns_of_noise_do_not_pass_for_a_clinical_model():
    label, score, _ = study(3, n=60)
    noise = pd.DataFrame(np.random.default_rng(4).random((60, 40)).astype(str)).add_prefix("feature ")

    found = imaging_adds(label, score, noise)

    assert found["clinical"]["value"] < 0.65
    assert found["likelihood_ratio"]["p"] > 0.001


def test_no_interval_is_shown_where_it_would_not_keep_its_word():
    few, enough = (imaging_adds(*study(6, n=n, image=0.65)) for n in (148, 150))

    for found, shown in ((few, False), (enough, True)):
        parts = [found[name] for name in ("clinical", "image", "both", "difference")]
        for part in (*parts, found["net_benefit"]["difference"]):
            assert part["value"] is not None
            assert (part["low"] is not None, part["high"] is not None) == (shown, shown)


def test_two_models_that_never_differ_have_an_interval_all_the_same():
    label = np.arange(400) % 2
    columns = pd.DataFrame({"age": norm.ppf((np.arange(400) // 2 + 0.5) / 200) + 4 * label})

    found = imaging_adds(label, label * 0.0, columns)["difference"]

    assert found["value"] == pytest.approx(0, abs=1e-12)
    assert found["high"] == pytest.approx(1.972 * 0.5 / 400, rel=1e-3)  # Student's, 199 degrees of freedom


@pytest.mark.parametrize("odd", [">89", "inf", "061Y", "unclear"])
def test_an_age_in_other_words_leaves_the_others_numbers(odd):
    """Where one cell made categories of all, the age alone guessed and imaging seemed to add its signal."""
    random = np.random.default_rng(0)
    label, age = np.arange(200) % 2, 60 + 10 * random.standard_normal(200) + 12 * (np.arange(200) % 2)
    written = pd.Series(age.round().astype(int).astype(str))
    written[:3] = odd

    alone = imaging_adds(label, random.standard_normal(200), pd.DataFrame({"age": written}))["clinical"]

    assert alone["value"] == pytest.approx(roc_auc_score(label, age), abs=0.03)


@pytest.mark.parametrize("n", [160, 400])
def test_the_interval_of_columns_that_tell_nothing_reaches_a_half(n):
    """Out of fold they lie below it by chance; of 60 draws up to 15 intervals ended there."""
    for seed in range(12):
        random = np.random.default_rng(seed)
        ages = pd.DataFrame({"age": random.standard_normal(n)})
        alone = imaging_adds(random.permutation(np.arange(n) % 2), random.standard_normal(n), ages)["clinical"]
        assert alone["high"] >= 0.5


def test_too_few_or_constant_columns_say_nothing():
    label, score, columns = study(5, n=18)
    assert imaging_adds(label, score, columns) is None
    label, score, columns = study(5)
    assert imaging_adds(label, score, columns.assign(age="60", sex="")) is None
    with pytest.raises(EvaluationError, match="expected a row for each of 120 patients, found 119"):
        imaging_adds(label, score, columns.iloc[1:])


def test_clinical_columns_are_those_named_or_age_and_sex():
    columns = pd.DataFrame(columns=["Age_at_scan_years", "Gender", "stage", "sex", "sexology"])
    assert clinical_columns(columns) == ["Age_at_scan_years", "Gender", "sex"]
    assert clinical_columns(columns, ["stage"]) == ["stage"]
    with pytest.raises(
        EvaluationError, match="clinical: expected the column 'bmi' in the tables of columns, found Age"
    ):
        clinical_columns(columns, ["bmi"])
