"""A fusion asked about a study and a batch, by hand; two real trainings, fused, exported and asked."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from scipy.special import expit, logit

from mgmt_monai.cli.main import main
from mgmt_monai.phantom import write_phantom

CENTRE, WEIGHT, LACKS, INTERCEPT = 0.2, 0.7, -0.4, 0.3


def fusion_of(bundle: Path, path: Path, **changed: Any) -> Path:
    """A fusion of the bundle's training and one of T2w, made by hand."""
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    terms = {"T1w": {"centre": CENTRE, "weight": WEIGHT, "missing": 0.0},
             "T2w": {"centre": 0.0, "weight": 1.0, "missing": LACKS}}  # fmt: skip
    document = {
        "schema": "mgmt-monai/fusion/1",
        "stage": metadata["evaluation"]["stage"],
        "manifest_hash": metadata["training"]["manifest_hash"],
        "models": [{"fold": 0, "seed": metadata["training"]["seed"], "intercept": INTERCEPT, "terms": terms}],
    }
    path.write_text(json.dumps(document | changed))
    return path


def test_study_is_answered_with_the_modality_that_is_there(
    exported_bundle: Path, phantom_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fusion = fusion_of(exported_bundle, tmp_path / "fusion.json")
    words = ["predict", str(phantom_dir / "train/90001"), "--bundle", str(exported_bundle), "--fusion", str(fusion)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out/90001/prediction.json").read_text())
    single = found["series"][0]["probability"]
    by_hand = float(expit(INTERCEPT + WEIGHT * (logit(single) - CENTRE) + LACKS))
    assert found["probability"] == found["fusion"]["probability"] == pytest.approx(by_hand, abs=1e-12)
    assert (found["fusion"]["used"], found["fusion"]["missing"]) == (["T1w"], ["T2w"])
    assert found["fusion"]["addends"]["T2w"] == LACKS
    assert f"late fusion: {by_hand:.3f}; without T2w" in capsys.readouterr().out
    page = (tmp_path / "out/90001/prediction.html").read_text()
    assert "by a late fusion of T1w, without T2w" in page and "adds" in page


def test_batch_has_a_row_for_the_fusion_and_evaluate_takes_it(
    exported_bundle: Path, phantom_dir: Path, tmp_path: Path
) -> None:
    fusion = fusion_of(exported_bundle, tmp_path / "fusion.json")
    words = ["predict", str(phantom_dir), "--batch", "--bundle", str(exported_bundle), "--engine", "pytorch"]
    out = tmp_path / "out"
    assert main([*words, "--fusion", str(fusion), "--out", str(out)]) == 0
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    by_modality = {
        name: {row["patient_id"]: row for row in rows if row["modality"] == name} for name in ("T1w", "fusion-late")
    }
    assert len(by_modality["fusion-late"]) == len(by_modality["T1w"]) == 16
    for patient, row in by_modality["fusion-late"].items():
        single = by_modality["T1w"][patient]["probability"]
        assert bool(row["probability"]) == bool(single)
        if single:
            by_hand = expit(INTERCEPT + WEIGHT * (logit(float(single)) - CENTRE) + LACKS)
            assert float(row["probability"]) == pytest.approx(by_hand, abs=1e-12)
        else:
            assert row["abstained"] == "all models abstain"
    labels = ["--labels", str(phantom_dir / "train_labels.csv"), "--out", str(tmp_path / "evaluation")]
    assert main(["evaluate", str(out / "predictions.csv"), *labels]) == 0
    assert main([*words, "--out", str(out)]) == 1  # the same bundles without the fusion: other results
    assert main([*words, "--fusion", str(fusion), "--out", str(out)]) == 0


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"manifest_hash": "another"}, "one of others (manifest, stage or run)"),
        ({"stage": "transfer"}, "one of others (manifest, stage or run)"),
        ({"runs": ["of another training"] * 2}, "one of others (manifest, stage or run)"),
        ({"control": "blank"}, "found one of the control blank"),
        ({"models": []}, "expected a fusion"),
        ({"schema": "mgmt-monai/fusion/9"}, "expected a fusion"),
        ({"models": [{"fold": 0, "seed": 77, "intercept": 0, "terms": {
            name: {"centre": 0, "weight": 1, "missing": 0} for name in ("T1w", "T2w")}}]}, "of one fold and seed"),
        ({"models": [{"fold": 0, "seed": 3, "intercept": 0, "terms": {
            name: {"centre": 0, "weight": 1, "missing": 0} for name in ("FLAIR", "T2w")}}]}, "one bundle of each of"),
        ({"models": [{"fold": 0, "seed": 3, "intercept": 0, "terms": {
            name: {"centre": 0, "weight": -1, "missing": 0} for name in ("T1w", "T2w")}}]}, "expected a fusion"),
    ],
)  # fmt: skip
def test_fusion_of_other_trainings_is_refused(
    exported_bundle: Path, phantom_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    changed: dict[str, Any], named: str,
) -> None:  # fmt: skip
    fusion = fusion_of(exported_bundle, tmp_path / "fusion.json", **changed)
    words = ["predict", str(phantom_dir / "train/90001"), "--bundle", str(exported_bundle), "--fusion", str(fusion)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err.strip()
    assert named in told and "\n" not in told
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_trainings_are_fused_exported_and_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some patients lack FLAIR: in the manifest they are accepted, and the fusion answers about them too."""
    data = write_phantom(
        tmp_path / "data", 40, 0.0, 3, effects={"T1w": 3.0, "FLAIR": 3.0}, missing={"FLAIR": (0.15, 0.15)}
    )
    lacking = [folder.name for folder in sorted((data / "train").iterdir()) if not (folder / "FLAIR").is_dir()]
    assert lacking
    ignored = tmp_path / "ignored.csv"
    ignored.write_text("finding,patient_id,reason\n" + "".join(f"D030,{one},none was made\n" for one in lacking))
    shares = {"test-fraction": 0.4, "train-fraction": 0.6}
    options = [word for key, value in shares.items() for word in (f"--{key}", str(value))]
    assert main(["manifest", "build", str(data), *options, "--ignore", str(ignored)]) == 0
    bundles = []
    for modality in ("t1w", "flair"):
        settings = {
            "dataset_dir": data, "output_dir": tmp_path / "runs", "run_name": "a", "device": "cpu", "image_size": 32,
            "backbone": "resnet-10", "weights": "none", "transfer_epochs": 1, "fine_tune_epochs": 1, "seed": 5,
            "transfer_batch_size": 16, "fine_tune_batch_size": 16, "bootstrap_resamples": 50, "num_workers": 0,
            "test_fraction": 0.4, "train_fraction": 0.6,
        }  # fmt: skip
        words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        assert main(["train", modality, *words]) == 0
        run = tmp_path / "runs" / modality / "a"
        assert main(["bundle", "export", str(run), "--out", str(tmp_path / "models")]) == 0
        bundles += ["--bundle", str(tmp_path / "models" / f"mgmt_{modality}")]
    out = tmp_path / "fusion"
    runs = [str(tmp_path / "runs" / modality / "a") for modality in ("t1w", "flair")]
    capsys.readouterr()
    assert main(["fuse", *runs, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "A made cohort" in told and "FLAIR: without it the AUC changes by" in told and "T1w: without it" in told
    command = told.partition("What it is worth: mgmt-monai ")[2].split()
    assert main([*command, "--out", str(tmp_path / "evaluation")]) == 0
    document = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert "made cohort" in json.dumps(document)
    table = {
        row["patient_id"]: row for row in csv.DictReader((out / "predictions.csv").open()) if row["split"] == "test"
    }
    words = ["predict", str(data), "--batch", *bundles, "--fusion", str(out), "--engine", "pytorch"]
    assert main([*words, "--out", str(tmp_path / "predicted")]) == 0
    asked = [
        row
        for row in csv.DictReader((tmp_path / "predicted/predictions.csv").open())
        if row["modality"] == "fusion-late"
    ]
    same = [row for row in asked if row["patient_id"] in table and not row["abstained"]]
    answered = {row["patient_id"] for row in csv.DictReader((tmp_path / "predicted/predictions.csv").open())
                if row["modality"] == "T1w" and row["probability"]}  # fmt: skip
    both = [row for row in same if row["patient_id"] in answered and row["patient_id"] not in lacking]
    assert both
    for row in same:
        single = {one["modality"]: one for one in csv.DictReader((tmp_path / "predicted/predictions.csv").open())
                  if one["patient_id"] == row["patient_id"]}  # fmt: skip
        if single["T1w"]["probability"] and (single["FLAIR"]["probability"] or row["patient_id"] in lacking):
            assert float(row["probability"]) == pytest.approx(float(table[row["patient_id"]]["probability"]), abs=1e-5)
