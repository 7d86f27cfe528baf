"""A fusion's bundle asked about studies: as in its training, with whatever is there; what each modality adds."""

import itertools
import json
import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from phantom_runs import train

from mgmt_monai.cli.main import main
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.export import export_bundle, export_run
from mgmt_monai.exchange.run_source import open_source
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.feature_fusion import FeatureFusion, shapley
from mgmt_monai.inference.model import open_models
from mgmt_monai.inference.predict_study import predict_study
from mgmt_monai.inference.prediction import prediction_from_json

NAMES = ("T1w", "T1wCE", "T2w", "FLAIR")
FUSED = {"transfer_batch_size": 4, "fine_tune_batch_size": 4, "transfer_epochs": 1, "fine_tune_epochs": 1, "seed": 3}

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def run(phantom_dir, tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return train(phantom_dir, tmp_path_factory.mktemp("fused") / "runs", "fusion.json", slice_pool="attention", **FUSED)


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory) -> Path:
    """Without the distances, which few patients set too near. Not to be changed."""
    made = export_run(run, tmp_path_factory.mktemp("models"))
    assert len(list(made.glob("models/reference-*.safetensors"))) == 4
    for path in made.glob("models/reference-*.safetensors"):
        path.unlink()
    return made


@pytest.fixture
def study(phantom_dir, tmp_path) -> Path:
    """A patient's, to be changed."""
    return Path(shutil.copytree(phantom_dir / "train" / "90003", tmp_path / "90003"))


def asked(bundle: Path, study: Path):
    with open_models([bundle]) as models:
        return predict_study(study, models, progress_bar=False).prediction


def test_study_gets_the_answer_that_its_patient_got_in_the_training(run, bundle, phantom_dir):
    table = pd.read_csv(run / "predictions.csv", dtype={"patient_id": str}).query("stage == 'fine_tune'")
    patient, expected = next(iter(zip(table["patient_id"], table["probability"], strict=True)))

    found = asked(bundle, phantom_dir / "train" / patient)

    assert found.probability == pytest.approx(expected, abs=2e-4)  # read, scaled and rounded by the same chain
    assert found.fusion["used"] == list(NAMES) and not found.fusion["missing"]
    assert [one.modality for one in found.series] == list(NAMES)
    assert all(one.evaluation == {} for one in found.series) and "auc" in found.fusion["evaluation"]
    assert prediction_from_json(found.to_json()) == found


@pytest.mark.parametrize("there", [("T2w",), ("T1w", "FLAIR"), ("T1wCE", "T2w", "FLAIR")], ids="+".join)
def test_any_subset_is_answered_and_its_shares_are_those_of_all_orders(there, bundle, study):
    whole = asked(bundle, study)
    for name in set(NAMES) - set(there):
        shutil.rmtree(study / name)
    with open_models([bundle]) as models:
        predicted = predict_study(study, models, progress_bar=False)
        found = predicted.prediction
        fusion = models[0].fusion  # type: ignore[attr-defined]
        features = {one.modality: answer.features for one, answer in zip(found.series, predicted.answers, strict=True)}

        def answer(names: tuple[str, ...]) -> float:
            with torch.no_grad():
                if not names:
                    return float(fusion.head(fusion.head.norm1.running_mean[None]))
                each = [
                    fusion.pooled(features[name], torch.zeros(len(features[name]), dtype=int),
                                  torch.full((len(features[name]),), NAMES.index(name)))[0][0, NAMES.index(name)]
                    * fusion.fusing["scale"][NAMES.index(name)] + fusion.fusing["shift"][NAMES.index(name)]
                    for name in names
                ]  # fmt: skip
                return float(fusion.head(torch.stack(each).mean(dim=0)[None]))

        orders = list(itertools.permutations(there))
        expected = dict.fromkeys(NAMES, 0.0)
        for order in orders:
            for n, name in enumerate(order):
                expected[name] += (answer(order[: n + 1]) - answer(order[:n])) / len(orders)
        logit = answer(there)

    assert found.fusion["used"] == list(there)
    assert found.probability == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-6)
    assert found.fusion["addends"] == pytest.approx(expected, abs=1e-5)
    assert found.probability != whole.probability
    absent = [one for one in found.series if one.modality not in there]
    assert all(one.probability is None and "the study has no" in one.abstained[0] for one in absent)


def test_share_of_a_game_by_hand():
    # Of Shapley's glove game: two have a left glove, one a right one; a pair is worth 1.
    worth = {frozenset(s): float(2 in s and len(s) > 1) for n in range(4) for s in itertools.combinations(range(3), n)}
    assert shapley([0, 1, 2], worth) == pytest.approx({0: 1 / 6, 1: 1 / 6, 2: 4 / 6})


def test_command_tells_what_was_used_and_the_batch_has_a_row(bundle, study, tmp_path, capsys):
    shutil.rmtree(study / "FLAIR")
    words = ["predict", "--bundle", str(bundle), "--out", str(tmp_path / "out")]
    assert main([*words, str(study)]) == 0
    said = capsys.readouterr().out
    assert "FLAIR (mgmt_fusion) abstains: the study has no FLAIR series" in said
    assert "feature fusion: 0." in said and "; without FLAIR (log-odds: T1w " in said and "the model's AUC" in said
    page = (tmp_path / "out/90003/prediction.html").read_text()
    assert "by a feature fusion of T1w, T1wCE, T2w, without FLAIR" in page
    assert "of a made cohort, which says nothing about patients, with all the series" in page
    assert re.search(r"AUC is not known; adds [+-]0\.\d\d to the log-odds</span>", page)

    (tmp_path / "several").mkdir()
    shutil.move(study, tmp_path / "several" / "90003")
    assert main(["predict", "--batch", str(tmp_path / "several"), "--bundle", str(bundle), "--out",
                 str(tmp_path / "batch")]) == 0  # fmt: skip
    rows = pd.read_csv(tmp_path / "batch/predictions.csv")
    single = json.loads((tmp_path / "out/90003/prediction.json").read_text())["probability"]
    assert rows.query("modality == 'fusion'")["probability"].tolist() == pytest.approx([single], abs=1e-6)
    assert rows["modality"].tolist() == [*NAMES, "fusion"]


def test_explain_tells_what_each_series_adds(bundle, study, tmp_path, capsys):
    for name in ("T1wCE", "FLAIR"):
        shutil.rmtree(study / name)
    words = ["explain", str(study), "--bundle", str(bundle), "--out", str(tmp_path / "out"), "--method", "gradcam"]
    assert main(words) == 0
    said = capsys.readouterr().out
    found = asked(bundle, study)
    shutil.rmtree(study / "T1w")
    without = asked(bundle, study).probability
    assert f"T1w adds {found.fusion['addends']['T1w']:+.2f} to the log-odds; without it {without:.3f}" in said
    assert (tmp_path / "out/90003/mgmt_fusion/T1w/explain.html").is_file()
    assert f"together {found.probability:.3f}" in said
    assert not (tmp_path / "out/90003/mgmt_fusion/FLAIR").exists()


def test_others_beside_a_fusion_are_refused(bundle, exported_bundle):
    with (
        pytest.raises(InferenceError, match="expected a fusion's bundle alone"),
        open_models([bundle, exported_bundle]),
    ):
        pass


def test_fusion_answers_nothing_where_all_abstain(bundle):
    with open_models([bundle]) as models:
        from dataclasses import replace

        study = [replace(one, probability=None) for one in _empty(models)]
        found = FeatureFusion(models).of(study, [None] * 4)  # type: ignore[arg-type]
    assert found["probability"] is None and found["missing"] == list(NAMES)
    assert found["addends"] == dict.fromkeys(NAMES, 0.0)


def _empty(models):
    from mgmt_monai.inference.prediction import SeriesPrediction

    return [
        SeriesPrediction(model.modality, "b", "", "0" * 64, 0.5, (), (), (), None, None, (), 0, 0.5) for model in models
    ]


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_forms_that_take_pictures_alone_are_refused(form, run, tmp_path):
    with open_source(run, "", run.parents[1]) as source, pytest.raises(ExchangeError, match="found a fusion"):
        export_bundle(source, tmp_path, **{form: True})
    assert not list(tmp_path.iterdir())


def test_reference_that_the_training_did_not_write_is_refused(run, tmp_path):
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    (copied / "reference-T2w.safetensors").write_bytes(b"other")
    with pytest.raises(ExchangeError, match=r"reference-T2w.safetensors: expected the file that the training wrote"):
        export_run(copied, tmp_path / "models")
