"""Every fault a user can meet: one clear line that names it, exit code 1, nothing half-written."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from phantom_runs import BUNDLES, SMALL, command, start

from mgmt_monai.cli.main import main
from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.manifest import Manifest, write_manifest
from mgmt_monai.cohort.open_cohort import open_cohort
from mgmt_monai.cohort.splits.plans import Holdout

pytestmark = pytest.mark.xdist_group("training")

WEIGHTS = Path(__file__).parents[2] / "../shared/data/weights/mobilenet_v2-b0353104.pth"


@pytest.fixture
def data_dir(phantom_dir, tmp_path) -> Path:
    """A copy of the phantom's T1w series that a test may damage."""
    data = tmp_path / "data"
    shutil.copytree(phantom_dir, data, ignore=shutil.ignore_patterns("FLAIR", "T2w", "T1wCE", "manifest.json"))
    return data


@pytest.fixture(scope="module")
def phantom_manifest(phantom_dir, tmp_path_factory) -> Manifest:
    data = tmp_path_factory.mktemp("manifest") / "data"
    shutil.copytree(phantom_dir, data, ignore=shutil.ignore_patterns("FLAIR", "T2w", "T1wCE", "manifest.json", ".*"))
    plan = Holdout(SMALL["test_fraction"], SMALL["train_fraction"], seed=0)
    return build_manifest(data, Sources(), plan).manifest


@pytest.fixture
def refused(data_dir, tmp_path, capfd):
    """Runs ``mgmt-monai train``, expects exit code 1, gives the message."""

    def run(**overrides) -> str:
        settings = {**SMALL, "dataset_dir": data_dir, "output_dir": tmp_path / "runs", **overrides}
        words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        code = main(["train", str(BUNDLES / "t1w.json"), *words])
        errors = capfd.readouterr().err
        assert code == 1, errors
        assert "Traceback" not in errors
        assert not list((tmp_path / "runs").glob("t1w/*")), "a run was begun"
        return next(line for line in errors.splitlines() if line.startswith("Error: "))

    return run


def patient(data_dir: Path) -> Path:
    return sorted((data_dir / "train").iterdir())[0]


def files(data_dir: Path) -> list[Path]:
    return sorted((patient(data_dir) / "T1w").iterdir())


def change(path: Path, **attributes) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def rewrite_labels(data_dir: Path, edit) -> None:
    with (data_dir / "train_labels.csv").open() as stream:
        rows = edit(list(csv.reader(stream)))
    with (data_dir / "train_labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def test_no_data_directory(refused, tmp_path):
    message = refused(dataset_dir=tmp_path / "nowhere")
    assert "nowhere: no such data directory" in message and "mgmt-monai phantom" in message


def test_main_command_without_data_says_how_to_get_some(tmp_path):
    words = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(BUNDLES / "t1w.json")]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "Error: data/phantom: no such data directory" in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_empty_series(refused, data_dir):
    for path in files(data_dir):
        path.unlink()
    message = refused()
    assert f"patient {patient(data_dir).name}, T1w" in message and "empty series" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"not an image at all" * 20, "not a DICOM file"), (b"", "an empty file")],
    ids=["text", "empty"],
)
def test_file_that_is_not_dicom(refused, data_dir, content, expected):
    files(data_dir)[3].write_bytes(content)
    message = refused()
    assert str(files(data_dir)[3]) in message and expected in message


def test_truncated_file(refused, data_dir):
    path = files(data_dir)[3]
    path.write_bytes(path.read_bytes()[:-2000])
    assert f"{path}: expected" in (message := refused()) and "found a truncated file" in message


def test_mixed_sizes(refused, data_dir):
    path = files(data_dir)[3]
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.PixelData = dataset.Rows - 2, dataset.PixelData[: (dataset.Rows - 2) * dataset.Columns * 2]
    dataset.save_as(path)
    assert "mixed image sizes (D005)" in refused()


def test_mixed_orientations(refused, data_dir):
    change(files(data_dir)[3], ImageOrientationPatient=[0.6, 0.8, 0, 0, 0, 1])
    assert "mixed orientations" in refused()


def test_duplicate_positions(refused, data_dir):
    first, second = files(data_dir)[3:5]
    change(second, ImagePositionPatient=pydicom.dcmread(first).ImagePositionPatient)
    message = refused()
    assert "duplicate slices" in message and first.name in message and second.name in message


def test_several_faulty_patients_are_all_named(refused, data_dir):
    patients = sorted((data_dir / "train").iterdir())[:2]
    for folder in patients:
        sorted((folder / "T1w").iterdir())[0].write_bytes(b"")
    message = refused()
    assert all(f"patient {folder.name}" in message for folder in patients)


def test_patient_without_the_modality(refused, data_dir):
    shutil.move(patient(data_dir) / "T1w", patient(data_dir) / "FLAIR")
    message = refused()
    assert f"patient {patient(data_dir).name}: expected a T1w series, found none" in message
    assert f"manifest build {data_dir} --exclude FILE --overwrite" in message and "--exclusions FILE" in message


def test_patient_without_a_label(refused, data_dir):
    rewrite_labels(data_dir, lambda rows: [row for row in rows if row[0] != patient(data_dir).name])
    assert f"patient {patient(data_dir).name}" in refused()


def test_label_given_twice(refused, data_dir):
    rewrite_labels(data_dir, lambda rows: [*rows, rows[1]])
    assert f"several for {patient(data_dir).name}" in refused()


def test_unknown_label(refused, data_dir):
    rewrite_labels(data_dir, lambda rows: [rows[0], [rows[1][0], "maybe"], *rows[2:]])
    assert "'maybe'" in refused()


def test_no_methylated_patient_in_a_split(refused, data_dir):
    rewrite_labels(data_dir, lambda rows: [rows[0], [rows[1][0], "1"], *([row[0], "0"] for row in rows[2:])])
    message = refused()
    assert "1 methylated and 15 unmethylated" in message


@pytest.fixture
def manifest(phantom_manifest, data_dir) -> Manifest:
    """Of the phantom's T1w: its split is the one that the trainings here ask for."""
    write_manifest(phantom_manifest, data_dir / "manifest.json")
    return phantom_manifest


def test_manifest_with_a_patient_in_two_splits(refused, manifest, data_dir):
    twice = next(patient for patient in manifest.patients if patient.split == "train")
    patients = [*manifest.patients, replace(twice, split="test")]
    write_manifest(replace(manifest, patients=patients), data_dir / "manifest.json")
    assert f"patient {twice.patient_id} is in two splits (train, test)" in refused()


def test_manifest_with_the_same_images_in_two_splits(refused, manifest, data_dir):
    one, other = (next(p for p in manifest.patients if p.split == split) for split in ("train", "test"))
    ours, theirs = one.series["T1w"].digests, other.series["T1w"].digests
    middle = 12 * (len(ours) // 24)  # one slice, twelve digits, from the middle of the head
    series = {"T1w": replace(other.series["T1w"], digests=ours[middle : middle + 12] + theirs[12:])}
    patients = [replace(p, series=series) if p is other else p for p in manifest.patients]
    write_manifest(replace(manifest, patients=patients), data_dir / "manifest.json")
    message = refused()
    first, second = sorted((one.patient_id, other.patient_id))
    assert message.startswith(f"Error: patient {first}: expected images of one patient, found 1 identical slice")
    assert f" in T1w, as patient {second} (one in " in message
    assert "identical images under two patients (D040)" in message


def test_image_copied_over_another_since_the_manifest(refused, manifest, data_dir):
    one, other = (next(p for p in manifest.patients if p.split == split) for split in ("train", "test"))
    for source, target in zip(one.series["T1w"].files, other.series["T1w"].files, strict=False):
        shutil.copy(data_dir / one.series["T1w"].directory / source, data_dir / other.series["T1w"].directory / target)
    message = refused()
    assert f"patient {other.patient_id}, T1w: {data_dir / other.series['T1w'].directory}: expected the " in message
    assert "files changed since the manifest (D046)" in message


def test_fold_of_a_manifest_without_folds(refused, manifest):
    assert "the manifest has no folds. Make them with 'mgmt-monai manifest split --folds K'" in refused(fold=1)


def test_mistyped_key(refused):
    message = refused(fine_tune_epoch=3)
    assert "'fine_tune_epoch'" in message and "did you mean 'fine_tune_epochs'" in message


@pytest.mark.slow
def test_main_command_refuses_a_mistyped_key_too(data_dir, tmp_path):
    process = start(command(data_dir, tmp_path / "runs", fine_tune_epoch=3), tmp_path)
    output = process.communicate()[0]
    assert process.returncode == 1
    assert "Error: config key 'fine_tune_epoch': unknown" in output.splitlines()[-1]


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="needs the MobileNetV2 checkpoint in ../shared/data")
def test_weights_of_another_network(refused):
    message = refused(weights=WEIGHTS)
    assert "mobilenet_v2" in message and "efficientnet-b0" in message


def test_weights_file_that_is_not_there(refused, tmp_path):
    assert "missing.safetensors" in refused(weights=tmp_path / "missing.safetensors")


def test_output_directory_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in refused(output_dir=tmp_path / "file" / "runs")


def test_nothing_to_resume(refused):
    assert "no unfinished training to resume" in refused(resume="true")


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_device_that_is_not_there(refused, device):
    assert f"device: expected one that torch finds on this machine, found '{device}'" in refused(device=device)


def test_batch_of_one(refused):
    assert "batch_size" in refused(transfer_batch_size=1)


def test_missing_slice_is_a_warning_with_the_gap(data_dir, tmp_path, caplog):
    named = {pydicom.dcmread(path, stop_before_pixels=True).InstanceNumber: path for path in files(data_dir)}
    named[sorted(named)[len(named) // 2]].unlink()
    open_cohort(
        "T1w", data_dir, data_dir / "train_labels.csv", "", tmp_path, 0.25, 0.67, 0, "default", 0, None, None, False, 0
    )
    assert f"patient {patient(data_dir).name}, T1w" in caplog.text and "found 1 missing in" in caplog.text


@pytest.mark.slow
def test_full_disk(data_dir, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        process = start(command(data_dir, disk / "runs"), tmp_path)
        output = process.communicate()[0]
        assert process.returncode == 1
        assert "Traceback" not in output
        assert "disk is full" in output
        assert not list(disk.glob("runs/t1w/*/transfer/*best.pt*")), "a half-written checkpoint was left"
    finally:
        subprocess.run(["umount", disk], check=True)
