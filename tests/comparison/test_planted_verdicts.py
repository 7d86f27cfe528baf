"""What a comparison says of phantoms whose truth is known, end to end (minutes each: ``make test-slow``)."""

import json
import re
import shlex
from pathlib import Path

import pytest
from phantom_runs import BUNDLES
from planted_comparisons import plant_leakage, plant_shortcut

from mgmt_monai.cli.main import main
from mgmt_monai.phantom import write_phantom
from mgmt_monai.phantom.effect import reachable_auc

ROOT = Path(__file__).parents[2]


def comparison(data_dir: Path, out: Path, *words: str) -> dict:
    """The report of a comparison with the demo's settings."""
    demo = re.search(r"^DEMO_OVERRIDES \?= ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1]
    options = [*words, "--bundles", str(BUNDLES), "--name", "planted", "--dataset_dir", str(data_dir),
               "--output_dir", str(out)]  # fmt: skip
    assert main(["compare", "--networks", "efficientnet-b0", *options, *shlex.split(demo.replace("\\\n", " "))]) == 0
    return json.loads((out / "comparisons" / "planted" / "report" / "report.json").read_text())


def names_a_control(report: dict) -> bool:
    """Contaminated where the model has learnt it; else told beside a model that is at chance."""
    verdict = report["verdict"]
    if verdict["state"] == "contaminated":
        return verdict["reasons"][0] == "explained_by_control"
    return verdict["state"] != "supported" and bool(
        {"control_above_chance", "not_beyond_control"} & {*verdict["reasons"]}
    )


@pytest.mark.slow
def test_a_planted_effect_is_supported_and_every_modalitys_interval_holds_the_known_auc(tmp_path):
    data = write_phantom(tmp_path / "phantom", n_patients=120, effect=2.0, seed=0)

    report = comparison(data, tmp_path / "runs")

    assert report["verdict"]["state"] == "supported"
    for row in report["table_2"]:
        auc = row["fine_tune"]["auc"]
        assert auc["low"] <= reachable_auc(2.0) <= auc["high"], row["modality"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_where_nothing_is_planted_nothing_is_claimed(seed, tmp_path):
    data = write_phantom(tmp_path / "phantom", n_patients=80, effect=0.0, seed=seed)

    assert comparison(data, tmp_path / "runs", "--modalities", "T1w")["verdict"]["state"] in (
        "cannot_tell",
        "too_small_to_matter",
        "below_chance",
    )


@pytest.mark.slow
def test_a_header_tag_that_goes_with_the_label_is_told(tmp_path):
    data = write_phantom(tmp_path / "phantom", n_patients=80, effect=0.0, seed=0)
    plant_shortcut(data, "T1w")

    report = comparison(data, tmp_path / "runs", "--modalities", "T1w")

    assert names_a_control(report)
    assert next(row for row in report["controls"] if row["name"] == "header_tags")["auc"]["value"] == 1


@pytest.mark.slow
def test_patients_copied_across_the_splits_are_told(tmp_path):
    data = write_phantom(tmp_path / "phantom", n_patients=60, effect=0.0, seed=0)
    plant_leakage(data, "T1w", share=1.0)

    report = comparison(data, tmp_path / "runs", "--modalities", "T1w")

    assert names_a_control(report)
