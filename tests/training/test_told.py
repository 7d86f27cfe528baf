"""What a training says: as it goes, at its end, on its page and in MLflow."""

import json
import logging
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from mgmt_monai.cohort.manifest import read_manifest
from mgmt_monai.cohort.modality import Fold, ModalityCohort
from mgmt_monai.cohort.splits.plans import KFold
from mgmt_monai.evaluation.predictions import read_patients
from mgmt_monai.evaluation.verdict import judge
from mgmt_monai.training.outcome import Outcome, outcome_of, small_test
from mgmt_monai.training.run_log import run_log

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def told(finished_run):
    return (finished_run / "training.log").read_text()


def test_log_has_a_line_an_epoch_with_its_figures(finished_run, told):
    epochs = pd.read_csv(finished_run / "epochs.csv").pivot_table("value", ["stage", "epoch"], ["split", "metric"])
    for (stage, epoch), row in epochs.iterrows():
        own = epoch if stage == "transfer" else epoch - 2  # two epochs each, on one axis
        rest = "" if own == 2 else r", at most \d+ s left"
        assert re.search(
            rf"{stage}, epoch {own} of 2: loss {row['train', 'loss']:.4f}, validation loss "
            rf"{row['validation', 'loss']:.4f}, AUC by patient {row['validation', 'patient_auc']:.2f} "
            rf"\(4 patients\), rate {row['train', 'learning_rate']:.3g}{rest}$",
            told,
            re.MULTILINE,
        ), (stage, epoch)


def test_last_lines_name_result_origin_and_what_to_do_next(finished_run, told):
    auc = json.loads((finished_run / "metrics.json").read_text())["fine_tune"]["test"]["patient"]["auc"]
    last = told[told.rindex("T1w, test patients, after fine_tune") :]
    assert f"AUC {auc['value']:.2f} (" in last and "4 patients)" in last
    for words in (
        "A made cohort (mgmt-monai phantom), 16 patients",
        "The figures are of a made cohort",
        "Too small a test: 4 test patients.",
        "Called methylated from 0.5 on",
        f"mgmt-monai evaluate {finished_run / 'predictions.csv'}",
        f"mgmt-monai bundle export {finished_run} --out",
        f"mgmt-monai ui --output-dir {finished_run.parents[1]}",
        f"{finished_run / 'training.html'}",
    ):
        assert words in last, words


def test_log_names_no_patient(finished_run, told):
    patients = pd.read_csv(finished_run / "predictions.csv", dtype=str)["patient_id"]
    assert not [patient for patient in patients.unique() if re.search(rf"\b{patient}\b", told)]


def test_page_shows_result_warnings_patients_settings_and_pictures(finished_run):
    pictures, words = [], []

    class Read(HTMLParser):
        def handle_starttag(self, tag, attrs):
            pictures.extend(dict(attrs)["src"] for _ in range(tag == "img"))

        def handle_data(self, data):
            words.append(data)

    page = (finished_run / "training.html").read_text()
    Read().feed(page)
    text = " ".join(" ".join(words).split())
    auc = json.loads((finished_run / "metrics.json").read_text())["fine_tune"]["test"]["patient"]["auc"]
    assert f"{auc['value']:.2f} AUC of T1w on 4 test patients" in text
    assert text.index("Cannot tell") < text.index("Figures")
    assert "The figures are of a made cohort" in text and "train 8 4 validation 4 2 test 4 2" in text
    assert "image_size 48 300" in text and "hidden_units" not in text
    assert len(pictures) == 3 and all(uri.startswith("data:image/png;base64,") for uri in pictures)
    assert str(finished_run.parent) not in page


def test_mlflow_gets_a_description_and_a_handful_of_figures(finished_run):
    state = json.loads((finished_run / "run.json").read_text())
    run = MlflowClient(f"sqlite:///{finished_run.parents[1] / 'mlruns.db'}").get_run(state["mlflow_run_id"])
    auc = json.loads((finished_run / "metrics.json").read_text())["fine_tune"]["test"]["patient"]["auc"]
    described = run.data.tags["mlflow.note.content"]
    assert described.startswith("**T1w, test patients, after fine_tune: AUC")
    assert "| train | 8 | 4 |" in described and "made cohort" in described and "made cohort" in run.data.tags["cohort"]
    of_the_end = {name: value for name, value in run.data.metrics.items() if "/" not in name}
    assert of_the_end.pop("test_AUC_plain") is not None
    ends = {f"test_AUC_{end}": auc[end] for end in ("low", "high") if auc[end] is not None}
    assert of_the_end == pytest.approx({"test_AUC": auc["value"], **ends, "test_patients": 4, "learnt": 0})


def test_small_test_is_told_with_its_power_and_of_a_fold_without_the_folds(phantom_dir, finished_run):
    manifest = read_manifest(phantom_dir / "manifest.json")
    whole = small_test(ModalityCohort(manifest, "T1w", phantom_dir))
    assert "Of 100 tests of this size" in whole and "compare --folds 5" in whole
    folded = KFold(n_folds=3, n_repeats=1, n_inner_folds=0, seed=0).apply(manifest, [])
    assert "Folds test" not in small_test(ModalityCohort(folded, "T1w", phantom_dir, Fold(0, 0)))


def test_log_gets_all_and_the_console_what_it_got_before(tmp_path, caplog):
    package, below = logging.getLogger("mgmt_monai"), logging.getLogger("mgmt_monai.training.stage")
    before = package.level, package.propagate, package.handlers[:]
    with run_log(tmp_path):
        below.info("an epoch")
        below.warning("a fault")
    below.warning("after")
    assert [record.getMessage() for record in caplog.records] == ["a fault", "after"]
    lines = (tmp_path / "training.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO an epoch", "WARNING a fault"]
    assert (package.level, package.propagate, package.handlers) == before


@pytest.mark.parametrize(
    ("control", "segmentations", "said"),
    [("none", {}, True), ("blank", {}, False), ("none", {"90000": Path("90000_seg.nii.gz")}, False)],
)
def test_no_export_is_proposed_that_is_refused(control, segmentations, said, phantom_dir, finished_run):
    cohort = ModalityCohort(read_manifest(phantom_dir / "manifest.json"), "T1w", phantom_dir)
    cohort.segmentations = segmentations
    metrics = json.loads((finished_run / "metrics.json").read_text())
    patients = read_patients(finished_run / "predictions.csv")
    block = outcome_of(metrics, patients, "fine_tune", cohort, control).block(finished_run)
    assert ("bundle export" in block) is said


def test_next_commands_can_be_pasted_where_a_folder_has_a_space(tmp_path):
    test = {"threshold": 0.5, "level": 0.95, "patient": {"auc": {"value": 1.0, "low": None, "high": None, "n": 2}}}
    verdict = judge([0, 1], [0.1, 0.9], {})
    outcome = Outcome("T1w", "plain", {"plain": {"test": test}}, verdict, {"text": ""}, {}, None, ())
    runs = tmp_path / "my runs"

    block = outcome.block(runs / "t1w" / "it's one")

    commands = [line.partition(": ")[2] for line in block.splitlines() if line.startswith("  ")]
    assert [shlex.split(words) for words in commands if words.lstrip().startswith("mgmt-monai")] == [
        ["mgmt-monai", "evaluate", f"{runs}/t1w/it's one/predictions.csv"],
        ["mgmt-monai", "bundle", "export", f"{runs}/t1w/it's one", "--out", "models"],
        ["mgmt-monai", "ui", "--output-dir", f"{runs}"],
    ]
