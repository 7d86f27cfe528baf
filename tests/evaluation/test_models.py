"""The models in predictions tables, and how they compare."""

import numpy as np
import pandas as pd
import pytest

from mgmt_monai.evaluation.comparison import compare_paired
from mgmt_monai.evaluation.models import comparisons, read_models
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, EvaluationError, write_patients

LABELS = [0, 0, 0, 1, 1, 1]


def table(probability, modality="T1w", stage="fine_tune", split="test", labels=LABELS) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "patient_id": [f"{split}-{number}" for number in range(len(labels))],
            "modality": modality,
            "stage": stage,
            "split": split,
            "fold": 0,
            "seed": 0,
            "label": labels,
            "probability": probability,
            "n_slices": 2,
        }
    )
    return rows[list(PATIENT_COLUMNS)]


@pytest.fixture
def written(tmp_path):
    def write(name: str, *tables: pd.DataFrame):
        write_patients(pd.concat(tables), tmp_path / name)
        return tmp_path / name

    return write


def test_each_modality_and_stage_is_a_model(written):
    rising = np.linspace(0.1, 0.9, 6)
    path = written("a.csv", table(rising), table(rising, stage="transfer"), table(rising, modality="FLAIR"))

    assert list(read_models([path])) == ["T1w fine_tune", "T1w transfer", "FLAIR fine_tune"]


def test_models_of_several_files_carry_the_files_names(written):
    paths = [written("a.csv", table([0.5] * 6)), written("b.csv", table([0.5] * 6))]

    assert list(read_models(paths)) == ["a T1w fine_tune", "b T1w fine_tune"]


def test_threshold_is_chosen_on_validation_patients_else_a_half(written):
    test = table(np.linspace(0.1, 0.9, 6))
    validation = table([0.1, 0.2, 0.3, 0.5, 0.6, 0.7], split="validation")

    alone = read_models([written("a.csv", test)])["T1w fine_tune"]
    chosen = read_models([written("b.csv", test, validation)])["T1w fine_tune"]
    given = read_models([written("c.csv", test, validation)], threshold=0.25)["T1w fine_tune"]

    assert set(alone["threshold"]) == {0.5}
    assert set(chosen["threshold"]) == {0.4}  # midway between 0.3 and 0.5, which part the classes
    assert set(given["threshold"]) == {0.25}


def test_every_pair_is_compared_on_the_shared_patients_with_holms_correction(written):
    random = np.random.default_rng(0)
    labels = [0, 1] * 10
    probabilities = {name: random.uniform(size=20) for name in ("a", "b", "c")}
    paths = [written(f"{name}.csv", table(p, labels=labels)) for name, p in probabilities.items()]

    rows = comparisons(read_models(paths))

    assert [(row["first"][0], row["second"][0]) for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    for row in rows:
        first, second = probabilities[row["first"][0]], probabilities[row["second"][0]]
        expected = compare_paired(np.array(labels), first, second)
        assert row["p"] == pytest.approx(expected.p_value)
        assert row["n"] == 20
    smallest = min(rows, key=lambda row: row["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, 3 * smallest["p"]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param([{"split": "train"}], "expected rows of split test", id="no test"),
        pytest.param([{}, {}], "expected different file names", id="same file"),
    ],
)
def test_tables_that_cannot_be_judged_are_named(written, given, told):
    with pytest.raises(EvaluationError, match=rf"a\.csv.*{told}"):
        read_models([written("a.csv", table([0.5] * 6, **changes)) for changes in given])


def test_models_that_disagree_on_a_label_are_not_compared(written):
    paths = [written("a.csv", table([0.5] * 6)), written("b.csv", table([0.5] * 6, labels=LABELS[::-1]))]

    with pytest.raises(EvaluationError, match="patient test-0: expected one label, found 0 in 'a T1w"):
        comparisons(read_models(paths))
