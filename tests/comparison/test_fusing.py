"""Trainings of several modalities, fused: read from their folders, held together, and judged fairly."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.fusing import (
    PRESENCE,
    RESULT,
    SINGLE,
    TABLE,
    Training,
    fair_test,
    fuse,
    missing_otherwise,
    read_training,
    shuffled,
    write_fusion,
)
from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.evaluation.comparison import compare_paired
from mgmt_monai.evaluation.model_rows import pool_models
from mgmt_monai.evaluation.models import judged
from mgmt_monai.evaluation.pooling import pool
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, read_patients, write_patients

FOUR = ("FLAIR", "T1w", "T1wCE", "T2w")


def trained(
    effects: tuple[float, ...],
    seed: int = 0,
    missing: tuple[float, float] = (0.0, 0.0),
    n_folds: int = 1,
    n: int = 370,
) -> list[Training]:
    """What four trainings would leave: logits that are latent values; in folds each patient is tested once."""
    random = np.random.default_rng(seed)
    label = random.permutation(np.arange(n) % 2)
    part = random.permutation(np.arange(n) % 5)
    found = []
    for modality, effect in zip(FOUR, effects, strict=True):
        logits = (label - 0.5) * effect + random.standard_normal(n)
        there = random.random(n) >= np.array(missing)[label]
        tables = []
        for fold in range(n_folds):
            split = (
                np.where(part == fold, "validation", "test")
                if n_folds == 1
                else np.select([part == fold, part == (fold + 1) % 5], ["test", "validation"], "train")
            )
            table = pd.DataFrame({
                "patient_id": [f"{i:05d}" for i in range(n)], "modality": modality, "stage": "fine_tune",
                "split": split, "fold": fold, "seed": 0, "label": label, "n_slices": 6,
                "probability": expit(logits + 0.3 * fold),
            })[there]  # fmt: skip
            tables.append(table[table["split"] != "train"])
        of = pd.concat(tables, ignore_index=True)
        found.append(Training(Path(modality), modality, of, {"status": "finished", "manifest_hash": "a"}, "none"))
    return found


def test_four_independent_effects_add() -> None:
    """Alone each reaches 0.76, together 0.92."""
    fused = fuse(trained((1, 1, 1, 1)))
    found = fair_test(fused, 0.05)
    assert found["state"] == "adds"
    assert found["fusion"] == pytest.approx(0.92, abs=0.04) and found["best_single"] == pytest.approx(0.76, abs=0.06)
    falls = shuffled(fused)
    assert all(fall is not None and 0.02 < fall < 0.2 for fall in falls.values())


def test_one_effect_is_not_added_to() -> None:
    """Of 20 made studies one at most may say so; the fusion loses at most 0.02."""
    found = [fair_test(fuse(trained((0, 0, 1, 0), seed)), 0.05) for seed in range(1000, 1020)]
    assert sum(one["state"] == "adds" for one in found) <= 1
    assert np.mean([one["difference"] for one in found]) >= -0.02


def test_few_validation_patients_may_choose_a_wrong_modality_and_nothing_is_added_then() -> None:
    """T1wCE alone tells all there is; 12 patients choose another in a fifth of the draws."""
    states = []
    for seed in range(1000, 1020):
        fused = fuse(trained((0, 0, 1, 0), seed, n=60))
        states.append(fair_test(fused, 0.05)["state"])
        wrong = compare_paired(*(
            pool(table, 0.5)[column].to_numpy()
            for table, column in ((fused.tables[TABLE], "label"), (fused.tables[TABLE], "probability"),
                                  (fused.tables[SINGLE], "probability"))
        ))  # fmt: skip
        states[-1] += " by the chosen one" if wrong.low > 0 else ""
    assert any("by the chosen one" in state for state in states)  # so the rule has something to stop
    assert sum(state.startswith("adds") for state in states) <= 1


def test_folds_are_fused_each_by_its_own_validation_patients() -> None:
    trainings = trained((1, 1, 1, 1), n_folds=5)
    fused = fuse(trainings)
    assert sorted(fused.models) == [(fold, 0) for fold in range(5)]
    table = fused.tables[TABLE]
    test = table[table["split"] == "test"]
    assert len(test) == test["patient_id"].nunique() == 370
    assert fair_test(fused, 0.05)["state"] == "adds"
    # A fold's own patients alone: the others' labels, turned round, change nothing of it.
    turned = [
        Training(one.folder, one.modality, one.table.assign(label=one.table["label"].where(one.table["fold"] == 0,
                 1 - one.table["label"])), one.run, one.control)
        for one in trainings
    ]  # fmt: skip
    assert fuse(turned).models[0, 0] == fused.models[0, 0] and fuse(turned).models[1, 0] != fused.models[1, 0]


def test_test_patients_labels_are_not_looked_at() -> None:
    trainings = trained((1, 0, 1, 0), missing=(0.2, 0.2))
    hidden = [
        Training(one.folder, one.modality, one.table.assign(label=one.table["label"].where(
            one.table["split"] == "validation", 1 - one.table["label"])), one.run, one.control)
        for one in trainings
    ]  # fmt: skip
    one, other = fuse(trainings), fuse(hidden)
    assert one.models == other.models
    for name in (TABLE, SINGLE, PRESENCE):
        pd.testing.assert_series_equal(one.tables[name]["probability"], other.tables[name]["probability"])


def test_validation_patients_are_answered_by_fusions_that_have_not_seen_them() -> None:
    """Where nothing is to be learnt, the patients that it is fitted on would look better than others do."""
    found = []
    for seed in range(20):
        table = fuse(trained((0, 0, 0, 0), seed)).tables[TABLE]
        of = table[table["split"] == "validation"]
        found.append(roc_auc_score(of["label"], of["probability"]))
    assert 0.4 < np.mean(found) < 0.53  # fitted on themselves: 0.58


def test_fusion_of_trainings_on_permuted_labels_is_taught_permuted_labels() -> None:
    def weights(control: str) -> float:
        models = [fuse([replace(one, control=control) for one in trained((1, 1, 1, 1), seed)]) for seed in range(10)]
        return float(np.mean([term.weight for fused in models for term in fused.models[0, 0].terms.values()]))

    assert weights("permuted_labels") < 0.3 * weights("none")


def test_patients_without_a_series_stay_in() -> None:
    fused = fuse(trained((1, 1, 1, 1), missing=(0.3, 0.3)))
    assert all(0.2 < n / 370 < 0.4 for n in fused.missing.values())
    table = fused.tables[TABLE]
    everyone = {patient for one in fused.trainings for patient in one.table["patient_id"]}
    assert set(table["patient_id"]) == everyone and len(everyone) > 360
    assert table["probability"].notna().all()


def test_it_is_told_where_test_patients_lack_what_validation_patients_have() -> None:
    """Whom FLAIR's model gets wrong was taken out of the test patients' FLAIR alone: the fusion seems to add."""
    trainings = trained((1, 0, 0, 0))
    assert (
        missing_otherwise(fuse(trainings)) == {} == missing_otherwise(fuse(trained((1, 0, 0, 0), missing=(0.3, 0.3))))
    )
    one, table = trainings[0], trainings[0].table
    wrong = ((table["probability"] > 0.5) != (table["label"] == 1)) & (table["split"] == "test")
    trainings[0] = Training(one.folder, one.modality, table[~wrong], one.run, one.control)
    n_test = (table["split"] == "test").sum()
    assert missing_otherwise(fuse(trainings)) == {"FLAIR": (0.0, pytest.approx(wrong.sum() / n_test))}


def test_what_is_missing_by_the_label_is_contaminated_and_adds_nothing() -> None:
    states, tests = [], []
    for seed in range(1000, 1005):
        fused = fuse(trained((0, 0, 0, 0), seed, missing=(0.1, 0.5)))
        tests.append(fair_test(fused, 0.05)["state"])
        rows = {name: fused.tables[name] for name in (TABLE, PRESENCE)}
        verdict = judged(rows, pool_models(rows), controls=[PRESENCE])[TABLE]["verdict"]
        states.append(verdict["state"])
    assert states.count("contaminated") >= 4 and "supported" not in states
    assert "adds" not in tests


def test_within_site_the_level_of_a_site_does_not_count() -> None:
    """Each single model tells the site, which goes with the label; so does the fusion, and must not gain by that."""
    trainings = trained((0, 0, 0, 0), seed=3)
    site = {patient: "A" if (label == 1) != (i % 5 == 0) else "B" for i, (patient, label) in enumerate(
        zip(trainings[0].table["patient_id"], trainings[0].table["label"], strict=True))}  # fmt: skip
    telling = [
        Training(one.folder, one.modality, one.table.assign(probability=0.5 * one.table["probability"] + 0.4 * (
            one.table["patient_id"].map(site) == "A")), one.run, one.control)
        for one in trainings
    ]  # fmt: skip
    fused = fuse(telling)
    assert fair_test(fused, 0.05)["fusion"] > 0.7
    within = fair_test(fused, 0.05, site=site)
    assert within["within_site"] and abs(within["fusion"] - 0.5) < 0.1 and within["state"] != "adds"


Change = Callable[[list[Training]], list[Training]]


def changed(number: int, **columns: Any) -> Change:
    def change(trainings: list[Training]) -> list[Training]:
        one = trainings[number]
        trainings[number] = Training(one.folder, one.modality, one.table.assign(**columns), one.run, one.control)
        return trainings

    return change


def other_run(trainings: list[Training]) -> list[Training]:
    one = trainings[1]
    return [trainings[0], Training(one.folder, one.modality, one.table, {"manifest_hash": "b"}, one.control)]


def copied(trainings: list[Training]) -> list[Training]:
    one, other = trainings[0], trainings[1]
    return [one, Training(other.folder, "T1w", one.table.assign(modality="T1w"), other.run, other.control)]


def other_inner_fold(trainings: list[Training]) -> list[Training]:
    one = trainings[1]
    return [trainings[0], Training(one.folder, one.modality, one.table, one.run, one.control, (0, 0, 1))]


def other_control(trainings: list[Training]) -> list[Training]:
    one = trainings[1]
    return [trainings[0], Training(one.folder, one.modality, one.table, one.run, "blank")]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_run, "manifest"),
        (other_control, "control"),
        (copied, "answers of FLAIR and T1w, found the same of both"),
        (other_inner_fold, "inner fold"),
        (lambda trainings: trainings[:1], "two modalities or more, found FLAIR alone"),
        (changed(1, fold=3), "the same folds and seeds"),
        (lambda trainings: [*trainings, trainings[0]], "two of FLAIR"),
        (changed(1, label=1), "one label a patient"),
        (changed(1, split="validation"), "one split a patient"),
    ],
)
def test_trainings_that_do_not_belong_together_are_refused(change: Change, named: str) -> None:
    with pytest.raises(ComparisonError, match=named):
        fuse(change(trained((1, 1, 1, 1), n=60)))


def written(folder: Path, training: Training, **run: Any) -> Path:
    """A run's folder, as far as a fusion reads it."""
    folder.mkdir(parents=True)
    write_patients(training.table, folder / "predictions.csv")
    about = {"status": "finished", "manifest_hash": "a", "origin": {"text": "A made cohort."}} | run
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "config.json").write_text(json.dumps({"control": "none"}))
    return folder


def test_folder_has_all_that_evaluate_and_predict_read(tmp_path: Path) -> None:
    runs = [written(tmp_path / one.modality, one) for one in trained((1, 1, 1, 1), missing=(0.2, 0.2))]
    fused = fuse([read_training(run, "fine_tune") for run in runs])
    out = tmp_path / "fusion"
    document = write_fusion(fused, fair_test(fused, 0.05), out)
    assert sorted(path.name for path in out.iterdir()) == sorted([RESULT, TABLE, SINGLE, PRESENCE, "run.json"])
    assert json.loads((out / RESULT).read_text()) == document
    assert document["models"][0]["terms"].keys() == set(FOUR)
    table = read_patients(out / TABLE)
    assert list(table.columns) == list(PATIENT_COLUMNS) and set(table["modality"]) == {"fusion-late"}
    write_fusion(fused, fair_test(fused, 0.05), out)  # the same again is no fault
    with pytest.raises(ComparisonError, match="--overwrite"):
        write_fusion(fused, fair_test(fused, 0.01), out)
    write_fusion(fused, fair_test(fused, 0.01), out, overwrite=True)
    before = {path.name: path.read_bytes() for path in runs[0].iterdir()}
    with pytest.raises(ComparisonError, match="expected no training there"):
        write_fusion(fused, fair_test(fused, 0.05), runs[0], overwrite=True)
    assert {path.name: path.read_bytes() for path in runs[0].iterdir()} == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / TABLE).write_text("of somebody else")
    with pytest.raises(ComparisonError, match="--overwrite"):
        write_fusion(fused, fair_test(fused, 0.05), tmp_path / "other")
    assert len(list((tmp_path / "other").iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / "run.json").unlink(), "expected a run's folder"),
        (lambda folder: (folder / "run.json").write_text('{"status": "running"}'), "that is running"),
        (lambda folder: (folder / "run.json").write_text('{"status": "finished"}'), "expected the hash"),
        (lambda folder: (folder / "config.json").write_text("{"), "expected a run's folder"),
        (lambda folder: (folder / "predictions.csv").write_text("patient_id\n"), "predictions.csv"),
    ],
)
def test_folder_of_no_finished_run_is_refused(tmp_path: Path, change: Callable[[Path], Any], named: str) -> None:
    folder = written(tmp_path / "run", trained((1, 1, 1, 1), n=60)[0])
    change(folder)
    with pytest.raises(MgmtMonaiError, match=named):
        read_training(folder, "fine_tune")


def test_stage_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", trained((1, 1, 1, 1), n=60)[0])
    with pytest.raises(ComparisonError, match="expected predictions of the stage plain, found fine_tune"):
        read_training(folder, "plain")
