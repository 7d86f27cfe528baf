"""Many studies: what is done is kept, and none stops the others."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_storage import faulty, needs_compiler

from mgmt_monai.cohort.examination import readers
from mgmt_monai.inference import study_batch as batch
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.model import BundleModel, open_models
from mgmt_monai.inference.prediction import prediction_from_json
from mgmt_monai.inference.studies import studies_in
from mgmt_monai.inference.study_batch import COLUMNS, batch_engine, predict_batch
from mgmt_monai.phantom import write_phantom


@pytest.fixture
def studies(phantom_dir: Path, tmp_path: Path) -> Path:
    """Three studies and one that holds nothing."""
    for patient in sorted((phantom_dir / "train").iterdir())[:3]:
        shutil.copytree(patient / "T1w", tmp_path / "studies" / patient.name / "T1w")
    (tmp_path / "studies" / "nothing").mkdir()
    return tmp_path / "studies"


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def states(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/prediction.json")}


def test_every_study_is_written_and_a_bad_one_is_a_row(studies: Path, t1w_model: BundleModel, tmp_path: Path) -> None:
    outcome = predict_batch(studies, [t1w_model], tmp_path / "out")

    good = sorted(path.name for path in studies.iterdir() if path.name != "nothing")
    assert sorted(outcome.predictions) == good
    assert list(outcome.faults) == ["nothing"]
    table = rows(tmp_path / "out")
    assert [row["patient_id"] for row in table] == [*good, "nothing"]
    assert list(table[0]) == list(COLUMNS)
    for row in table[:3]:
        written = prediction_from_json((tmp_path / "out" / row["patient_id"] / "prediction.json").read_text())
        one = written.series[0]
        assert row["probability"] == ("" if one.probability is None else repr(one.probability))
        assert (row["stage"], row["error"], row["bundle"]) == ("fine_tune", "", "mgmt_t1w")
        assert bool(row["abstained"]) == (one.probability is None)
        assert (tmp_path / "out" / row["patient_id"] / "prediction.html").is_file()
    assert table[3]["error"].startswith("expected series of")
    assert str(tmp_path) not in (tmp_path / "out/predictions.csv").read_text()
    assert (table[3]["probability"], table[3]["modality"]) == ("", "T1w")


def test_second_run_passes_over_what_is_done_and_tries_what_failed(
    studies: Path, phantom_dir: Path, t1w_model: BundleModel, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict_batch(studies, [t1w_model], out)
    before = states(out)
    patient = max((phantom_dir / "train").iterdir())
    shutil.copytree(patient / "T1w", studies / "nothing" / "T1w")
    next(iter(out.glob("*/prediction.html"))).unlink()

    outcome = predict_batch(studies, [t1w_model], out)

    after = states(out)
    assert outcome.n_kept == 2
    assert outcome.faults == {}
    assert sum(after[name] == before[name] for name in before) == 2
    assert len(rows(out)) == 4
    assert predict_batch(studies, [t1w_model], out, overwrite=True).n_kept == 0


def test_result_of_another_bundle_is_not_replaced_unless_told(
    studies: Path, t1w_model: BundleModel, flair_model: BundleModel, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict_batch(studies, [t1w_model], out)
    before, table = states(out), (out / "predictions.csv").read_bytes()

    with pytest.raises(InferenceError, match=r"result of other bundles, or of another fusion\..*--overwrite"):
        predict_batch(studies, [t1w_model, flair_model], out)
    assert states(out) == before
    assert (out / "predictions.csv").read_bytes() == table

    outcome = predict_batch(studies, [t1w_model, flair_model], out, overwrite=True)
    assert len(outcome.predictions) == 3
    assert outcome.n_abstained == 3  # none has FLAIR
    assert len(rows(out)) == 8


def test_batch_is_of_one_engine(studies: Path, t1w_model: BundleModel, t1w_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert batch_engine("auto", studies_in(studies, tmp_path), out) == "pytorch"  # few studies
    with open_models([t1w_bundle], engine="onnxruntime") as models:
        predict_batch(studies, models, out)
    before = states(out)

    with pytest.raises(InferenceError, match=r"by the engine onnxruntime, not by pytorch\..*--overwrite"):
        predict_batch(studies, [t1w_model], out)
    assert states(out) == before
    assert batch_engine("auto", studies_in(studies, tmp_path), out) == "onnxruntime"
    assert batch_engine("pytorch", studies_in(studies, tmp_path), out) == "pytorch"
    assert batch_engine("auto", studies_in(studies, tmp_path), out, overwrite=True) == "pytorch"

    table = rows(out)
    predict_batch(studies, [t1w_model], out, overwrite=True)
    for one, again in zip(table, rows(out), strict=True):
        assert again["abstained"] == one["abstained"]
        assert (again["probability"] == "") == (one["probability"] == "")
        assert not one["probability"] or float(again["probability"]) == pytest.approx(
            float(one["probability"]), abs=1e-4
        )


def test_result_that_tells_no_engine_is_pytorchs(studies: Path, t1w_model: BundleModel, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict_batch(studies, [t1w_model], out)
    for path in out.glob("*/prediction.json"):
        document = json.loads(path.read_text())
        del document["software"]["engine"]
        path.write_text(json.dumps(document))

    assert predict_batch(studies, [t1w_model], out).n_kept == 3


def test_error_that_nobody_foresaw_is_a_row_without_its_words(
    studies: Path, t1w_model: BundleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = min(path.name for path in studies.iterdir())
    whole = batch.predict_study

    def fail_on_one(folder, *args, **kwargs):
        if folder.name == good:
            raise KeyError("Doe^Jane")
        return whole(folder, *args, **kwargs)

    monkeypatch.setattr(batch, "predict_study", fail_on_one)
    outcome = predict_batch(studies, [t1w_model], tmp_path / "out")

    assert len(outcome.predictions) == 2
    assert outcome.faults[good] == "unforeseen (KeyError): predict this study alone to see it"


def test_interrupted_batch_leaves_the_table_of_what_is_done(
    studies: Path, t1w_model: BundleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, asked = batch.predict_study, []

    def interrupted(folder, *args, **kwargs):
        asked.append(folder.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(folder, *args, **kwargs)

    monkeypatch.setattr(batch, "predict_study", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_batch(studies, [t1w_model], tmp_path / "out")

    assert [row["patient_id"] for row in rows(tmp_path / "out")] == asked[:1]


def test_killed_batch_goes_on_where_it_was(
    phantom_dir: Path, t1w_bundle: Path, t1w_model: BundleModel, tmp_path: Path
) -> None:
    out, cohort = tmp_path / "out", tmp_path / "cohort"
    (cohort / "train").mkdir(parents=True)
    for patient in sorted((phantom_dir / "train").iterdir())[:6]:
        (cohort / "train" / patient.name).symlink_to(patient)
    words = ["predict", str(cohort), "--bundle", str(t1w_bundle), "--batch", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mgmt_monai.cli.main", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # its workers go with it
    )
    while len(states(out)) < 2 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = states(out)
    assert 2 <= len(before) < 6

    outcome = predict_batch(cohort, [t1w_model], out)

    assert outcome.n_kept == len(before)
    assert {name: state for name, state in states(out).items() if name in before} == before
    assert len(outcome.predictions) == len(rows(out)) == 6
    assert [path.name for path in out.rglob(".*")] == [".lock"]


def test_kaggles_train_folder_is_a_folder_of_studies(phantom_dir: Path, tmp_path: Path) -> None:
    patients = sorted(path.name for path in (phantom_dir / "train").iterdir())
    assert [study.name for study in studies_in(phantom_dir, tmp_path)] == patients


def test_results_among_the_studies_are_no_study(studies: Path) -> None:
    (studies / "out").mkdir()
    for left in (".hidden", "#recycle", "@eaDir", "$RECYCLE.BIN", "Network Recycle Bin 1"):
        (studies / left / "00001/T1w").mkdir(parents=True)
    (studies / "file").touch()

    assert "out" not in {study.name for study in studies_in(studies, studies / "out")}
    assert len(studies_in(studies, studies / "out")) == 4


def test_folder_without_studies_is_refused(studies: Path, tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="no such folder"):
        studies_in(tmp_path / "nowhere", tmp_path)
    with pytest.raises(InferenceError, match="one folder a study"):
        studies_in(studies / "nothing", tmp_path)
    (studies / "predictions.csv").mkdir()
    with pytest.raises(InferenceError, match="cannot be called like"):
        studies_in(studies, tmp_path)


def test_place_that_cannot_be_written_to_is_told_at_once(studies: Path, t1w_model: BundleModel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InferenceError, match="cannot be written to"):
        predict_batch(studies, [t1w_model], tmp_path / "file" / "out")


@needs_compiler
def test_batch_that_met_a_passing_fault_ends_as_an_undisturbed_one(
    studies: Path, t1w_model: BundleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage lost a study for a while: no abstention of it is kept."""
    monkeypatch.setattr(batch, "WAITS_S", (0.01,))
    (studies / "nothing").rmdir()
    lost, flag = sorted(studies.iterdir())[1], tmp_path / "faulty"
    flag.touch()
    readers.end_kept()
    with monkeypatch.context() as patch:
        for name, value in faulty("read", errno.ESTALE, f"{lost.name}/T1w", flag).items():
            patch.setenv(name, value)
        outcome = predict_batch(studies, [t1w_model], tmp_path / "out")
    assert list(outcome.faults) == [lost.name]
    assert outcome.faults[lost.name].startswith("Stale file handle; the machine is at fault, not the file: ")
    assert not (tmp_path / "out" / lost.name).exists()
    flag.unlink()
    assert predict_batch(studies, [t1w_model], tmp_path / "out").n_kept == 2
    readers.end_kept()
    predict_batch(studies, [t1w_model], tmp_path / "undisturbed")
    table = (tmp_path / "undisturbed/predictions.csv").read_bytes()
    assert (tmp_path / "out/predictions.csv").read_bytes() == table


@pytest.mark.parametrize(
    ("number", "waited"),
    [
        (errno.ESTALE, [1.0, 2.0]),
        (errno.EIO, [1.0, 2.0]),
        (errno.ENOTCONN, [1.0, 2.0]),
        (errno.EACCES, []),
        (errno.ENOENT, []),
    ],
)
def test_storage_that_comes_back_is_waited_for(studies, t1w_model, tmp_path, monkeypatch, caplog, number, waited):
    whole, waits, names = batch.predict_study, [], sorted(path.name for path in studies.iterdir())
    is_back = len(waited)

    def lost_twice(folder, *args, **kwargs):
        if folder.name == names[0] and len(waits) < 2:
            raise OSError(number, os.strerror(number), str(folder))
        return whole(folder, *args, **kwargs)

    monkeypatch.setattr(batch, "predict_study", lost_twice)
    monkeypatch.setattr(batch.time, "sleep", waits.append)
    outcome = predict_batch(studies, [t1w_model], tmp_path / "out")
    assert waits == waited
    assert set(outcome.faults) == {"nothing"} | (set() if is_back else {names[0]})
    assert sum("Trying again in" in line for line in caplog.messages) == len(waited)


def test_storage_that_stays_away_is_waited_for_once(studies, t1w_model, tmp_path, monkeypatch):
    def lost(folder, *args, **kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))

    waits = []
    monkeypatch.setattr(batch, "predict_study", lost)
    monkeypatch.setattr(batch.time, "sleep", waits.append)
    assert len(predict_batch(studies, [t1w_model], tmp_path / "out").faults) == 4
    assert waits == [1.0, 2.0, 4.0]


def other_patients(studies: Path, phantom_dir: Path) -> None:
    """Others under the same names, of as many bytes."""
    others = sorted((phantom_dir / "train").iterdir())[3:]
    for study, other in zip(sorted(studies.iterdir()), others, strict=False):
        shutil.rmtree(study)
        shutil.copytree(other / "T1w", study / "T1w")


def one_file_less(studies: Path, phantom_dir: Path) -> None:
    max(min(studies.iterdir()).glob("T1w/*")).unlink()


def other_names(studies: Path, phantom_dir: Path) -> None:
    for study in sorted(studies.iterdir()):
        study.rename(study.with_name(f"other-{study.name}"))


def one_study_less(studies: Path, phantom_dir: Path) -> None:
    shutil.rmtree(min(studies.iterdir()))


@pytest.mark.parametrize("as_cohort", [False, True])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_patients, "a result of other images, .*so in "),
        (one_file_less, "a result of other images, .*so in "),
        (other_names, "4 of its studies are not among those asked for"),
        (one_study_less, "1 of its studies are not among those asked for"),
    ],
)
def test_results_are_those_of_the_images_asked_for(studies, phantom_dir, t1w_model, tmp_path, change, said, as_cohort):
    root = studies
    if as_cohort:
        root = studies.rename(tmp_path / "train").parent / "cohort"
        root.mkdir()
        studies = (tmp_path / "train").rename(root / "train")
    out = tmp_path / "out"
    predict_batch(root, [t1w_model], out)
    before, table = states(out), (out / "predictions.csv").read_bytes()
    moved = root.rename(tmp_path / "moved")
    assert predict_batch(moved, [t1w_model], out).n_kept == 3
    root = moved.rename(root)
    change(studies, phantom_dir)

    with pytest.raises(InferenceError, match=said):
        predict_batch(root, [t1w_model], out)

    assert (states(out), (out / "predictions.csv").read_bytes()) == (before, table)
    predict_batch(root, [t1w_model], out, overwrite=True)
    predict_batch(root, [t1w_model], tmp_path / "anew")
    assert rows(out) == rows(tmp_path / "anew")


def test_table_of_something_else_is_not_replaced(studies: Path, t1w_model: BundleModel, tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("patient_id,modality,stage,split\n1,T1w,plain,test\n")
    with pytest.raises(InferenceError, match="expected the table of a batch, found another file"):
        predict_batch(studies, [t1w_model], tmp_path)


@pytest.mark.slow
@needs_compiler
def test_batch_of_200_with_a_fault_in_its_middle_waits_and_ends_as_an_undisturbed_one(
    t1w_bundle: Path, tmp_path: Path
) -> None:
    """All of the storage is lost for a while, and comes back while the batch goes on."""
    cohort = write_phantom(tmp_path / "cohort", n_patients=200, effect=3.0, seed=7)
    words = ["predict", str(cohort), "--bundle", str(t1w_bundle), "--batch", "--engine", "pytorch", "--out"]

    def started(out: Path, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "mgmt_monai.cli.main", *words, str(out)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stderr=subprocess.DEVNULL,
        )

    flag, out = tmp_path / "faulty", tmp_path / "out"
    process = started(out, **faulty("read", errno.ESTALE, "/T1w/", flag))
    while len(states(out)) < 80 and process.poll() is None:
        time.sleep(0.02)
    flag.touch()
    time.sleep(0.2)  # a study fails within 20 ms
    flag.unlink()
    assert process.wait() == 0
    assert started(tmp_path / "undisturbed").wait() == 0
    answers = rows(out)
    assert len(answers) == 200
    assert sum(row["probability"] != "" for row in answers) > 50  # the others are told unlike 12 training patients
    assert answers == rows(tmp_path / "undisturbed")
