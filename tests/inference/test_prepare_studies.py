"""A raw made patient, prepared by the command: what is written, what is refused, what is kept."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from made_records import made_series

from mgmt_monai.cli.main import main
from mgmt_monai.cohort.files.headers import read_headers
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.tables.segmentations import find_segmentations
from mgmt_monai.inference.abstain import head_reasons
from mgmt_monai.inference.prepare_studies import read_mask
from mgmt_monai.inference.study import read_study
from mgmt_monai.phantom import write_phantom
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.images import as_image, nifti_bytes
from mgmt_monai.transforms.load import LoadSeries

pytestmark = pytest.mark.xdist_group("raw")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads with skull, eyes and neck; T1w and T2w are gone, and the second's FLAIR is a stub of six slices."""
    root = tmp_path_factory.mktemp("raw") / "cohort"
    write_phantom(root, 2, 1.0, 5, workers=1, moves=12.0)
    for patient in ("90000", "90001"):
        for modality in ("T1w", "T2w"):
            shutil.rmtree(root / "train" / patient / modality)
    stub = root / "train" / "90001" / "FLAIR"
    ordered = sorted(stub.iterdir(), key=lambda path: tuple(read_headers(path)[0].position))
    for path in ordered[6:]:
        path.unlink()
    return root


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, at 2 mm, by the command, which says that one series was refused."""
    out = tmp_path_factory.mktemp("prepared")
    assert main(["prepare", str(raw), "--batch", "--out", str(out), "--spacing", "2", "--workers", "1"]) == 1
    return out


def test_the_known_displacement_is_refound(raw: Path, prepared: Path) -> None:
    truth = json.loads((raw / "truth.json").read_text())["patients"][0]["series"]
    pose = {modality: np.array(truth[modality]["head_to_scanner_mm"]) for modality in ("T1wCE", "FLAIR")}
    expected = pose["FLAIR"] @ np.linalg.inv(pose["T1wCE"])
    transform = sitk.ReadTransform(str(prepared / "90000/transforms/flair.tfm"))
    centre = pose["T1wCE"][:3, 3]
    for offset in np.vstack([np.zeros(3), 50 * np.eye(3)]):
        point = centre + offset
        found = np.array(transform.TransformPoint([float(value) for value in point]))
        assert np.linalg.norm(found - (expected @ [*point, 1])[:3]) < 0.7
    record = json.loads((prepared / "90000/prepare.json").read_text())["series"]["FLAIR"]
    assert record["accepted"] and record["disagreement_mm"] < 1.0 and record["overlap"] > 0.9


def test_all_series_are_on_one_grid_with_nothing_outside_the_brain(prepared: Path) -> None:
    images = {token: nib.load(prepared / f"90000/90000_{token}.nii.gz") for token in ("t1ce", "flair", "brain_mask")}
    assert {image.shape for image in images.values()} == {(120, 120, 78)}
    assert all(np.allclose(image.affine, images["t1ce"].affine) for image in images.values())
    inside = np.asanyarray(images["brain_mask"].dataobj) > 0
    for token in ("t1ce", "flair"):
        values = np.asanyarray(images[token].dataobj)
        assert not values[~inside].any()
        assert values.min() >= 0  # no overshoot of the splines
        assert np.median(values[inside]) > 0


def test_a_series_that_is_refused_is_named_and_the_rest_is_written(prepared: Path) -> None:
    record = json.loads((prepared / "90001/prepare.json").read_text())["series"]
    assert record["T1wCE"]["accepted"]
    assert not record["FLAIR"]["accepted"]
    assert "expected" in record["FLAIR"]["reason"]
    assert sorted(path.name for path in (prepared / "90001").glob("*.nii.gz")) == [
        "90001_brain_mask.nii.gz",
        "90001_t1ce.nii.gz",
    ]
    page = (prepared / "report.html").read_text()
    assert page.index("90001") < page.index("90000")  # the worst first
    assert "FLAIR refused" in page


def test_what_is_there_is_kept(raw: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*.nii.gz")}
    assert main(["prepare", str(raw), "--batch", "--out", str(prepared), "--spacing", "2", "--workers", "1"]) == 1
    assert "2 prepared (2 of them before)" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in prepared.rglob("*.nii.gz")} == before


def test_one_more_patient_joins_the_page_and_takes_no_decision_away(raw: Path, prepared: Path) -> None:
    table = prepared / "review.csv"
    before = table.read_text()
    table.write_text("patient_id,decision,detail,reader\n90000,accept,,me\n")
    study = raw / "train/90001"
    assert main(["prepare", str(study), "--out", str(prepared), "--spacing", "2", "--workers", "1"]) == 1
    assert table.read_text() == "patient_id,decision,detail,reader\n90000,accept,,me\n90001,,,\n"
    page = (prepared / "report.html").read_text()
    assert "90000/report.html" in page
    assert "90001/report.html" in page
    table.write_text(before)


def test_other_settings_replace_nothing_unasked(raw: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (prepared / "report.html").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*.nii.gz")}
    assert main(["prepare", str(raw), "--batch", "--out", str(prepared), "--spacing", "3", "--workers", "1"]) == 1
    shown = capsys.readouterr().err
    assert shown.count("other settings, which would be lost") == 2
    assert "--overwrite" in shown
    assert {path: path.stat().st_mtime_ns for path in prepared.rglob("*.nii.gz")} == before
    assert str(prepared) not in (prepared / "report.html").read_text()  # no path
    (prepared / "report.html").write_bytes(page)


def test_what_was_prepared_of_a_patient_who_is_now_refused_does_not_stand(
    raw: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, study = tmp_path / "out", tmp_path / "90001"
    shutil.copytree(prepared, out)
    shutil.copytree(raw / "train/90001/FLAIR", study / "FLAIR")  # six slices alone
    words = ["prepare", str(study), "--out", str(out), "--spacing", "2", "--workers", "1"]
    assert main(words) == 1
    assert "say --overwrite. What an earlier run wrote stays in the patient's folder" in capsys.readouterr().err
    assert (out / "90001/prepare.json").is_file()
    assert main([*words, "--overwrite"]) == 1
    assert "What an earlier run had written is removed" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["90000"]
    assert "What an earlier run had written is removed" in (out / "report.html").read_text()


def test_segmentation_is_carried_with_the_series_that_it_was_drawn_on(raw: Path, tmp_path: Path) -> None:
    study, out = tmp_path / "90000", tmp_path / "out"
    shutil.copytree(raw / "train/90000", study)
    flair = as_image(LoadSeries()(study / "FLAIR"))
    labels = np.zeros(sitk.GetArrayViewFromImage(flair).shape, np.uint8)
    n_slices, rows, columns = labels.shape
    labels[n_slices // 2 : n_slices // 2 + 4, rows // 3 : rows // 3 + 20, columns // 3 : columns // 3 + 20] = 2
    labels[n_slices // 2, rows // 3, columns // 3] = 4
    drawn = sitk.GetImageFromArray(labels)
    drawn.CopyInformation(flair)
    (study / "tumour_seg.nii.gz").write_bytes(nifti_bytes(drawn))
    words = ["prepare", str(study), "--out", str(out), "--spacing", "2", "--workers", "1"]
    assert main(words) == 0

    assert json.loads((out / "90000/prepare.json").read_text())["segmentation"] == "FLAIR"
    moved, mask = (nib.load(out / f"90000/90000_{name}.nii.gz") for name in ("seg", "brain_mask"))
    assert np.allclose(moved.affine, mask.affine) and moved.shape == mask.shape
    found = np.asarray(moved.dataobj)
    assert set(np.unique(found)) <= {0, 2, 4}
    centre = (moved.affine @ [*np.argwhere(found).mean(axis=0), 1])[:3] * [-1, -1, 1]
    truth = json.loads((raw / "truth.json").read_text())["patients"][0]["series"]
    pose = {modality: np.array(truth[modality]["head_to_scanner_mm"]) for modality in ("T1wCE", "FLAIR")}
    before = flair.TransformContinuousIndexToPhysicalPoint(np.argwhere(labels).mean(axis=0)[::-1].tolist())
    expected = (pose["T1wCE"] @ np.linalg.inv(pose["FLAIR"]) @ [*before, 1])[:3]
    assert np.linalg.norm(centre - expected) < 1.5
    size = np.count_nonzero(found) * 8 / (np.count_nonzero(labels) * np.prod(flair.GetSpacing()))
    assert size == pytest.approx(1, abs=0.1)
    record = PatientRecord("90000", 0, "test", {"FLAIR": made_series(directory="90000")})
    assert find_segmentations("auto", [record], out) == {"90000": out / "90000/90000_seg.nii.gz"}

    (out / "90000/90000_seg.nii.gz").unlink()
    assert main(words) == 1  # not whole
    assert main([*words, "--overwrite"]) == 0
    assert (out / "90000/90000_seg.nii.gz").is_file()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda image: sitk.Shrink(image, [2, 2, 1]), "on the voxels of one of the series, found one on others"),
        (lambda image: image * 0, "the whole numbers of labels, found none"),
        (lambda image: image * 0 + 0.5, "the whole numbers of labels, found none"),
        (None, "expected one segmentation, found 2"),
    ],
)
def test_segmentation_that_is_none_of_a_series_is_named(raw, tmp_path, capsys, make, told) -> None:
    study = tmp_path / "90000"
    shutil.copytree(raw / "train/90000", study)
    image = as_image(LoadSeries()(study / "FLAIR")) * 0 + 1
    (study / "a_seg.nii.gz").write_bytes(nifti_bytes(image if make is None else make(image)))
    if make is None:
        shutil.copy(study / "a_seg.nii.gz", study / "b_seg.nii.gz")
    assert main(["prepare", str(study), "--out", str(tmp_path / "out"), "--spacing", "2", "--workers", "1"]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out/90000").exists()


def test_the_study_itself_is_never_replaced(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "90000"
    shutil.copytree(raw / "train/90000/T1wCE", study / "T1wCE")
    before = sorted(study.rglob("*"))
    assert main(["prepare", str(study), "--out", str(tmp_path), "--overwrite", "--workers", "1"]) == 1
    assert "found the study" in capsys.readouterr().err
    assert sorted(study.rglob("*")) == before


def test_the_cohort_is_ready_for_a_manifest_and_the_review_counts(raw: Path, prepared: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(prepared, cohort)
    (cohort / "review.csv").write_text("patient_id,decision,detail\n90000,accept,\n90001,exclude,seen on the page\n")
    out = tmp_path / "manifest.json"
    words = ["manifest", "build", str(cohort), "--labels", str(raw / "train_labels.csv"), "--out", str(out)]
    assert main([*words, "--external"]) == 0
    manifest = json.loads(out.read_text())
    assert [one["patient_id"] for one in manifest["patients"]] == ["90000"]
    assert manifest["excluded"] == {"90001": "seen on the page"}
    assert set(manifest["patients"][0]["series"]) == {"T1wCE", "FLAIR"}
    assert manifest["made"] == pytest.approx({"reachable_auc": 0.7602}, abs=1e-4)  # Phi(1 / sqrt 2): still a phantom
    how = {"version": 1, "spacing_mm": 2.0, "n4": False}
    one = {"series": 1, "skull_stripped": 1, "with_skull": 0, "prepared": 1, "how": how}
    assert manifest["heads"] == {"FLAIR": one, "T1wCE": one}


def test_patients_prepared_in_two_ways_are_no_cohort(
    raw: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(prepared, cohort)
    record = cohort / "90001/prepare.json"
    record.write_text(record.read_text().replace('"spacing_mm": 2.0', '"spacing_mm": 1.5'))
    out = tmp_path / "manifest.json"
    words = ["manifest", "build", str(cohort), "--labels", str(raw / "train_labels.csv"), "--out", str(out)]
    assert main([*words, "--external"]) == 1
    assert "spacing_mm 2.0, n4 False of 90000, version 1, spacing_mm 1.5, n4 False of 90001" in capsys.readouterr().err
    record.write_text("{}")
    assert main([*words, "--external"]) == 1
    assert "'version' is a required property. Prepare the patient again" in capsys.readouterr().err
    assert not out.exists()


BARE, WITH_SKULL = ({"skull_stripped": of, "prepared": None} for of in (True, False))


def test_a_head_is_told_from_those_of_the_training_data(raw: Path, prepared: Path) -> None:
    head, brain = (read_study(study / "90000", modalities=["FLAIR"])[0] for study in (raw / "train", prepared))
    assert head_reasons(head, BARE) == ["not skull-stripped: use --prepare"]
    assert head_reasons(head, WITH_SKULL) == head_reasons(brain, BARE) == []
    assert head_reasons(brain, WITH_SKULL)[0].startswith("skull-stripped, and the training data are heads with skull")
    same = {"version": 1, "spacing_mm": 2.0, "n4": False}
    assert head_reasons(brain, {"skull_stripped": True, "prepared": same}) == []
    (other,) = head_reasons(brain, {"skull_stripped": True, "prepared": same | {"n4": True}})
    assert "(version 1, spacing_mm 2.0, n4 False) than the training data (version 1, spacing_mm 2.0, n4 True)" in other
    assert head_reasons(head, {"skull_stripped": None, "prepared": None}) == []


def test_no_name_stands_in_what_is_written(prepared: Path) -> None:
    record = (prepared / "90000/prepare.json").read_text()
    assert "90000" not in record
    assert str(prepared) not in record


@pytest.mark.slow
def test_a_template_gives_its_space_and_grid(
    raw: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = nib.load(prepared / "90000/90000_t1ce.nii.gz")
    larger = np.diag([1.08, 1.04, 0.95, 1.0])
    larger[:3, 3] = 12, -7, 5
    template, study, out = tmp_path / "atlas.nii.gz", tmp_path / "90000", tmp_path / "out"
    nib.save(nib.Nifti1Image(np.asanyarray(volume.dataobj), larger @ volume.affine), template)
    shutil.copytree(raw / "train/90000/T1wCE", study / "T1wCE")
    words = ["prepare", str(study), "--out", str(out), "--workers", "1"]

    assert main([*words, "--template", str(template)]) == 0
    made = nib.load(out / "90000/90000_t1ce.nii.gz")
    assert made.shape == volume.shape  # axial, whatever the template's spacing says
    assert np.allclose(made.affine, larger @ volume.affine, atol=1e-5)
    way = sitk.ReadTransform(str(out / "90000/transforms/t1ce.tfm"))
    flip = np.diag([-1.0, -1, 1, 1])
    inside = np.argwhere(np.asanyarray(volume.dataobj) > 0)[::5000]
    for index in inside:
        head = flip @ volume.affine @ [*index, 1]
        at = flip @ made.affine @ [*index, 1]
        assert np.linalg.norm(np.subtract(way.TransformPoint(at[:3].tolist()), head[:3])) < 1.0
    assert json.loads((out / "90000/prepare.json").read_text())["template"]["overlap"] > 0.95
    assert "checkerboard with the template" in (out / "90000/report.html").read_text()

    assert main(words) == 1
    assert "other settings, which would be lost" in capsys.readouterr().err
    assert main([*words, "--template", str(template), "--spacing", "2"]) == 2


def test_a_bundle_takes_the_template_of_its_training_data_alone(
    flair_bundle: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "mgmt_flair"
    shutil.copytree(flair_bundle, bundle)
    how = {"version": 1, "spacing_mm": 2.0, "n4": False, "template": "a" * 64}
    (bundle / "configs/metadata.json").write_text(json.dumps({"training": {"skull_stripped": True, "prepared": how}}))
    words = ["predict", str(prepared / "90000"), "--bundle", str(bundle), "--out", str(tmp_path / "out"), "--prepare"]
    for given, found in (([], "none"), (["--template", str(prepared / "90000/90000_t1ce.nii.gz")], "one with SHA-256")):
        assert main([*words, *given]) == 1
        assert f"that of the training data, one with SHA-256 aaaaaaaaaaaa, found {found}" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


@pytest.mark.slow
def test_predict_prepares_a_raw_study_first(
    raw: Path, flair_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study" / "90000"
    shutil.copytree(raw / "train/90000/FLAIR", study / "FLAIR")
    bundle = tmp_path / "mgmt_flair"
    shutil.copytree(flair_bundle, bundle)
    how = {"version": 1, "spacing_mm": 2.0, "n4": False}
    (bundle / "configs/metadata.json").write_text(json.dumps({"training": {"skull_stripped": True, "prepared": how}}))
    words = ["predict", str(study), "--bundle", str(bundle), "--out"]
    assert main([*words, str(tmp_path / "plain")]) == 0
    assert "abstains: not skull-stripped: use --prepare" in capsys.readouterr().out
    words += [str(tmp_path), "--prepare"]
    assert main(words) == 0
    said = json.loads((tmp_path / "90000/prediction.json").read_text())["series"][0]
    assert 0 <= said["probability"] <= 1
    assert said["n_slices"] == 78  # of the common space at 2 mm, as the training data, not of the scanner
    volume = tmp_path / "90000/prepared/90000/90000_flair.nii.gz"
    before = volume.stat().st_mtime_ns
    assert main(words) == 0
    assert volume.stat().st_mtime_ns == before
    (tmp_path / "90000/prediction.html").unlink()
    capsys.readouterr()
    assert main(words) == 1
    assert "there is another result already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--mask", "no/such.nii.gz"], "no such file"),
        (["--series", "T1w=no/such"], "no such T1w series"),
        (["--spacing", "9"], "expected 0.3 to 5 mm, found 9"),
    ],
)
def test_bad_input_is_one_line(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    study = raw / "train/90001"
    assert main(["prepare", str(study), "--out", str(tmp_path / "out"), *words]) == 1
    shown = capsys.readouterr().err
    assert told in shown
    assert "Traceback" not in shown
    assert not list((tmp_path / "out").glob("90001"))


def test_a_mask_without_its_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((90, 90, 20), np.uint8), np.eye(4)), path)
    with pytest.raises(PreparationError, match=r"mask .*: expected a volume of at least 60 mm a side, found 20 mm"):
        read_mask(path)


@pytest.mark.slow
def test_a_ray_cluster_prepares_the_same(
    raw: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mgmt_monai[ray]'")
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", str(raw), "--batch", "--out", "ray", "--spacing", "2", "--ray", "local"]) == 1
    assert "90001: FLAIR refused" in capsys.readouterr().err
    for path in sorted(prepared.rglob("*.nii.gz")):
        assert (tmp_path / "ray" / path.relative_to(prepared)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        pytest.param(["--batch", "--ray", "127.0.0.1:1"], 1, "no Ray cluster there", id="nobody listens"),
        pytest.param(["--ray", "local"], 2, "--ray is of a cohort", id="one study"),
        pytest.param(["--batch", "--ray", "local", "--workers", "2"], 2, "no --workers", id="workers of the cluster"),
    ],
)
def test_a_cluster_that_cannot_prepare_is_told_before_anything_is_written(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, told: str
) -> None:
    assert main(["prepare", str(raw), "--out", str(tmp_path / "out"), *words]) == code
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
