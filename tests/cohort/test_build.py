import hashlib
import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.errors import CohortError, CohortFaultsError
from mgmt_monai.cohort.splits.plans import External, Holdout, Listed
from mgmt_monai.cohort.tables.ignores import Ignored, IgnoreList


def cohort_of(data_dir, test_fraction=0.1, train_fraction=0.8, workers=1, **sources):
    return build_manifest(data_dir, Sources(**sources), Holdout(test_fraction, train_fraction, seed=0), workers)


def built(data_dir, **settings):
    return cohort_of(data_dir, **settings).manifest


def faults_of(data_dir, **settings):
    with pytest.raises(CohortFaultsError) as caught:
        built(data_dir, **settings)
    assert all("\n" not in fault for fault in caught.value.faults)
    return caught.value


def test_build_of_a_cohort(make_cohort):
    data_dir = make_cohort(20, modalities=("T1w", "FLAIR"))
    manifest = built(data_dir)
    assert [p.patient_id for p in manifest.patients] == [f"{i:05d}" for i in range(1, 21)]
    assert [p.label for p in manifest.patients] == [1, 0] * 10
    assert manifest.counts() == {"train": (7, 7), "validation": (2, 2), "test": (1, 1)}
    assert (manifest.layout, manifest.excluded, manifest.left_out) == ("rsna-miccai-2021", {}, [])
    assert manifest.split == {"method": "holdout", "test_fraction": 0.1, "train_fraction": 0.8, "seed": 0}
    assert manifest.labels_sha256 == hashlib.sha256((data_dir / "train_labels.csv").read_bytes()).hexdigest()
    patient = manifest.patients[4]
    assert sorted(patient.series) == ["FLAIR", "T1w"]
    record = patient.series["T1w"]
    assert (record.directory, record.files) == ("train/00005/T1w", ["Image-2.dcm", "Image-1.dcm"])
    assert (record.rows, record.columns, record.plane, record.pixel_spacing_mm) == (8, 12, "axial", [0.5, 0.75])


def test_files_of_a_patient_who_is_left_out_are_told(make_cohort):
    data_dir = make_cohort(20)
    shutil.copytree(data_dir / "train/00003", data_dir / "train/00109")  # excluded by the packaged list
    for path in (data_dir / "train/00005").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "BraTS2021_00109"
        dataset.save_as(path)
    [fault] = faults_of(data_dir).faults
    assert "patient 00005" in fault
    assert "of patient 00109: files of another patient (D047)" in fault


def test_moved_cohort_has_the_same_manifest(make_cohort, tmp_path):
    data_dir = make_cohort()
    before = built(data_dir)
    shutil.move(data_dir, tmp_path / "other place")
    assert built(tmp_path / "other place").content_hash == before.content_hash


def test_parallel_and_serial_give_the_same(make_cohort, tmp_path):
    data_dir = make_cohort(12)
    serial = built(data_dir, test_fraction=0.2)
    (data_dir / ".mgmt-monai-scan.sqlite").unlink()
    assert built(data_dir, test_fraction=0.2, workers=2) == serial


def test_patient_without_a_label_refused_by_name(make_cohort):
    data_dir = make_cohort()
    labels = data_dir / "train_labels.csv"
    labels.write_text(labels.read_text().replace("00004,0\n", "4,0\n"))
    (fault,) = faults_of(data_dir).faults
    assert fault.startswith(f"patient 00004: {data_dir / 'train/00004'}: expected a row in {labels}, found none")
    assert "leading zeros" in fault


def test_label_without_a_folder_is_listed(make_cohort):
    data_dir = make_cohort()
    with (data_dir / "train_labels.csv").open("a") as stream:
        stream.write("00900,1\n00800,0\n")
    assert built(data_dir).left_out == [
        "patient 00800: in the label file, but without images",
        "patient 00900: in the label file, but without images",
    ]


def test_folder_without_a_series_is_listed(make_cohort):
    data_dir = make_cohort()
    (data_dir / "train/00900/T1").mkdir(parents=True)
    assert built(data_dir).left_out == ["patient 00900: its folder has no series of a known modality"]


def test_default_exclusions_leave_out_the_patients_there(make_cohort):
    data_dir = make_cohort()
    (data_dir / "train/00004").rename(data_dir / "train/00109")  # and no label for it: none is needed
    manifest = built(data_dir)
    assert list(manifest.excluded) == ["00109"]
    assert manifest.left_out == ["patient 00004: in the label file, but without images"]
    assert len(manifest.patients) == 19


def test_own_exclusions_leave_out_a_broken_patient_and_tell_unknown_names(make_cohort, tmp_path):
    data_dir = make_cohort()
    (data_dir / "train/00003/T1w/Image-1.dcm").write_bytes(b"broken")
    exclusions = tmp_path / "left out.csv"
    exclusions.write_text("patient_id,reason\n00003,broken file\n3,mistyped\n")
    manifest = built(data_dir, exclusions=exclusions)
    assert manifest.excluded == {"00003": "broken file"}
    assert manifest.left_out == ["patient 3: in the exclusion list or review.csv, but not in the data"]


def test_review_leaves_out_a_patient_and_tells_unknown_names(make_cohort):
    data_dir = make_cohort()
    (data_dir / "review.csv").write_text(
        "patient_id,decision,detail\n00003,exclude,half a head\n3,exclude,mistyped\n00109,exclude,as the hosts say\n"
    )
    manifest = built(data_dir)
    assert manifest.excluded == {"00003": "half a head"}
    assert manifest.left_out == ["patient 3: in the exclusion list or review.csv, but not in the data"]


def test_several_faults_are_told_each_on_its_line(make_cohort, make_dicom):
    data_dir = make_cohort()
    labels = data_dir / "train_labels.csv"
    labels.write_text(labels.read_text().replace("00002,0\n", ""))
    (data_dir / "train/00003/T1w/Image-1.dcm").write_bytes(b"no image")
    for path in (data_dir / "train/00005/T1w").iterdir():
        path.unlink()
    make_dicom(data_dir / "train/00007/T1w/Image-3.dcm", np.zeros((5, 6), np.uint16), position=(0, 0, 9))
    (data_dir / "train/00008/FLAIR").symlink_to("FLAIR")
    error = faults_of(data_dir)
    starts = [fault.split(": expected")[0] for fault in error.faults]
    assert starts == [
        f"patient 00002: {data_dir}/train/00002",
        f"patient 00003, T1w: {data_dir}/train/00003/T1w/Image-1.dcm",
        f"patient 00005, T1w: {data_dir}/train/00005/T1w",
        f"patient 00007, T1w: {data_dir}/train/00007/T1w/Image-3.dcm",
        f"patient 00008, FLAIR: {data_dir}/train/00008/FLAIR",
    ]
    assert "00005" in str(error) and "00007" not in str(error)
    assert "And 2 more: 'mgmt-monai manifest build DATA_DIR' lists them all." in str(error)


def test_ignored_error_leaves_the_series_out_and_is_recorded(make_cohort):
    data_dir = make_cohort(modalities=("T1w", "FLAIR"))
    (data_dir / "train/00003/FLAIR/Image-1.dcm").write_bytes(b"broken")
    (fault,) = faults_of(data_dir).faults
    assert "unreadable file (D001)" in fault
    cohort = cohort_of(data_dir, ignores=IgnoreList([Ignored("D001", "00003", "T1w is enough")]))
    patients = {p.patient_id: p for p in cohort.manifest.patients}
    assert list(patients["00003"].series) == ["T1w"]
    assert sorted(patients["00004"].series) == ["FLAIR", "T1w"]
    assert cohort.manifest.ignored == [{"finding": "D001", "patient_id": "00003", "reason": "T1w is enough"}]
    assert [(f.id, f.patient_id) for f in cohort.findings if f.id == "D001"] == [("D001", "00003")]


def test_copied_patient_stays_in_one_split_and_is_told(make_cohort):
    data_dir = make_cohort(40)
    for name in ("Image-1.dcm", "Image-2.dcm"):
        shutil.copy(data_dir / "train/00001/T1w" / name, data_dir / "train/00003/T1w" / name)
    for test_fraction in (0.1, 0.2, 0.3, 0.4):
        cohort = cohort_of(data_dir, test_fraction=test_fraction)
        splits = {p.patient_id: p.split for p in cohort.manifest.patients}
        assert splits["00001"] == splits["00003"]
    assert [(f.id, f.patient_id, f.others) for f in cohort.related if f.id == "D040"] == [("D040", "00001", ("00003",))]


def test_accepted_pair_is_split_as_two_people(make_cohort):
    data_dir = make_cohort(40)
    expected = {p.patient_id: p.split for p in built(data_dir).patients}
    for name in ("Image-1.dcm", "Image-2.dcm"):
        shutil.copy(data_dir / "train/00001/T1w" / name, data_dir / "train/00002/T1w" / name)
    assert any("with the labels 1 and 0" in fault for fault in faults_of(data_dir).faults)
    ignores = IgnoreList(Ignored(kind, "00002", "made so") for kind in ("D040", "D042", "D045", "D047"))
    cohort = cohort_of(data_dir, ignores=ignores)
    assert {p.patient_id: p.split for p in cohort.manifest.patients} == expected
    assert cohort.related == []


def test_copied_patient_with_another_label_refused(make_cohort):
    data_dir = make_cohort(40)
    for name in ("Image-1.dcm", "Image-2.dcm"):
        shutil.copy(data_dir / "train/00001/T1w" / name, data_dir / "train/00002/T1w" / name)
    (fault,) = faults_of(data_dir).faults
    assert fault.startswith("patient 00001: expected images of one patient, found 2 identical slices in T1w")
    assert "as patient 00002, with the labels 1 and 0: identical images under two patients (D040)" in fault


def test_split_without_a_class_refused(make_cohort):
    data_dir = make_cohort(20)
    labels = data_dir / "train_labels.csv"
    labels.write_text(labels.read_text().replace(",1\n", ",0\n"))
    with pytest.raises(CohortError, match="no methylated patient in the train split"):
        built(data_dir)


def test_progress_goes_to_stderr(make_cohort, capsys):
    built(make_cohort())
    out, err = capsys.readouterr()
    assert out == ""
    assert "Reading series" in err


def test_real_slices_make_80_patients(real_slices):
    data_dir = real_slices
    manifest = built(data_dir, train_fraction=0.85, workers=2)
    with (data_dir / "train_labels.csv").open() as stream:
        rows = [line.strip().split(",") for line in stream][1:]
    labels = {patient_id: int(value) for patient_id, value in rows if patient_id != "00109"}
    assert {p.patient_id: p.label for p in manifest.patients} == labels
    assert len(manifest.patients) == 80
    assert list(manifest.excluded) == ["00109"]
    for patient in manifest.patients:
        files = {path.name for path in (data_dir / "train" / patient.patient_id / "T1wCE").iterdir()}
        assert set(patient.series["T1wCE"].files) == files
    json.dumps(manifest.split, allow_nan=False)


def test_listed_split_that_parts_a_copied_patient_refused(make_cohort, tmp_path):
    data_dir = make_cohort(20)
    for name in ("Image-1.dcm", "Image-2.dcm"):
        shutil.copy(data_dir / "train/00001/T1w" / name, data_dir / "train/00003/T1w" / name)
    path = tmp_path / "split.csv"
    names = [f"{number:05d}" for number in range(1, 21)]
    path.write_text("patient_id,split\n" + "".join(f"{n},{'test' if n == '00001' else 'train'}\n" for n in names))
    with pytest.raises(CohortFaultsError) as caught:
        build_manifest(data_dir, Sources(), Listed(path), workers=1)
    (fault,) = caught.value.faults
    assert fault.startswith("patient 00001: expected images of one patient, found 2 identical slices in T1w")
    assert "as patient 00003 (one in test, one in train)" in fault


def test_decision_on_a_patient_who_is_not_there_is_told(make_cohort, caplog):
    cohort_of(make_cohort(20), ignores=IgnoreList([Ignored("D015", "0001", "mistyped")]))
    assert "ignore list: D015 of patient 0001: no such patient in these data" in caplog.messages


def test_ucsf_patients_of_brats_2021_never_count_as_external(make_cohort, tmp_path):
    training = built(make_cohort(20))  # 00001 to 00020
    rng = np.random.default_rng(0)
    data_dir = tmp_path / "ucsf"
    for number in (4, 5, 6):
        name = f"UCSF-PDGM-{number:04d}"
        (data_dir / f"{name}_nifti").mkdir(parents=True)
        image = nib.Nifti1Image(rng.integers(0, 900, (12, 10, 6)).astype(np.int16), np.eye(4))
        image.set_sform(np.eye(4), 1)
        nib.save(image, data_dir / f"{name}_nifti/{name}_T1.nii.gz")
    (data_dir / "UCSF-PDGM-metadata_v5.csv").write_text(
        "ID,MGMT status,MGMT index,BraTS21 ID\nUCSF-PDGM-004,negative,0,BraTS2021_00003\n"
        "UCSF-PDGM-005,positive,9,\nUCSF-PDGM-006,positive,9,BraTS2021_00900\n"
    )
    with pytest.raises(CohortError, match=r"found 2 of 3 patients in BraTS 2021, .* --against"):
        build_manifest(data_dir, Sources(), External(), workers=1)
    manifest = build_manifest(data_dir, Sources(against=training), External(), workers=1).manifest
    assert [(p.patient_id, p.label) for p in manifest.patients] == [("UCSF-PDGM-0005", 1), ("UCSF-PDGM-0006", 1)]
    assert set(manifest.patients[1].aliases) == {"BraTS2021_00900", "UCSF-PDGM-006"}  # the table's three digits
    assert manifest.left_out == ["patient UCSF-PDGM-0004: is 00003 of the training data (D045)"]
