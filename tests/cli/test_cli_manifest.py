import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from made_cohorts import write_cohort, write_labels, write_patient
from made_records import made_manifest, made_patient, made_series
from textures import texture

from mgmt_monai.cli.main import main
from mgmt_monai.cli.manifest import build
from mgmt_monai.cohort.manifest import read_manifest, write_manifest

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture
def cohort(tmp_path, make_dicom):
    """Ten patients, the odd ones methylated, one slice each; 00109 is on the default exclusion list."""
    data_dir = tmp_path / "my data"
    patients = [f"{number:05d}" for number in (*range(1, 10), 109)]
    for patient_id in patients:
        directory = data_dir / "train" / patient_id / "T1w"
        directory.mkdir(parents=True)
        make_dicom(directory / "Image-1.dcm", texture(patient_id, (8, 12)))
    rows = "".join(f"{patient_id},{int(patient_id) % 2}\n" for patient_id in [*patients, "00999"])
    (data_dir / "train_labels.csv").write_text("BraTS21ID,MGMT_value\n" + rows)
    return data_dir


ENOUGH = ["--test-fraction", "0.3", "--train-fraction", "0.6"]


def test_another_manifest_is_replaced_only_where_that_is_said(cohort, capsys):
    path = cohort / "manifest.json"
    words = ["manifest", "build", str(cohort), *ENOUGH]
    assert main(words) == 0
    assert main(words) == 0  # the same again
    assert main(["manifest", "split", str(path), "--folds", "3"]) == 0  # nothing is lost
    with_folds = path.read_bytes()
    capsys.readouterr()

    for others, lost in (
        (words, "another with folds (3), which would be lost"),
        ([*words, "--seed", "1"], "of 9 patients in another split or with another label and folds (3)"),
        (["manifest", "split", str(path), "--folds", "3", "--seed", "1"], "another with folds (3)"),
        (["manifest", "split", str(path), *ENOUGH, "--seed", "1"], "patients in another split"),
    ):
        assert main(others) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
        assert line.startswith(f"Error: {path}: expected nothing there, or the same, found another with ")
        assert lost in line and line.endswith("Name another place with --out, or say --overwrite.")
        assert path.read_bytes() == with_folds

    path.write_text("no manifest")  # whatever it is
    assert main(words) == 1
    assert main([*words, "--overwrite"]) == 0
    assert read_manifest(path).folds == {}


def test_build_reports_what_it_did(cohort, capsys):
    assert main(["manifest", "build", str(cohort), *ENOUGH]) == 0
    lines = capsys.readouterr().out.splitlines()
    manifest = read_manifest(cohort / "manifest.json")
    assert lines[0].startswith("excluded: patient 00109: named as faulty")
    assert lines[1] == "left out: patient 00999: in the label file, but without images"
    warnings = [line for line in lines if line.startswith("warning: ")]
    few = [line for line in warnings if "few slices (D015)" in line]
    assert len(few) == 1  # of nine: one stands for all
    assert "  ... few slices (D015): 9 in all; 'mgmt-monai doctor' shows each" in lines
    assert few[0].startswith(f"warning: patient 00001, T1w: {cohort / 'train/00001/T1w'}: expected at least 8 slices")
    lines = [line for line in lines if line not in warnings and not line.startswith("  ... ")]
    # 9 patients: 3 for the test; of the other 6, 3 (0.6 of 6, rounded down) for training and 3 for validation
    assert [line.split(",")[0] for line in lines[2:5]] == [
        "train: 3 patients",
        "validation: 3 patients",
        "test: 3 patients",
    ]
    assert lines[5] == f"{cohort / 'manifest.json'}: 9 patients, hash {manifest.content_hash[:12]}"


def test_build_takes_its_options(cohort, tmp_path, capsys):
    labels = (cohort / "train_labels.csv").rename(tmp_path / "labels.csv")
    out = tmp_path / "m.json"
    words = ["--labels", str(labels), "--out", str(out), "--seed", "7", "--exclude", "none", "--workers", "1"]
    assert main(["manifest", "build", str(cohort), *ENOUGH, *words]) == 0
    manifest = read_manifest(out)
    assert manifest.split == {"method": "holdout", "test_fraction": 0.3, "train_fraction": 0.6, "seed": 7}
    assert (len(manifest.patients), manifest.excluded) == (10, {})
    assert not (cohort / "manifest.json").exists()


def test_build_tells_every_fault_and_leaves_the_old_manifest(cohort, capsys):
    (cohort / "manifest.json").write_text("old")
    for patient_id in ("00002", "00003", "00004", "00005", "00006"):
        (cohort / "train" / patient_id / "T1w/Image-1.dcm").write_bytes(b"no image")
    assert main(["manifest", "build", str(cohort), *ENOUGH]) == 1
    out, err = capsys.readouterr()
    faults = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert [line.split(",")[0] for line in faults] == [f"Error: patient 0000{i}" for i in (2, 3, 4, 5, 6)]
    assert out == ""
    assert (cohort / "manifest.json").read_text() == "old"


def test_entry_point_ends_with_one_line_and_exit_code_1(cohort):
    command = Path(sys.executable).with_name("mgmt-monai")
    words = [str(command)] if command.exists() else [sys.executable, "-m", "mgmt_monai.cli.main"]
    words += ["manifest", "build", str(cohort), "--labels", str(cohort / "absent.csv")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {cohort / 'absent.csv'}: no label file.")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        pytest.param(["absent"], 1, "absent: no such data directory", id="no data"),
        pytest.param(["{cohort}", "--out", "{cohort}"], 1, "cannot write the manifest (it is a folder)", id="folder"),
        pytest.param(["{cohort}", "--out", "/absent/m.json"], 1, "/absent is not a folder", id="no folder"),
        pytest.param(["{cohort}", "--exclude", "absent.csv"], 1, "absent.csv: no exclusion list", id="no exclusions"),
        pytest.param(
            ["{cohort}", "--test-fraction", "1"], 1, "test_fraction: expected a number between", id="fraction"
        ),
        pytest.param(["{cohort}", "--seed", "-1"], 1, "split seed: expected a whole number from 0", id="seed"),
        pytest.param(["{cohort}", "--test-fraction", "0.01"], 1, "too few to split by label", id="too few"),
        pytest.param(["{cohort}", "--workers", "0"], 2, "0 is not in the range x>=1", id="workers"),
        pytest.param([], 2, "Missing argument 'DATA_DIR'", id="no argument"),
        pytest.param(["{cohort}", "--against", "m.json"], 2, "--against needs --external", id="against alone"),
        pytest.param(
            ["{cohort}", "--external", "--split-from", "s.csv"], 2, "exclude each other", id="external and listed"
        ),
        pytest.param(["{cohort}", "--external", "--group-by", "site"], 2, "exclude each other", id="external groups"),
        pytest.param(
            ["{cohort}", "--split-from", "s.csv", "--group-by", "site"], 2, "exclude each other", id="listed groups"
        ),
        pytest.param(["{cohort}", "--group-by", "site"], 2, "--group-by needs --columns", id="group without columns"),
        pytest.param(["{cohort}", "--layout", "kaggel"], 1, "'kaggel'", id="layout"),
        pytest.param(["{cohort}", "--ignore", "absent.csv"], 1, "absent.csv: no ignore list", id="no decisions"),
        pytest.param(["{cohort}", "--split-from", "absent.csv"], 1, "absent.csv: no such split", id="no split"),
        pytest.param(["{cohort}", "--columns", "absent.csv"], 1, "absent.csv: no such table", id="no columns"),
        pytest.param(["{cohort}", "--mapping", "absent.csv"], 1, "absent.csv: no such table of names", id="no mapping"),
        pytest.param(
            ["{cohort}", "--external", "--against", "absent.json"], 1, "absent.json: no manifest", id="no training data"
        ),
    ],
)
def test_build_refused(cohort, capsys, words, code, expected):
    assert main(["manifest", "build", *(word.format(cohort=cohort) for word in words)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
    assert code == 2 or err.count("Error: ") == 1
    assert not (cohort / "manifest.json").exists()
    assert not (cohort / ".mgmt-monai-scan.sqlite").exists() or words == ["{cohort}", "--test-fraction", "0.01"]


@pytest.mark.parametrize("name", ["t1w", "t1wce", "t2w", "flair"])
def test_defaults_are_those_of_the_bundles(name):
    config = json.loads((BUNDLES / f"{name}.json").read_text())
    defaults = {option.name: option.default for option in build.params}
    assert defaults["test_fraction"] == config["test_fraction"]
    assert defaults["train_fraction"] == config["train_fraction"]
    assert defaults["seed"] == config["split_seed"]
    assert defaults["exclude"] == config["exclusions"]


def table(path: Path, *rows: str) -> str:
    """Writes the rows of a table; its name as a word of a command."""
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


def errors(capsys) -> list[str]:
    """The lines on stderr that tell an error."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]


def splits_of(path: Path) -> dict[str, str]:
    return {patient.patient_id: patient.split for patient in read_manifest(path).patients}


def test_build_leaves_out_what_the_ignore_list_accepts_and_records_it(cohort, tmp_path, capsys):
    (cohort / "train/00009/T1w/Image-1.dcm").write_bytes(b"no image")
    accepted = table(tmp_path / "accepted.csv", "finding,patient_id,reason", "D001,00009,a broken disc")
    assert main(["manifest", "build", str(cohort), *ENOUGH, "--ignore", accepted]) == 0
    out = capsys.readouterr().out
    assert f"error (accepted): patient 00009, T1w: {cohort / 'train/00009/T1w/Image-1.dcm'}: expected" in out
    manifest = read_manifest(cohort / "manifest.json")
    assert [p.patient_id for p in manifest.patients] == [f"0000{i}" for i in range(1, 9)]
    assert manifest.ignored == [{"finding": "D001", "patient_id": "00009", "reason": "a broken disc"}]


def test_build_by_site_tears_no_site_apart(cohort, tmp_path):
    sites = {f"0000{i}": "ABC"[(i - 1) // 3] for i in range(1, 10)}  # three of each, both labels in each
    columns = table(tmp_path / "sites.csv", "patient_id,site", *(f"{p},{site}" for p, site in sites.items()))
    words = ["--test-fraction", "0.34", "--train-fraction", "0.5", "--columns", columns, "--group-by", "site"]
    assert main(["manifest", "build", str(cohort), *words]) == 0
    manifest = read_manifest(cohort / "manifest.json")
    found = {
        p.columns["site"]: {q.split for q in manifest.patients if q.columns == p.columns} for p in manifest.patients
    }
    assert sorted(sorted(of) for of in found.values()) == [["test"], ["train"], ["validation"]]
    assert manifest.split["group_by"] == "site"


def test_build_takes_a_listed_split(cohort, tmp_path, capsys):
    split = {f"0000{i}": ("train", "validation", "test")[i % 3] for i in range(1, 10)}
    listed = table(tmp_path / "split.csv", "patient_id,split", *(f"{p},{name}" for p, name in split.items()))
    assert main(["manifest", "build", str(cohort), "--split-from", listed]) == 0
    assert splits_of(cohort / "manifest.json") == split
    assert "train: 3 patients, " in capsys.readouterr().out


@pytest.fixture
def external(tmp_path, make_dicom):
    """The words that build an external cohort against training data of four, of whom the mapping knows two."""
    training = write_cohort(tmp_path / "training", make_dicom, n_patients=4)
    assert main(["manifest", "build", str(training), "--external", "--workers", "1"]) == 0
    data_dir = tmp_path / "hospital"
    write_patient(data_dir, make_dicom, "00001", looks="a second scan")  # by its very name
    write_patient(data_dir, make_dicom, "TCGA-02-0001")  # 00002 by the mapping, other images
    write_patient(data_dir, make_dicom, "H-3", looks="00003", StudyInstanceUID="1.2.3")  # the same images
    write_patient(data_dir, make_dicom, "H-4", StudyInstanceUID="1.2.3")  # of the same study as H-3
    write_patient(data_dir, make_dicom, "H-5")
    write_patient(data_dir, make_dicom, "H-6")
    write_labels(data_dir, {"00001": 1, "TCGA-02-0001": 0, "H-3": 1, "H-4": 1, "H-5": 1, "H-6": 0})
    mapping = table(
        tmp_path / "mapping.csv",
        "BraTS2021,Cohort Name (if publicly available),Site No (represents the originating institution),Local ID",
        "BraTS2021_00001,UPENN-GBM,2,UPENN-GBM-00009",
        "BraTS2021_00002,TCGA-GBM,1,TCGA-02-0001",
        "BraTS2021_00003,Private Collection,3,N/A",
    )
    words = ["manifest", "build", str(data_dir), "--external", "--against", str(training / "manifest.json")]
    return data_dir, [*words, "--mapping", mapping, "--workers", "1"]


def test_external_cohort_leaves_out_by_name_who_is_in_the_training_data(external, capsys, caplog):
    data_dir, words = external
    capsys.readouterr()
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out: ")]
    assert lines == [
        "left out: patient 00001: is 00001 of the training data (D045)",
        "left out: patient H-3: is 00003 of the training data (D040)",
        "left out: patient H-4: is one with patient H-3, who is 00003 of the training data (D040)",
        "left out: patient TCGA-02-0001: is 00002 of the training data (D045)",
    ]
    assert splits_of(data_dir / "manifest.json") == {"H-5": "test", "H-6": "test"}
    manifest = read_manifest(data_dir / "manifest.json")
    against = read_manifest(Path(words[words.index("--against") + 1])).content_hash
    mapping = Path(words[words.index("--mapping") + 1])
    digest = hashlib.sha256(mapping.read_bytes()).hexdigest()
    assert manifest.split == {"method": "external", "against": against, "mappings": {"mapping.csv": digest}}
    assert [f"left out: {line}" for line in manifest.left_out] == lines
    assert caplog.messages == [
        "2 of 4 patients of the training data have no name outside it in these tables: whether they are in this cohort "
        "can only be told by their images (--mapping may be given again)"
    ]


def test_external_cohort_without_a_mapping_knows_images_and_names_alone(external, capsys):
    data_dir, words = external
    assert main([word for word in words if "mapping" not in word]) == 0
    assert set(splits_of(data_dir / "manifest.json")) == {"H-5", "H-6", "TCGA-02-0001"}


def test_external_cohort_keeps_whom_somebody_decided_on(external, tmp_path, capsys):
    data_dir, words = external
    accepted = table(tmp_path / "accepted.csv", "finding,patient_id,reason", "D045,00001,another 00001")
    assert main([*words, "--ignore", accepted]) == 0
    assert set(splits_of(data_dir / "manifest.json")) == {"00001", "H-5", "H-6"}
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error (accepted): ")]
    assert [line.split(":")[1] for line in told] == [" patient 00001"]


def test_external_cohort_of_known_patients_alone_refused(external, capsys):
    data_dir, words = external
    for patient_id in ("H-5", "H-6"):
        shutil.rmtree(data_dir / "train" / patient_id)
    assert main(words) == 1
    assert errors(capsys) == [
        f"Error: {data_dir}: expected patients to put into the manifest, found none that can be used."
    ]
    assert not (data_dir / "manifest.json").exists()


@pytest.fixture(scope="module")
def built(tmp_path_factory, make_dicom) -> Path:
    """20 patients with their manifest; not to be changed."""
    data_dir = write_cohort(tmp_path_factory.mktemp("built") / "data", make_dicom)
    assert main(["manifest", "build", str(data_dir), "--test-fraction", "0.2", "--workers", "1"]) == 0
    return data_dir


@pytest.fixture
def copy(built, tmp_path) -> Path:
    """A copy with the same times, which a test may change."""
    return Path(shutil.copytree(built, tmp_path / "data"))


@pytest.mark.parametrize(
    ("words", "what"), [([], "headers and pixels"), (["--quick"], "headers")], ids=["whole", "quick"]
)
def test_check_of_a_clean_cohort(built, capsys, words, what):
    path = built / "manifest.json"
    assert main(["manifest", "check", str(path), "--workers", "1", *words]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 20 patients, no image, study or person in two splits",
        f"{built}: 20 series, {what} as the manifest says",
    ]


def test_check_of_a_manifest_that_lies_elsewhere(built, tmp_path, capsys):
    shutil.copy(built / "manifest.json", tmp_path / "m.json")
    assert main(["manifest", "check", str(tmp_path / "m.json"), "--quick"]) == 1
    assert len(errors(capsys)) == 20
    assert main(["manifest", "check", str(tmp_path / "m.json"), "--quick", "--data-dir", str(built)]) == 0


def test_check_finds_a_changed_pixel_in_a_file_of_the_same_size(copy, capsys):
    path = copy / "train/00007/T1w/Image-2.dcm"
    before, dataset = path.stat(), pydicom.dcmread(path)
    dataset.PixelData = bytes([dataset.PixelData[0] ^ 1]) + dataset.PixelData[1:]
    dataset.save_as(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert main(["manifest", "check", str(copy / "manifest.json"), "--workers", "1"]) == 1
    assert errors(capsys) == [
        f"Error: patient 00007, T1w: {copy / 'train/00007/T1w'}: expected the pixels of the manifest, found others in "
        "the same files: files changed since the manifest (D046). Restore the files, or build the manifest again."
    ]
    assert main(["manifest", "check", str(copy / "manifest.json"), "--quick"]) == 0  # as it says: headers


@pytest.mark.parametrize("words", [[], ["--quick"]], ids=["whole", "quick"])
def test_check_finds_files_removed_and_added(copy, capsys, make_dicom, words):
    (copy / "train/00002/T1w/Image-1.dcm").unlink()
    make_dicom(copy / "train/00012/T1w/Image-9.dcm", texture("new", (8, 12)), position=(0, 0, 4))
    assert main(["manifest", "check", str(copy / "manifest.json"), "--workers", "1", *words]) == 1
    found = errors(capsys)
    assert [line.split(": expected")[0] for line in found] == [
        f"Error: patient {patient_id}, T1w: {copy / 'train' / patient_id / 'T1w'}" for patient_id in ("00002", "00012")
    ]
    assert ["(0 new, 1 gone)" in found[0], "(1 new, 0 gone)" in found[1]] == [True, True]
    assert all("(D046)" in line for line in found)


@pytest.fixture
def planted(built, tmp_path):
    """``planted(<fields of the manifest>)``: a manifest with one patient's images in another split too; both names."""

    def plant(**fields):
        manifest = read_manifest(built / "manifest.json")
        one = next(p for p in manifest.patients if p.split == "train")
        other = next(p for p in manifest.patients if p.split == "test")
        patients = [replace(p, series=one.series) if p is other else p for p in manifest.patients]
        write_manifest(replace(manifest, patients=patients, **fields), tmp_path / "planted.json")
        return str(tmp_path / "planted.json"), sorted((one.patient_id, other.patient_id))

    return plant


def test_check_refuses_and_names_a_duplicate_across_splits(planted, built, capsys):
    path, (one, other) = planted()
    assert main(["manifest", "check", path, "--quick", "--data-dir", str(built)]) == 1
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert line.startswith(f"Error: patient {one}: expected images of one patient, found 2 identical slices in T1w")
    assert f"as patient {other} (one in " in line
    assert "(D040)" in line
    assert out == ""


def test_check_passes_a_duplicate_that_somebody_decided_on(planted, built, capsys):
    _, (one, _) = planted()
    path, _ = planted(ignored=[{"finding": "D040", "patient_id": one, "reason": "a phantom scanned twice"}])
    assert main(["manifest", "check", path, "--quick", "--data-dir", str(built)]) == 0
    assert errors(capsys) == []


HAND = made_manifest(
    *(made_patient(f"{i:05d}", label=i % 2, T1w=made_series(), columns={"site": f"site {i % 5}"}) for i in range(1, 41))
)


@pytest.fixture
def hand(tmp_path) -> str:
    """A manifest of 40 patients of five sites, all in training."""
    write_manifest(HAND, tmp_path / "hand.json")
    return str(tmp_path / "hand.json")


def test_split_makes_a_hold_out_anew(hand, tmp_path, capsys):
    words = ["--test-fraction", "0.25", "--train-fraction", "0.8", "--seed", "4", "--overwrite"]
    assert main(["manifest", "split", hand, *words]) == 0
    made = read_manifest(tmp_path / "hand.json")
    assert made.split == {"method": "holdout", "test_fraction": 0.25, "train_fraction": 0.8, "seed": 4}
    assert made.counts() == {"train": (12, 12), "validation": (3, 3), "test": (5, 5)}
    assert capsys.readouterr().out.splitlines() == [
        "train: 24 patients, 12 methylated",
        "validation: 6 patients, 3 methylated",
        "test: 10 patients, 5 methylated",
        f"{hand}: 40 patients, hash {made.content_hash[:12]}",
    ]


def test_split_into_nested_repeated_folds_to_another_file(hand, tmp_path, capsys):
    out = tmp_path / "folds.json"
    words = ["--folds", "4", "--repeats", "2", "--inner-folds", "3", "--seed", "9", "--out", str(out)]
    assert main(["manifest", "split", hand, *words]) == 0
    made = read_manifest(out)
    assert made.folds == {"method": "kfold", "n_folds": 4, "n_repeats": 2, "n_inner_folds": 3, "seed": 9}
    assert {(len(p.folds), len(p.inner_folds), len(p.inner_folds[0])) for p in made.patients} == {(2, 2, 4)}
    assert "folds: 4, repeats: 2, 3 inner folds" in capsys.readouterr().out.splitlines()
    assert read_manifest(tmp_path / "hand.json") == HAND


def test_split_into_folds_by_a_column_of_a_table(hand, tmp_path, capsys):
    rows = [f"{i:05d},{'ABCD'[i % 4]}" for i in range(1, 41)]
    columns = table(tmp_path / "scanners.csv", "patient_id,scanner", *rows)
    # scanners A and C have only unmethylated patients, B and D only methylated: two folds of two scanners each
    assert main(["manifest", "split", hand, "--folds", "2", "--columns", columns, "--group-by", "scanner"]) == 0
    made = read_manifest(tmp_path / "hand.json")
    scanners = {p.columns["scanner"]: p.folds[0] for p in made.patients}
    assert all(scanners[p.columns["scanner"]] == p.folds[0] for p in made.patients)
    assert scanners["A"] != scanners["C"]
    assert scanners["B"] != scanners["D"]
    assert made.patients[0].columns == {"site": "site 1", "scanner": "B"}
    assert capsys.readouterr().out.splitlines()[3] == "folds: 2, repeats: 1"


def test_split_into_a_fold_for_each_site(hand, tmp_path, capsys):
    sites = table(tmp_path / "sites.csv", "patient_id,scanner", *(f"{i:05d},{'ABC'[i % 3]}" for i in range(1, 41)))
    assert main(["manifest", "split", hand, "--folds-by", "scanner", "--columns", sites]) == 0
    made = read_manifest(tmp_path / "hand.json")
    assert {(p.columns["scanner"], p.folds[0]) for p in made.patients} == {("B", 0), ("C", 1), ("A", 2)}
    assert capsys.readouterr().out.splitlines()[3] == "folds: 3, repeats: 1"
    assert main(["manifest", "split", hand, "--folds-by", "scanner", "--folds", "3"]) == 2


def test_split_from_a_table_and_into_folds_in_one_go(hand, tmp_path):
    listed = table(
        tmp_path / "split.csv", "patient_id,split", *(f"{i:05d},{'test' if i > 30 else 'train'}" for i in range(1, 41))
    )
    assert main(["manifest", "split", hand, "--from", listed, "--folds", "3", "--overwrite"]) == 0
    made = read_manifest(tmp_path / "hand.json")
    assert [p.patient_id for p in made.patients if p.split == "test"] == [f"{i:05d}" for i in range(31, 41)]
    assert made.split["source"] == "split.csv"
    assert made.folds["n_folds"] == 3


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        pytest.param([], 2, "say what to make: --test-fraction, --from, --folds or --folds-by", id="nothing"),
        pytest.param(["--test-fraction", "0.2", "--from", "s.csv"], 2, "exclude each other", id="two splits"),
        pytest.param(["--test-fraction", "0.2", "--repeats", "2"], 2, "need --folds", id="repeats of nothing"),
        pytest.param(["--test-fraction", "0.2", "--inner-folds", "2"], 2, "need --folds", id="inner of nothing"),
        pytest.param(["--folds", "3", "--train-fraction", "0.5"], 2, "needs --test-fraction", id="train share alone"),
        pytest.param(["--from", "s.csv", "--group-by", "site"], 2, "--group-by needs", id="listed groups"),
        pytest.param(["--folds", "1"], 2, "1 is not in the range x>=2", id="one fold"),
        pytest.param(["--folds", "30"], 1, "expected a methylated patient or more a fold", id="too many folds"),
        pytest.param(["--test-fraction", "0"], 1, "test_fraction: expected a number between", id="fraction"),
        pytest.param(["--test-fraction", "0.2", "--train-fraction", "0"], 1, "train_fraction: expected", id="no share"),
        pytest.param(["--folds", "3", "--group-by", "scanner"], 1, "found site. Name a table", id="no such column"),
        pytest.param(["--folds", "3", "--columns", "absent.csv"], 1, "absent.csv: no such table", id="no table"),
        pytest.param(["--from", "absent.csv"], 1, "absent.csv: no such split", id="no split"),
        pytest.param(["--folds", "3", "--out", "/absent/m.json"], 1, "/absent is not a folder", id="no folder"),
    ],
)
def test_split_refused(hand, tmp_path, capsys, words, code, expected):
    assert main(["manifest", "split", hand, *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
    assert read_manifest(tmp_path / "hand.json") == HAND


@pytest.mark.parametrize("words", [["check"], ["split", "--folds", "3"], ["show"]], ids=lambda words: words[0])
def test_manifest_that_is_not_there_refused(tmp_path, capsys, words):
    assert main(["manifest", words[0], str(tmp_path / "absent.json"), *words[1:]]) == 1
    assert errors(capsys) == [
        f"Error: {tmp_path / 'absent.json'}: no manifest. Build one with 'mgmt-monai manifest build DATA_DIR'."
    ]


def test_check_without_the_data_is_one_line(hand, tmp_path, capsys):
    assert main(["manifest", "check", hand, "--data-dir", str(tmp_path / "absent")]) == 1
    assert errors(capsys) == [f"Error: {tmp_path / 'absent'}: no such data directory. Name it with --data-dir."]


def test_show_tells_the_cohort(built, capsys):
    assert main(["manifest", "show", str(built / "manifest.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"hash: {read_manifest(built / 'manifest.json').content_hash}"
    assert "  test: 4 patients, 2 methylated" in lines
    assert "  T1w: 20 axial" in lines


def test_show_tells_a_patient(built, capsys):
    assert main(["manifest", "show", str(built / "manifest.json"), "--patient", "00004"]) == 0
    first, series = capsys.readouterr().out.splitlines()
    assert first.startswith("patient 00004: label 0, ")
    assert series.startswith("T1w: train/00004/T1w: 2 axial slices of 8 x 12, 2.00 mm apart")


def test_show_of_nobody_refused(hand, capsys):
    assert main(["manifest", "show", hand, "--patient", "00099"]) == 1
    (line,) = errors(capsys)
    assert line.startswith("Error: patient 00099: not in the manifest.")


def test_cohorts_counts_where_the_patients_are_from(tmp_path, capsys):
    mapping = table(
        tmp_path / "mapping.csv",
        "BraTS2021,Cohort Name (if publicly available),Site No (represents the originating institution),Local ID",
        "BraTS2021_00001,TCGA-GBM,2,TCGA-02-0001",
        "BraTS2021_00002,TCGA-GBM,1,TCGA-02-0002",
        "BraTS2021_00003,Private Collection,7,N/A",
    )
    labels = table(tmp_path / "labels.csv", "BraTS21ID,MGMT_value", "00001,1", "00002,0", "00003,1", "00004,1")
    assert main(["manifest", "cohorts", labels, "--mapping", mapping]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["cohort", "patients", "methylated", "sites"],
        ["TCGA-GBM", "2", "1", "1,", "2"],
        ["Private", "Collection", "1", "1", "7"],
        ["not", "in", "the", "mapping", "1", "1"],
        ["all", "4", "3"],
    ]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["labels.csv"], 2, "Missing option '--mapping'"),
        (["labels.csv", "--mapping", "absent.csv"], 1, "absent.csv: no such table of names"),
    ],
    ids=["no mapping", "absent mapping"],
)
def test_cohorts_refused(capsys, words, code, expected):
    assert main(["manifest", "cohorts", *words]) == code
    assert expected in capsys.readouterr().err


def test_cohorts_of_the_real_tables_add_up(shared_data, capsys):
    tables = shared_data / "tables"
    words = [str(tables / "train_labels.csv"), "--mapping", str(tables / "BraTS21-17_Mapping.csv")]
    assert main(["manifest", "cohorts", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    with (tables / "train_labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    total = [str(len(rows)), str(sum(int(row["MGMT_value"]) for row in rows))]
    assert lines[-1].split() == ["all", *total]
