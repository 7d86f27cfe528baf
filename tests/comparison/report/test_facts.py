"""What a report says of a record that was written by hand: the verdict with sites, folds and constant controls."""

import json
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from comparison.sample_report import sample_report

from mgmt_monai.comparison.kept_results import ComparisonRecord
from mgmt_monai.comparison.plan import ComparisonPlan
from mgmt_monai.comparison.report.facts import findings

jsonschema = pytest.importorskip("jsonschema")

FOLDS, PATIENTS = 3, [f"a{number:02}" for number in range(60)]


def table(seed: int, gap: float = 0.0, constant: bool = False, plain: bool = False) -> pd.DataFrame:
    """Every stage of three folds: methylated patients lie higher by ``gap``, or each fold has one value."""
    random, number = np.random.default_rng(seed), np.arange(60)
    parts = []
    for fold in range(FOLDS):
        shift = (number - fold) % FOLDS
        noise = np.full(60, 0.4 + 0.01 * fold) if constant else 0.5 + 0.15 * random.standard_normal(60)
        for stage in ("transfer", "fine_tune", *["plain"] * plain):
            parts.append(
                pd.DataFrame(
                    {"patient_id": PATIENTS, "modality": "T1w", "stage": stage, "fold": fold, "seed": 0,
                     "split": np.array(["test", "validation", "train"])[shift], "label": number % 2,
                     "probability": np.clip(noise + gap * (number % 2 - 0.5), 0, 1), "n_slices": 3}
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def made():
    plan = ComparisonPlan(("efficientnet-b0", "resnet-10"), ("T1w",), "efficientnet-b0", "T1w", folds=FOLDS)
    sample = sample_report()
    about = {
        **{key: sample["comparison"][key] for key in ("name", "created", "commit", "manifest_hash", "command")},
        **{key: sample["comparison"][key] for key in ("config_hash", "versions", "trainings")},
        **{"settings": {"confidence_level": 0.95, "bootstrap_resamples": 20}, "experiment": "e", "run_id": "r"},
        **{"plan": plan.as_json(), "cohort": sample["cohort"]},
        "chosen": {"network": "resnet-10", "modality": "T1w", "validation_auc": 0.7, "n_compared": 2},
    }
    predictions = {"efficientnet-b0": table(0, plain=True), "resnet-10": table(1, gap=0.3, plain=True)}
    controls = {"header_tags": table(2, plain=True), "blank": table(3, constant=True, plain=True)}
    chosen = predictions["resnet-10"]
    slices = chosen[(chosen["split"] == "test") & (chosen["stage"] == "fine_tune")].assign(slice_index=0)

    def report(chosen=None, clinical=(), asked="", **columns):
        known = pd.DataFrame(columns, index=PATIENTS)
        told = {**about, "plan": {**about["plan"], "clinical": list(clinical), "site": asked}}
        told |= {"chosen": about["chosen"] | chosen} if chosen else {}
        record = ComparisonRecord(told, predictions, controls, slices, pd.DataFrame(), known)
        return json.loads(json.dumps(findings(record).report))

    return report


def test_a_site_of_the_record_counts_and_what_is_constant_in_each_fold_is_no_control(made):
    report = made(site=[*"AABB"] * 15)

    schema = json.loads((resources.files("mgmt_monai.comparison.report") / "data" / "report.schema.json").read_text())
    jsonschema.validate(report, schema)
    assert report["within_site"]["column"] == "site"
    assert report["verdict"]["state"] == "supported"
    assert report["verdict"]["reasons"] == ["folds", "best_of_several"]
    assert report["verdict"]["auc"]["value"] == report["within_site"]["auc"]
    assert [row["informative"] for row in report["controls"]] == [True, False]


def test_the_column_that_the_plan_names_is_the_site(made):
    report = made(asked="scanner", scanner=[*"AABB"] * 15, site=[*"AAAABB"] * 10)

    assert report["within_site"]["column"] == "scanner"
    assert "other_site_column" in report["verdict"]["reasons"]


def test_a_column_that_tells_what_the_chosen_model_does_supports_nothing(made):
    report = made(site=[*"AABB"] * 15, scanner=[*"AB"] * 30)

    assert report["verdict"]["state"] == "cannot_tell"
    assert "column_tells" in report["verdict"]["reasons"]
    assert report["verdict"]["checks"][-1]["name"].endswith("one value of the column 'scanner'")
    assert (
        "column_tells"
        not in made(site=[*"AABB"] * 15, scanner=[*"AB"] * 30, clinical=["scanner"])["verdict"]["reasons"]
    )


def test_sites_of_one_label_each_leave_nothing_to_tell(made):
    report = made(hospital=[*"AB"] * 30)

    assert (report["verdict"]["state"], report["verdict"]["reasons"][0]) == ("cannot_tell", "no_pairs_within_site")
    assert report["within_site"]["auc"] is report["within_site"]["interval"] is None


def test_what_imaging_adds_is_told_beside_the_columns_that_were_named(made):
    values = {"KPS": [str(n % 7) for n in range(60)], "age": [str(n % 11) for n in range(60)]}

    assert made(**values)["imaging_adds"]["columns"] == ["age"]
    assert made(clinical=["KPS", "site"], site=[*"AABB"] * 15, **values)["imaging_adds"]["columns"] == ["KPS", "site"]


def test_without_a_site_that_stays_open(made):
    report = made()

    assert report["within_site"] is None
    assert "no_site_column" in report["verdict"]["reasons"]


def test_plain_model_of_the_reference_network_is_a_candidate_and_can_be_chosen(made):
    report = made({"network": "efficientnet-b0", "stage": "plain"}, site=[""] * 60)

    rows = report["candidates"]
    assert [(row["network"], row["stage"], row["chosen"]) for row in rows] == [
        ("efficientnet-b0", "fine_tune", False), ("resnet-10", "fine_tune", False), ("efficientnet-b0", "plain", True)
    ]  # fmt: skip
    assert rows[2]["auc"] == rows[0]["auc"]  # the table has the same probabilities
    assert rows[0]["auc_difference"]["value"] == 0
    assert report["noise"]["n_candidates"] == len(report["spread"]) == 3
    assert report["chosen"]["stage"] == "plain"
    assert [row["stage"] for row in report["table_1"]] == ["fine_tune", "fine_tune"]


def test_record_that_does_not_tell_the_stage_was_chosen_among_networks(made):
    report = made()

    assert [row["stage"] for row in report["candidates"]] == ["fine_tune", "fine_tune"]
    assert (report["chosen"]["stage"], report["noise"]["n_candidates"]) == ("fine_tune", 2)
