"""A comparison's fusions, made from the folders that its trainings leave, and one comparison from start to report."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparison.test_fusing import trained, written
from phantom_runs import BUNDLES, with_store
from scipy.special import expit

from mgmt_monai.cli.main import main
from mgmt_monai.comparison import sweep
from mgmt_monai.comparison.candidate_choice import Choice
from mgmt_monai.comparison.collect import chosen_slices
from mgmt_monai.comparison.folder import ComparisonFolder
from mgmt_monai.comparison.fused_candidates import control_predictions, network_predictions, what_fusions_add
from mgmt_monai.comparison.fusing import TABLE, Training, fuse
from mgmt_monai.comparison.plan import Candidate, ComparisonPlan
from mgmt_monai.phantom import write_phantom

PLAN = ComparisonPlan(
    ("efficientnet-b0",), ("FLAIR", "T1w", "T1wCE", "T2w", "fusion-late", "fusion"), "efficientnet-b0", "T1w"
)
LATE = Candidate("efficientnet-b0", "fusion-late")


def staged(training: Training, stages: Sequence[str]) -> Training:
    return replace(training, table=pd.concat([training.table.assign(stage=stage) for stage in stages]))


def left_by(folder: Path, missing: tuple[float, float] = (0.0, 0.0), control: str = "none") -> list[Training]:
    """Trainings of four complementary modalities, and a network on all four that has found what they tell together."""
    singles = trained((1, 1, 1, 1), seed=1, missing=missing)
    told = pd.concat([one.table for one in singles])
    logit = np.log(told["probability"] / (1 - told["probability"]))
    together = told.assign(probability=logit).groupby("patient_id").agg(
        {**dict.fromkeys(("stage", "split", "fold", "seed", "label"), "first"), "probability": "sum", "n_slices": "sum"}
    ).reset_index().assign(modality="fusion")  # fmt: skip
    together["probability"] = expit(together["probability"])
    every = [staged(one, ("transfer", "fine_tune", "plain")) for one in singles]
    every[0] = staged(singles[0], ("transfer", "fine_tune"))  # no plain model could be fitted
    every.append(staged(replace(singles[0], modality="fusion", table=together), ("transfer", "fine_tune", "plain")))
    made = ComparisonFolder(folder)
    for of in PLAN.trainings():
        one = next(one for one in every if one.modality == of.modality)
        path = made.run_folder(replace(of, control=control))
        written(path, one)
        (path / "config.json").write_text(f'{{"control": "{control}"}}')
    return singles


def test_late_fusion_of_a_comparison_is_the_one_that_fuse_makes(tmp_path: Path) -> None:
    singles = left_by(tmp_path, missing=(0.2, 0.2))

    table = network_predictions(ComparisonFolder(tmp_path), PLAN)["efficientnet-b0"]

    late = table[table["modality"] == "fusion-late"]
    assert sorted(late["stage"].unique()) == ["fine_tune", "transfer"]  # FLAIR has no plain model
    own = late[late["stage"] == "fine_tune"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, fuse(singles).tables[TABLE])
    slices = chosen_slices(ComparisonFolder(tmp_path), PLAN, LATE, table)
    assert len(slices) == slices["patient_id"].nunique() == (own["split"] == "test").sum()


def test_each_fusion_is_held_against_the_best_single_modality_of_the_same_patients(tmp_path: Path) -> None:
    left_by(tmp_path, missing=(0.1, 0.1))
    folder = ComparisonFolder(tmp_path)

    found = what_fusions_add(folder, PLAN, network_predictions(folder, PLAN), 0.95, None)

    assert [(row["modality"], row["stage"], row["state"]) for row in found] == [
        ("fusion-late", "fine_tune", "adds"), ("fusion", "fine_tune", "adds")
    ]  # fmt: skip
    assert found[0]["best_single"] == found[1]["best_single"] and found[0]["n"] == found[1]["n"]
    assert found[0]["fusion"] == pytest.approx(0.9, abs=0.04)  # 0.92 with all four there


def test_controls_of_a_late_fusion_are_fusions_of_controls_and_which_series_are_there(tmp_path: Path) -> None:
    left_by(tmp_path, missing=(0.1, 0.4))
    for control in ("permuted_labels", "blank", "background"):
        left_by(tmp_path, missing=(0.1, 0.4), control=control)
    folder = ComparisonFolder(tmp_path)

    found = control_predictions(folder, PLAN, LATE)

    assert sorted(found) == ["background", "blank", "permuted_labels", "presence"]
    model = network_predictions(folder, PLAN)["efficientnet-b0"]
    tested = set(model.query("modality == 'fusion-late' and split == 'test'")["patient_id"])
    for table in found.values():
        assert set(table["stage"]) == {"fine_tune"}
        assert set(table[table["split"] == "test"]["patient_id"]) == tested
    # Only the presence of four series stands behind it: 16 values at most.
    assert found["presence"]["probability"].nunique() <= 16
    of_network = control_predictions(folder, PLAN, Candidate("efficientnet-b0", "fusion", "plain"))
    assert set(of_network["presence"]["stage"]) == {"plain"}
    assert "presence" not in control_predictions(folder, PLAN, Candidate("efficientnet-b0", "T1w"))


@pytest.mark.slow
def test_comparison_with_both_fusions_from_the_command_line_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some patients lack FLAIR. So small a cohort chooses by chance: the choice is set, to a late fusion."""
    data = write_phantom(
        tmp_path / "data", 40, 0.0, 3, effects={"T1w": 3.0, "FLAIR": 3.0}, missing={"FLAIR": (0.2, 0.2)}
    )
    lacking = [folder.name for folder in sorted((data / "train").iterdir()) if not (folder / "FLAIR").is_dir()]
    ignored = tmp_path / "ignored.csv"
    ignored.write_text("finding,patient_id,reason\n" + "".join(f"D030,{one},none was made\n" for one in lacking))
    parts = ["--test-fraction", "0.4", "--train-fraction", "0.6"]
    assert main(["manifest", "build", str(data), *parts, "--ignore", str(ignored)]) == 0
    settings = {
        "dataset_dir": data, "output_dir": with_store(tmp_path / "runs"), "device": "cpu", "image_size": 32,
        "transfer_epochs": 1, "fine_tune_epochs": 1, "transfer_batch_size": 16, "fine_tune_batch_size": 16,
        "bootstrap_resamples": 50, "num_workers": 0, "series_slices": 4, "test_fraction": 0.4, "train_fraction": 0.6,
    }  # fmt: skip
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    words = ["compare", "--networks", "resnet-10", "--modalities", "T1w,FLAIR,fusion-late,fusion", "--name", "small",
             "--bundles", str(BUNDLES), *words]  # fmt: skip
    late = Candidate("resnet-10", "fusion-late")
    monkeypatch.setattr(sweep, "choose", lambda predictions, plan: Choice(late, 0.7, 8))

    assert main(words) == 0

    folder = tmp_path / "runs" / "comparisons" / "small"
    report = json.loads((folder / "report" / "report.json").read_text())
    rows = {(row["modality"], row["stage"]): row for row in report["candidates"]}
    assert {modality for modality, _ in rows} == {"T1w", "FLAIR", "fusion-late", "fusion"}
    assert rows["fusion", "fine_tune"]["auc"]["n"] == rows["fusion-late", "fine_tune"]["auc"]["n"] == 16
    assert rows["FLAIR", "fine_tune"]["auc"]["n"] < 16
    assert {(row["modality"], row["n"]) for row in report["fusions"]} == {("fusion-late", 16), ("fusion", 16)}
    assert [row["modality"] for row in report["table_2"]] == ["T1w", "FLAIR", "fusion-late", "fusion"]
    controls = [row for row in report["comparison"]["trainings"] if row["control"] != "none"]
    assert len(controls) == 2 * 3 and {row["modality"] for row in controls} == {"T1w", "FLAIR"}
    assert "presence" in {row["name"] for row in report["controls"]}
    page = (folder / "report" / "report.html").read_text()
    assert report["fusions"][0]["sentence"] in page and "AUC of slices" not in page
    fusion = json.loads((folder / "fusion" / "resnet-10-fusion-seed0" / "config.json").read_text())
    assert (fusion["modalities"], fusion["series_slices"]) == ("T1w+FLAIR", 4)

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pt")}
    assert main(words) == 0  # nothing is done again
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.pt")} == before
    capsys.readouterr()
    assert main([*words, "--modality_dropout", "2"]) == 1
    assert "modality_dropout: expected a number from 0 below 1, found 2" in capsys.readouterr().err
