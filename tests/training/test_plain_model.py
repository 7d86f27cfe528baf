"""The plain model of a real training, against scikit-learn called by hand on features of a plain loop."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from phantom_runs import train, workflow
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from mgmt_monai.evaluation.models import evaluate
from mgmt_monai.networks import MGMTClassifier, load_backbone_weights
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.plain_model import fit_logistic


def by_hand(features: np.ndarray, labels: np.ndarray, others: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities of others: the penalty with the lowest mean log-loss over the folds, the strongest among equals."""

    def probabilities(strength, train, of):
        spread = features[train].std(axis=0)
        centre, spread = features[train].mean(axis=0), np.where(spread > 0, spread, 1)
        model = LogisticRegression(C=strength, max_iter=1000).fit((features[train] - centre) / spread, labels[train])
        return model.predict_proba((of - centre) / spread)[:, 1]

    n_folds = min(5, np.bincount(labels).min())
    folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(features, labels))
    losses = {
        strength: np.mean([log_loss(labels[out], probabilities(strength, fit, features[out])) for fit, out in folds])
        for strength in (1e-6, 1e-5, 1e-4, 1e-3, 10**-2.5, 1e-2)
    }
    return probabilities(min(losses, key=losses.get), np.arange(len(labels)), others)


@pytest.mark.parametrize("n", [12, 60])
def test_logistic_regression_is_scikit_learns_with_the_penalty_of_the_folds(n):
    rng = np.random.default_rng(n)
    labels = np.arange(n) % 2
    features = rng.normal(3, 2, (n, 40)) + labels[:, None] * np.linspace(0, 2, 40)
    features[:, 7] = 5.0  # a constant one
    others = rng.normal(3, 2, (9, 40))
    others[:, 7] = 5.0
    found = fit_logistic(features, labels, seed=4).predict_proba(others)[:, 1]
    np.testing.assert_allclose(found, by_hand(features, labels, others, seed=4), atol=1e-6)
    assert found.std() > 0.01


def test_rounding_of_blank_images_is_no_signal():
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 2
    features = np.full((20, 30), 0.7) + labels[:, None] * 1e-7  # the number of slices, which goes with the label
    model = fit_logistic(features, labels, seed=0)
    np.testing.assert_allclose(model.predict_proba(features)[:, 1], 0.5, atol=1e-6)
    features[:, 3] += rng.normal(0, 0.1, 20) + labels
    assert np.ptp(fit_logistic(features, labels, seed=0).predict_proba(features)[:, 1]) > 0.02


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1], [0, 0, 0, 1]], ids=["no 1", "no 0", "one of a class"])
def test_class_that_is_missing_is_told(labels):
    found = f"found {labels.count(0)} unmethylated and {labels.count(1)} methylated"
    with pytest.raises(TrainingError, match=found):
        fit_logistic(np.eye(len(labels)), np.array(labels), seed=0)


@pytest.mark.xdist_group("training")
class TestOfATraining:
    @pytest.fixture(scope="class")
    def parser(self, phantom_dir, tmp_path_factory):
        return workflow(phantom_dir, tmp_path_factory.mktemp("again"), seed=3).parser

    @pytest.fixture(scope="class")
    def told(self, finished_run):
        table = pd.read_csv(finished_run / "predictions.csv", dtype={"patient_id": str})
        return table[table["stage"] == "plain"].set_index("patient_id")

    def test_probabilities_are_those_of_mean_features_from_a_plain_loop(self, parser, told):
        network = MGMTClassifier().eval()
        load_backbone_weights(network, "imagenet")
        chain, cohort = (parser.get_parsed_content(name) for name in ("validate::preprocessing", "cohort"))
        each, labels = {}, {}
        for split in ("train", "validation", "test"):
            for item in cohort.items(split):
                with torch.no_grad():
                    slices = [network.features(one[None, None]) for one in chain(item)["image"].as_tensor().float()]
                each[split, item["patient_id"]] = torch.cat(slices).double().numpy()
                labels[split, item["patient_id"]] = item["label"]
        train = [key for key in each if key[0] == "train"]
        others = [key for key in each if key[0] != "train"]
        x, y = np.array([each[key].mean(axis=0) for key in train]), np.array([labels[key] for key in train])
        found = told.loc[[patient for _, patient in others]]
        expected = [by_hand(x, y, each[key], seed=3).mean() for key in others]
        np.testing.assert_allclose(found["probability"], expected, atol=1e-4)
        assert found["split"].tolist() == [split for split, _ in others]
        assert found["label"].tolist() == [labels[key] for key in others]

    def test_every_record_has_its_auc(self, finished_run, told):
        test = told[told["split"] == "test"]
        auc = roc_auc_score(test["label"], test["probability"])
        metrics = json.loads((finished_run / "metrics.json").read_text())
        assert set(metrics) == {"transfer", "fine_tune", "plain"}
        assert metrics["plain"]["test"]["patient"]["auc"]["value"] == pytest.approx(auc)
        line = (finished_run / "classification_report.txt").read_text().splitlines()[-1]
        # two patients of each label are too few for an interval
        assert line == f"a plain model on the same features: AUC {auc:.2f} (interval undefined, 4 patients)"
        assert evaluate(finished_run / "predictions.csv", threshold=0.5)["T1w plain"]["auc"]["value"] == pytest.approx(
            auc
        )
        client = MlflowClient(f"sqlite:///{finished_run.parents[1] / 'mlruns.db'}")
        run = client.get_run(json.loads((finished_run / "run.json").read_text())["mlflow_run_id"])
        assert run.data.metrics["test_AUC_plain"] == pytest.approx(auc)

    def test_frozen_features_are_stored_beside_the_slices_once(self, finished_run):
        (folder,) = (finished_run.parents[1] / "slices").glob("features-T1w-*")
        index = json.loads((folder / "index.json").read_text())
        (slices,) = (finished_run.parents[1] / "slices").glob("T1w-*")
        assert index["shape"] == [1, 1280] and index["dtype"] == "float32"
        assert index["series"] == json.loads((slices / "index.json").read_text())["series"]

    @pytest.mark.parametrize("found", ["none", "another's", "given"])
    def test_resumed_training_scores_the_plain_model_that_it_wrote(
        self, found, finished_run, phantom_dir, tmp_path, caplog
    ):
        shutil.copytree(finished_run.parents[1], tmp_path / "runs")
        run = tmp_path / "runs" / "t1w" / finished_run.name
        state = json.loads((run / "run.json").read_text())
        state |= {"status": "killed"} | ({"weights": "given"} if found == "given" else {})
        (run / "run.json").write_text(json.dumps(state))
        (run / "plain/best.pt").unlink()
        (run / "epochs.csv").unlink()
        if found == "another's":
            shutil.copy(run / "transfer/best.pt", run / "plain/best.pt")
        if found == "given":
            with pytest.raises(RuntimeError) as error:
                train(phantom_dir, tmp_path / "runs", seed=3, resume=True)
            assert "fitted with weights from elsewhere. Put it back" in str(error.value.__cause__)
            return
        train(phantom_dir, tmp_path / "runs", seed=3, resume=True)
        assert "the plain model is fitted again" in caplog.text
        for name in ("predictions.csv", "metrics.json", "epochs.csv"):
            assert (run / name).read_text() == (finished_run / name).read_text()

    @pytest.mark.parametrize("fault", ["one class", "no room", "one unit"])
    def test_training_is_not_lost_where_there_is_no_plain_model(self, fault, phantom_dir, tmp_path, caplog):
        parser = workflow(phantom_dir, tmp_path, seed=3, hidden_units=1 if fault == "one unit" else 32).parser
        plain = parser.get_parsed_content("plain_model")
        before = {name: tensor.clone() for name, tensor in plain.network.state_dict().items()}
        if fault == "one class":
            plain.slices.data = [{**item, "label": 1} for item in plain.slices.data]
        elif fault == "no room":
            store = parser.get_parsed_content("store")
            store.folder = tmp_path / "t1w" / "again" / "file"
            store.folder.parent.mkdir(parents=True)
            store.folder.write_text("")
        assert plain.run(tmp_path / "plain" / "best.pt") is False
        said = {"one class": "0 unmethylated and 8 methylated", "no room": "--slice_store DIR", "one unit": "found 1"}
        assert f"no plain model on the same features: {'expected' if fault == 'one class' else ''}" in caplog.text
        assert said[fault] in caplog.text
        assert not (tmp_path / "plain").exists()
        assert all(torch.equal(tensor, before[name]) for name, tensor in plain.network.state_dict().items())
