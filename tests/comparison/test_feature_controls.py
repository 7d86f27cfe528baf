import math
from dataclasses import replace

import numpy as np
import pytest
from planted_comparisons import only, plant_leakage, plant_shortcut
from sklearn.metrics import roc_auc_score

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.splits.plans import Holdout, KFold
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.feature_controls import feature_control_predictions, predict_from_features
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, read_patients, write_patients


@pytest.fixture
def cohort():
    """60 patients, half of them methylated: 30 to train, 10 to validate, 20 to test; four features of no use."""
    rng = np.random.default_rng(0)
    patients = [f"{number:05d}" for number in range(60)]
    features = {
        patient: {**{f"number {n}": float(rng.normal()) for n in range(3)}, "text": str(rng.choice(["a", "b", "c"]))}
        for patient in patients
    }
    labels = {patient: index % 2 for index, patient in enumerate(patients)}
    split = {p: "train" if i < 30 else "validation" if i < 40 else "test" for i, p in enumerate(patients)}
    return features, labels, split


def auc_of_test(labels, split, found) -> float:
    test = [patient for patient in split if split[patient] == "test"]
    return roc_auc_score([labels[p] for p in test], [found[p] for p in test])


def test_validation_and_test_patients_are_predicted_and_no_others(cohort):
    features, labels, split = cohort
    found = predict_from_features(features, labels, split, seed=0)
    assert sorted(found) == sorted(patient for patient in split if split[patient] != "train")
    assert all(0 <= probability <= 1 for probability in found.values())


@pytest.mark.parametrize(
    "tag",
    [
        pytest.param(lambda label: f"version {label}", id="text"),
        pytest.param(lambda label: 10 + 0.01 * label, id="number by a hair"),
        pytest.param(lambda label: 3.0 if label else "", id="present or not"),
        pytest.param(lambda label: 3.0 if label else math.nan, id="nan or not"),
        pytest.param(lambda label: 3.0 if label else "varies", id="number or text"),
    ],
)
def test_tag_that_goes_with_the_label_is_found(cohort, tag):
    features, labels, split = cohort
    for patient, label in labels.items():
        features[patient]["tag"] = tag(label)
    assert auc_of_test(labels, split, predict_from_features(features, labels, split, seed=0)) == 1


def test_features_that_say_nothing_are_near_chance(cohort):
    features, labels, split = cohort
    # Of 10 and 10 patients an AUC without information lies within 0.5 +- 0.26 in 95 of 100 cases (Mann-Whitney).
    assert auc_of_test(labels, split, predict_from_features(features, labels, split, seed=0)) == pytest.approx(
        0.5, abs=0.26
    )


def test_copied_patient_is_put_on_its_originals_side(cohort):
    features, labels, split = cohort
    training = [patient for patient in split if split[patient] == "train"]
    others = [patient for patient in split if split[patient] != "train"]
    for copy, original in zip(others, training, strict=True):
        features[copy] = dict(features[original])
    found = predict_from_features(features, labels, split, seed=0)
    assert [found[copy] > 0.5 for copy in others] == [labels[original] == 1 for original in training]


def test_labels_of_validation_and_test_patients_do_not_matter(cohort):
    features, labels, split = cohort
    turned = {p: label if split[p] == "train" else 1 - label for p, label in labels.items()}
    assert predict_from_features(features, turned, split, 0) == predict_from_features(features, labels, split, 0)


def test_features_of_test_patients_do_not_reach_the_others(cohort):
    features, labels, split = cohort
    before = predict_from_features(features, labels, split, seed=0)
    changed = {p: {**f, "number 0": 99.0, "text": "new"} if split[p] == "test" else f for p, f in features.items()}
    after = predict_from_features(changed, labels, split, seed=0)
    assert all(after[p] == before[p] for p in after if split[p] == "validation")


def test_seed_alone_decides(cohort):
    features, labels, split = cohort
    found = predict_from_features(features, labels, split, seed=0)
    backwards = dict(reversed(features.items()))
    assert predict_from_features(backwards, labels, dict(reversed(split.items())), seed=0) == found
    assert predict_from_features(features, labels, split, seed=1) != found


@pytest.mark.parametrize("features", [{}, {"00000": {}}], ids=["nobody has any", "empty"])
def test_without_features_everyone_gets_the_share_of_methylated_in_training(cohort, features):
    _, labels, split = cohort
    labels |= {"00000": 1}  # 16 of 30
    found = predict_from_features(features, labels, split, seed=0)
    assert len(found) == 30
    assert set(found.values()) == {16 / 30}


def test_features_that_are_all_alike_rank_nobody(cohort):
    _, labels, split = cohort
    found = predict_from_features({p: {"tag": "x", "n": 1.0} for p in labels}, labels, split, seed=0)
    assert len(set(found.values())) == 1


def test_feature_that_no_training_patient_has_is_passed_over(cohort):
    features, labels, split = cohort
    before = predict_from_features(features, labels, split, seed=0)
    more = {p: f if split[p] == "train" else {**f, "late": 5.0, "word": "x"} for p, f in features.items()}
    after = predict_from_features(more, labels, split, seed=0)
    assert after.keys() == before.keys()
    assert auc_of_test(labels, split, after) == pytest.approx(auc_of_test(labels, split, before), abs=0.15)


def test_training_patients_of_one_class_give_its_share(cohort):
    features, labels, split = cohort
    labels |= {patient: 1 for patient in split if split[patient] == "train"}
    assert set(predict_from_features(features, labels, split, seed=0).values()) == {1.0}


def test_no_training_patient_is_refused(cohort):
    features, labels, split = cohort
    with pytest.raises(ComparisonError, match="expected training patients"):
        predict_from_features(features, labels, dict.fromkeys(split, "test"), seed=0)


@pytest.fixture
def t1w(phantom_dir, tmp_path):
    return only(tmp_path / "data", "T1w", phantom_dir)


def manifest_of(data_dir):
    return build_manifest(data_dir, Sources(), Holdout(0.3, 0.7, seed=0), workers=1).manifest


def test_planted_shortcut_is_found_in_the_tags_and_not_in_the_geometry(t1w):
    clean = feature_control_predictions(manifest_of(t1w), t1w, "T1w", ("T1w",), None, 1)
    plant_shortcut(t1w, "T1w")
    found = feature_control_predictions(manifest_of(t1w), t1w, "T1w", ("T1w",), None, 1)
    test = found["header_tags"].query("split == 'test'")
    assert roc_auc_score(test["label"], test["probability"]) == 1
    assert found["geometry"].equals(clean["geometry"])


def test_planted_copies_are_recognised_by_tags_and_geometry(t1w):
    copies = plant_leakage(t1w, "T1w", share=1.0)
    manifest = manifest_of(t1w)
    split = {patient.patient_id: patient.split for patient in manifest.patients}
    label = {patient.patient_id: patient.label for patient in manifest.patients}
    pairs = [*copies.items(), *((original, copy) for copy, original in copies.items())]
    leaked = [one for one, other in pairs if split[one] != "train" and split[other] == "train"]
    assert len(leaked) > 5
    for table in feature_control_predictions(manifest, t1w, "T1w", ("T1w",), None, 1).values():
        probability = dict(zip(table["patient_id"], table["probability"], strict=True))
        assert [probability[p] > 0.5 for p in leaked] == [label[p] == 1 for p in leaked]


def test_tables_hold_every_fold_and_keep_to_the_schema(t1w, tmp_path):
    manifest = KFold(4, 2, 0, 0).apply(manifest_of(t1w))
    tables = feature_control_predictions(manifest, t1w, "T1w", ("T1w",), 4, 2)
    assert sorted(tables) == ["geometry", "header_tags"]
    for table in tables.values():
        assert tuple(table.columns) == PATIENT_COLUMNS
        write_patients(table, tmp_path / "table.csv")
        assert len(read_patients(tmp_path / "table.csv")) == len(table)
        for repeat in range(2):
            for fold in range(4):
                rows = table[(table["fold"] == 4 * repeat + fold) & (table["split"] == "test")]
                expected = {p.patient_id: p.label for p in manifest.patients if p.folds[repeat] == fold}
                assert dict(zip(rows["patient_id"], rows["label"], strict=True)) == expected


def test_features_of_several_modalities_tell_which_are_there(phantom_dir):
    """FLAIR was made of the methylated alone; nobody is left out for that."""
    manifest = manifest_of(phantom_dir)
    patients = [
        p if p.label else replace(p, series={name: s for name, s in p.series.items() if name != "FLAIR"})
        for p in manifest.patients
    ]
    n_slices = {
        p.patient_id: sum(p.series[name].n_slices for name in ("T1w", "FLAIR") if name in p.series) for p in patients
    }
    tables = feature_control_predictions(
        replace(manifest, patients=patients), phantom_dir, "fusion", ("T1w", "FLAIR"), None, 1
    )
    for table in tables.values():
        assert set(table["modality"]) == {"fusion"}
        assert (table["n_slices"] == table["patient_id"].map(n_slices)).all()
        assert roc_auc_score(table["label"], table["probability"]) == 1
