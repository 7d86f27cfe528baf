"""A result is JSON that any reader takes, and reads back as it was."""

import json
from dataclasses import replace

import pytest

from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.prediction import SCHEMA, SeriesPrediction, StudyPrediction, prediction_from_json

ONE = SeriesPrediction(
    modality="T1w",
    bundle="mgmt_t1w",
    bundle_version="0.1.0",
    model_sha256="ab" * 32,
    probability=0.25,
    abstained=(),
    slice_indices=(4, 5),
    slice_probabilities=(0.125, 0.375),
    distance=1.5,
    distance_limit=2.0,
    findings=({"id": "D013", "severity": "warning", "title": "oblique plane", "text": "expected, found"},),
    n_slices=10,
    threshold=0.5,
    evaluation={"auc": {"value": 0.6, "low": 0.4, "high": 0.8}},
    bundle_sha256="cd" * 32,
)
NONE = replace(ONE, modality="FLAIR", probability=None, abstained=("why",), slice_probabilities=(), distance=None)


def study(*series: SeriesPrediction) -> StudyPrediction:
    return StudyPrediction("case-7", series, {"torch": "2"}, "2026-01-02T03:04:05+00:00")


def test_mean_is_over_the_models_that_answer() -> None:
    assert study(ONE, NONE, replace(ONE, probability=0.75)).probability == 0.5
    assert study(ONE).probability == 0.25
    assert study(NONE).probability is None


def test_result_says_what_it_is_and_holds_every_field() -> None:
    document = json.loads(study(ONE, NONE).to_json())

    assert (document["schema"], document["notice"], document["probability"]) == (SCHEMA, NOTICE, 0.25)
    assert document["series"][0]["slice_probabilities"] == [0.125, 0.375]
    assert document["series"][1]["abstained"] == ["why"]


def test_result_reads_back_as_it_was() -> None:
    assert prediction_from_json(study(ONE, NONE).to_json()) == study(ONE, NONE)


def test_number_that_json_does_not_have_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        study(replace(ONE, distance=float("inf"))).to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"schema": "mgmt-monai/prediction/0"}', "[" * 100_000])
def test_text_that_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(InferenceError, match="expected a result"):
        prediction_from_json(text)


def test_result_with_an_unknown_or_a_missing_field_is_refused() -> None:
    document = json.loads(study(ONE).to_json())
    with pytest.raises(InferenceError, match="unknown"):
        prediction_from_json(json.dumps({**document, "unknown": 1}))
    del document["series"][0]["threshold"]
    with pytest.raises(InferenceError, match="threshold"):
        prediction_from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"study": "', '"study": "\\ud800'),
        ('"probability": 0', '"probability": "0'),
        ('"n_slices": ', '"n_slices": ' + "9" * 5000),
        ('"slice_indices": [', '"slice_indices": ["one"],"more": ['),
        ('"study"', '"notice": "n", "study"'),
    ],
    ids=["half a character", "not closed", "5000 digits", "unknown key", "key twice"],
)
def test_result_that_is_none_is_told_in_one_line(old: str, new: str) -> None:
    text = study(ONE, NONE).to_json()
    assert old in text
    with pytest.raises(InferenceError, match="expected a result") as caught:
        prediction_from_json(text.replace(old, new, 1))
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["probability", "series", "software", "created"])
def test_result_with_a_value_of_another_kind_is_refused(key: str) -> None:
    document = json.loads(study(ONE, NONE).to_json())
    document[key] = "0.5" if key != "created" else 7
    with pytest.raises(InferenceError, match="expected a result"):
        prediction_from_json(json.dumps(document))
