"""Names planted in the text fields of headers, in folders and files: where they come out again, and where never."""

import json
import shutil
import sqlite3
import zlib
from pathlib import Path

import pydicom
import pytest
from phantom_runs import SMALL, train, with_store
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from small_comparison import comparison_words

from mgmt_monai.cli.main import main
from mgmt_monai.phantom import write_phantom

pytestmark = pytest.mark.xdist_group("training")

#: In headers, in Latin and Japanese letters: nowhere.
HEADER = ("Zebrafink", "田中花子")
#: In the names of folders and files: on the console, and in what belongs to the cohort's folder.
PATH = ("Rotkehlchen", "鈴木")

TEXT_VR = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT")
#: Tags of the contrast agent say which sequence it is; the others are read as something else than text.
LEFT = ("ContrastBolus", "SpecificCharacterSet", "StudyID")


def planted_text(patient: str) -> Dataset:
    """Every text field of the groups of patient, study, series, equipment and acquisition, with a name in it."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for tag, (vr, vm, *_, retired, keyword) in DicomDictionary.items():
        is_text = vr in TEXT_VR and vm in ("1", "1-n") and not retired and 0x0008 <= tag >> 16 <= 0x0040
        if is_text and keyword and not keyword.startswith(LEFT):
            dataset.add_new(tag, vr, f"{HEADER[0]}{'' if vr == 'AE' else HEADER[1]}{patient}"[:16])
    dataset.BodyPartExamined = HEADER[0].upper()
    dataset.private_block(0x0029, HEADER[0], create=True).add_new(1, "LO", HEADER[1])
    return dataset


@pytest.fixture(scope="module")
def planted(phantom_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom's T1w with names in every text field, in files' names and in the name of a folder above."""
    cohort = tmp_path_factory.mktemp("planted") / " ".join(PATH) / "cohort"
    for patient in sorted((phantom_dir / "train").iterdir()):
        (cohort / "train" / patient.name / "T1w").mkdir(parents=True)
        text = planted_text(patient.name)
        assert len(text) > 150
        for path in sorted((patient / "T1w").iterdir()):
            dataset = pydicom.dcmread(path)
            dataset.update(text)
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", HEADER[0].upper()]
            dataset.save_as(cohort / "train" / patient.name / "T1w" / f"{PATH[0]} {PATH[1]} {path.name}")
    shutil.copy(phantom_dir / "train_labels.csv", cohort)
    return cohort


@pytest.fixture(scope="module")
def named(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with names in the patients' own folders, and so in their identifiers."""
    cohort = tmp_path_factory.mktemp("named") / " ".join(PATH) / "cohort"
    for patient in sorted((planted / "train").iterdir()):
        shutil.copytree(patient, cohort / "train" / f"{PATH[0]} {PATH[1]} {patient.name}")
    rows = (planted / "train_labels.csv").read_text().splitlines()
    (cohort / "train_labels.csv").write_text("\n".join([rows[0], *(f"{' '.join(PATH)} {row}" for row in rows[1:])]))
    return cohort


def holding(folder: Path, words: tuple[str, ...]) -> set[str]:
    """Files below a folder, not DICOM, with one of the words in any spelling that we write, and their names."""
    spelt = [form for word in words for form in (word.lower(), json.dumps(word).strip('"'), ascii(word).strip("'"))]
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        content = b""
        if path.is_file() and path.suffix != ".dcm":
            content = path.read_bytes().lower()
            if path.name == ".mgmt-monai-scan.sqlite":
                with sqlite3.connect(path) as connection:
                    content += b"".join(
                        zlib.decompress(body) for (body,) in connection.execute("select body from exam")
                    )
        if any(form.encode() in content.lower() or form in name.lower() for form in spelt):
            found.add(name)
    return found


def said(dataset: Dataset) -> str:
    """What an object says beside whose it is, which an archive needs."""
    return str(dataset.ContentSequence)


def ask(words: list[object], capfd: pytest.CaptureFixture[str], code: int = 0) -> None:
    """Run a command; no name of a header is on the console."""
    assert main([str(word) for word in words]) == code, capfd.readouterr().err[-2000:]
    told = "".join(capfd.readouterr())
    assert not [word for word in HEADER if word.lower() in told.lower()], told


def without_paths(folder: Path) -> None:
    """Nothing of a name in what is not the cohort's own."""
    assert holding(folder, HEADER) == set()
    assert holding(folder, PATH) == set()


def test_names_in_the_cohort(planted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert holding(planted, PATH) > set()
    ask(["doctor", planted, "--out", tmp_path / "doctor", "--workers", 1], capfd)
    out = tmp_path / "manifest.json"
    ask(["manifest", "build", planted, "--out", out, "--workers", 1, "--test-fraction", 0.25], capfd)
    ask(["manifest", "check", out, "--data-dir", planted, "--workers", 1], capfd)
    ask(["manifest", "show", out], capfd)
    assert holding(tmp_path, HEADER) == set()
    assert {name for name in holding(planted, HEADER) if not name.endswith(".dcm")} == set()
    report = json.loads((tmp_path / "doctor/report.json").read_text())
    shown = {value for series in report["series"] for value in series["tags"].values()}
    assert any(value.startswith("text ") for value in shown)


def ask_a_model(bundle: Path, planted: Path, out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Predict, explain, evaluate."""
    study = min((planted / "train").iterdir())
    ask(
        ["predict", study, "--bundle", bundle, "--out", out / "one", "--dicom-sr", "--series", f"T1w={study / 'T1w'}"],
        capfd,
    )
    (report,) = (out / "one").rglob("report.dcm")
    assert not [word for word in (*HEADER, *PATH) if word.lower() in said(pydicom.dcmread(report)).lower()]
    ask(["explain", study, "--bundle", bundle, "--out", out / "explained", "--method", "gradcam"], capfd)
    ask(["predict", planted, "--batch", "--bundle", bundle, "--out", out / "many"], capfd)
    without_paths(out)


def test_names_in_a_study(
    exported_bundle: Path, planted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / " ".join(PATH) / "few"
    for patient in sorted((planted / "train").iterdir())[:2]:
        shutil.copytree(patient, few / "train" / patient.name)
    shutil.copy(planted / "train_labels.csv", few)
    ask_a_model(exported_bundle, few, tmp_path / "out", capfd)


def elsewhere(out: Path, table: str = "predictions.csv") -> set[str]:
    """Of what holds a name of a path: what is neither in a folder of that name nor the table."""
    named = {name for name in holding(out, PATH) if not any(word in part for word in PATH for part in Path(name).parts)}
    return named - {table}


def test_patients_named_in_their_own_folders_and_tables_alone(
    exported_bundle: Path, named: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "cohort"
    patients = sorted((named / "train").iterdir())[:3]
    for patient in patients:
        shutil.copytree(patient, few / "train" / patient.name)
    unreadable = min((few / "train" / patients[2].name / "T1w").iterdir())
    unreadable.write_bytes(b"no image")
    shutil.copy(named / "train_labels.csv", few)
    of = ["--bundle", exported_bundle, "--out"]
    ask(["predict", few / "train" / patients[0].name, *of, tmp_path / "one"], capfd)
    ask(["predict", few, "--batch", *of, tmp_path / "many"], capfd)
    ask(["explain", few / "train" / patients[0].name, *of, tmp_path / "explained", "--method", "gradcam"], capfd)
    for folder in ("one", "many", "explained"):
        assert holding(tmp_path / folder, PATH) > set()
        assert elsewhere(tmp_path / folder) == set()
        assert holding(tmp_path / folder, HEADER) == set()
    assert str(tmp_path) not in (tmp_path / "many/predictions.csv").read_text()


@pytest.mark.slow
def test_names_in_a_training_and_what_comes_of_it(
    named: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = train(named, with_store(tmp_path / "runs"), seed=3)
    told = "".join(capfd.readouterr())
    assert not [word for word in HEADER if word.lower() in told.lower()]
    ask(["evaluate", run / "predictions.csv", "--out", tmp_path / "out/evaluation"], capfd)
    ask(["bundle", "export", run, "--out", tmp_path / "out"], capfd)
    without_paths(tmp_path / "out")
    assert holding(tmp_path / "runs", HEADER) == set()
    # What a training is resumed with, and its own tables, which are joined with others by patient: nothing is shared.
    found = {Path(name) for name in holding(tmp_path / "runs", PATH)}
    assert {path.name for path in found} - {"run.json"} == {"config.json", "predictions.csv", "slice_predictions.csv"}
    assert {path.parent.name for path in found} == {run.name}


@pytest.mark.slow
def test_names_in_a_comparison(named: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (named.parent / "excluded.csv").write_text("patient_id,reason\n")
    ask(comparison_words(named, tmp_path / "runs", "c"), capfd)
    assert holding(tmp_path, HEADER) == set()
    found = {Path(name) for name in holding(tmp_path, PATH)}
    own = {"run.json", "config.json", "predictions.csv", "slice_predictions.csv", "comparison.json", "manifest.json"}
    assert {path.name for path in found} - own == set()
    assert "comparison.json" in {path.name for path in found}


@pytest.mark.slow
def test_names_in_what_is_prepared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    raw = write_phantom(tmp_path / "raw", 2, 1.0, 5, workers=1, moves=12.0)
    patient, other = sorted((raw / "train").iterdir())
    shutil.rmtree(other)
    for path in [*(patient / "T1wCE").iterdir(), *(patient / "FLAIR").iterdir()]:
        dataset = pydicom.dcmread(path)
        dataset.update(planted_text(patient.name))
        dataset.save_as(path.with_name(f"{PATH[0]} {PATH[1]} {path.name}"))
        path.unlink()
    for modality in ("T1w", "T2w"):
        shutil.rmtree(patient / modality)
    patient.rename(raw / "train" / " ".join(PATH))
    for words, out in ((["--batch"], "many"), ([], "one")):
        ask(["prepare", raw if words else raw / "train" / " ".join(PATH), *words, "--out", tmp_path / out,
             "--spacing", 3, "--workers", 1], capfd)  # fmt: skip
        assert holding(tmp_path / out, HEADER) == set()
        assert {path.name for path in (tmp_path / out).rglob("*.nii.gz")}
        assert elsewhere(tmp_path / out) <= {"report.html", "review.csv"}


@pytest.mark.slow
def test_names_in_a_fusion(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_phantom(tmp_path / "data", 16, 1.0, 3, effects={"T1w": 1.0, "FLAIR": 1.0})
    for patient in sorted((data / "train").iterdir()):
        patient.rename(data / "train" / f"{PATH[0]} {PATH[1]} {patient.name}")
    rows = (data / "train_labels.csv").read_text().splitlines()
    (data / "train_labels.csv").write_text("\n".join([rows[0], *(f"{' '.join(PATH)} {row}" for row in rows[1:])]))
    settings = {**SMALL, "dataset_dir": data, "output_dir": with_store(tmp_path / "runs"), "run_name": "a",
                "backbone": "resnet-10", "weights": "none", "train_fraction": 0.5}  # fmt: skip
    runs = [tmp_path / "runs" / modality / "a" for modality in ("t1w", "flair")]
    for run in runs:
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        ask(["train", run.parent.name, *words], capfd)
    ask(["fuse", *runs, "--out", tmp_path / "fused"], capfd)
    assert holding(tmp_path / "fused", PATH) <= {"predictions.csv", "best_single.csv", "presence.csv"}
