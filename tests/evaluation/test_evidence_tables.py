"""Tables that mislead, each of which must end as its README says; those with a manifest: tests/cli."""

import pandas as pd
import pytest

from mgmt_monai.evaluation.model_rows import pool_models, read_rows
from mgmt_monai.evaluation.models import best_of_models, evaluate
from mgmt_monai.evaluation.verdict import BELOW_CHANCE, SUPPORTED


@pytest.fixture
def evidence(shared_data):
    return shared_data / "evidence"


@pytest.mark.parametrize("name", ["reversed_signal", "perfect_reversed"])
def test_an_auc_far_below_chance_asks_for_the_labels(evidence, name):
    (found,) = evaluate(evidence / "tables" / f"{name}.csv").values()
    assert found["verdict"]["state"] == BELOW_CHANCE
    assert found["verdict"]["sentence"].startswith("Below chance: check the labels")


def test_three_methylated_of_fifty_have_no_interval_and_no_claim(evidence):
    (found,) = evaluate(evidence / "tables" / "three_of_50.csv").values()
    assert (found["n"], found["n_methylated"], found["auc"]["low"]) == (50, 3, None)
    assert "too_few_for_an_interval" in found["verdict"]["reasons"]
    assert found["verdict"]["state"] != SUPPORTED


def test_ten_seeds_have_a_mean_and_the_ensemble_is_named(evidence):
    (found,) = evaluate(evidence / "tables" / "seeds.csv").values()
    assert found["seeds"]["n"] == 10
    assert 0.54 <= found["seeds"]["low"] <= found["seeds"]["mean"] <= found["seeds"]["high"] <= 0.66
    assert found["auc"]["value"] == pytest.approx(0.80, abs=0.01)
    told = "10 seeds have a mean AUC of 0.61 (sd 0.03, 0.55 to 0.65); their average, an ensemble, is judged: AUC 0.80"
    assert told in found["verdict"]["sentence"]


@pytest.mark.slow
def test_none_of_24_guessers_is_believed(evidence):
    path = evidence / "tables" / "b24.csv"
    found = evaluate(path)
    rows, _ = read_rows([path])
    assert len(found) == best_of_models(pool_models(rows))["n_models"] == 24
    assert not any(of["verdict"]["state"] == SUPPORTED for of in found.values())
    assert all("best_of_several" in of["verdict"]["reasons"] for of in found.values())


def test_a_signal_between_centres_is_none_within_them(evidence):
    table = evidence / "between_centre" / "predictions.csv"
    sites = pd.read_csv(evidence / "between_centre" / "sites.csv", dtype=str).set_index("patient_id")

    (found,) = evaluate(table, columns=sites).values()

    assert found["verdict"]["state"] != SUPPORTED
    assert found["auc"]["value"] == pytest.approx(0.595, abs=0.001)
    within = found["within_site"]
    assert within["auc"] == pytest.approx(0.506, abs=0.001)  # its README: p = 0.44 of 1000 permutations
    assert within["p"] == pytest.approx(0.44, abs=0.05)
    assert "within sites the AUC is 0.51" in found["verdict"]["sentence"]
    over = within["over_sites"]
    assert over["new_low"] < 0.5 < over["new_high"]
    assert sum(of["auc"]["n"] for of in within["sites"]) == 822
