"""Of what a bundle says of its model only figures come through."""

import pytest
from made_bundles import EVALUATION

from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.known_figures import known_figures, worth


def test_figures_are_read_as_they_are() -> None:
    assert known_figures({"evaluation": EVALUATION}, "b") == EVALUATION


@pytest.mark.parametrize("metadata", [{}, {"evaluation": None}, {"evaluation": {}}])
def test_silence_is_no_fault(metadata: dict) -> None:
    assert known_figures(metadata, "b") == {}


def test_what_is_undefined_stays_so_and_what_is_unknown_is_left_out() -> None:
    given = {"auc": {"value": None, "low": None, "high": None, "n": 0}, "f1": {"value": "<script>"}, "note": "x"}

    assert known_figures({"evaluation": given}, "b") == {"auc": {"value": None, "low": None, "high": None}}


def test_stage_is_one_printable_line() -> None:
    assert known_figures({"evaluation": {"stage": "a\nb\x1b"}}, "b") == {"stage": "a<0a>b<1b>"}


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ([1], "evaluation: expected an object"),
        ({"n": "24"}, "n: expected a whole number"),
        ({"n": True}, "n: expected a whole number"),
        ({"n_methylated": -1}, "n_methylated"),
        ({"level": "95 %"}, "level: expected a number from 0 to 1"),
        ({"threshold": 2}, "threshold"),
        ({"auc": 0.7}, "auc: expected value, low and high"),
        ({"auc": {"value": "0.7", "low": 0.6, "high": 0.8}}, "auc: expected value, low and high from 0 to 1"),
        ({"auc": {"value": float("nan"), "low": 0.6, "high": 0.8}}, "auc"),
        ({"auc": {"value": 0.7, "low": 0.8, "high": 0.9}}, "auc: expected a value within its interval"),
    ],
)
def test_anything_else_is_refused(part: object, names: str) -> None:
    with pytest.raises(ExchangeError, match=names):
        known_figures({"evaluation": part}, "b")


@pytest.mark.parametrize(
    ("low", "high", "code"), [(0.4, 0.6, "none"), (0.5, 0.9, "none"), (0.51, 0.9, "some"), (0.1, 0.49, "wrong")]
)
def test_worth_follows_the_interval(low: float, high: float, code: str) -> None:
    assert worth({"auc": {"value": (low + high) / 2, "low": low, "high": high}})[0] == code


def test_worth_without_an_interval_is_unknown() -> None:
    assert worth({})[0] == worth({"auc": {"value": 0.7, "low": None, "high": None}})[0] == "unknown"


@pytest.mark.parametrize(
    ("metadata", "made"),
    [
        ({"data_source": "Ours.", "training": {"made_cohort": True}}, True),
        ({"data_source": "A made cohort (mgmt-monai phantom): no images of patients."}, True),
        ({"data_source": "Images of 59 patients.", "training": {"made_cohort": False}}, False),
    ],
)
def test_made_cohort_is_known_and_its_good_figures_say_nothing_about_patients(metadata: dict, made: bool) -> None:
    good = {"auc": {"value": 0.97, "low": 0.9, "high": 0.99}}
    known = known_figures({"evaluation": good, **metadata}, "b")

    assert known == {**good, "trained_on": metadata["data_source"], "made_cohort": made}
    assert worth(known)[0] == ("made" if made else "some")


@pytest.mark.parametrize(("said", "told"), [("It is one of many.", " It is one of many."), (["x"], ""), (None, "")])
@pytest.mark.parametrize("key", ["one_of_many", "learnt"])
def test_a_prediction_says_that_its_model_is_one_of_many_or_has_not_learnt(key: str, said: object, told: str) -> None:
    known = known_figures({"data_source": "Images of 59 patients.", "training": {key: said}}, "b")

    assert known["trained_on"] == f"Images of 59 patients.{told}"
