import csv
import json
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import SimpleITK

from mgmt_monai.phantom import PhantomError, write_phantom
from mgmt_monai.phantom import made_cohort as cohort
from mgmt_monai.phantom.effect import Stream, stream
from mgmt_monai.phantom.made_cohort import plan_patient

N_PATIENTS = 2
SEED = 2
MODALITIES = ["FLAIR", "T1w", "T1wCE", "T2w"]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("phantom") / "made", N_PATIENTS, 3.0, SEED, workers=1)


def _all_series():
    return [
        pytest.param(index, series, id=f"{90000 + index}-{series.modality}")
        for index in range(N_PATIENTS)
        for series in plan_patient(index, SEED).series
    ]


def _files(phantom, index, series):
    """Files of a series in geometric order, found by an independent reader."""
    folder = str(phantom / "train" / str(90000 + index) / series.modality)
    return SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(folder)


def _stack(phantom, index, series):
    return np.stack([pydicom.dcmread(name).pixel_array for name in _files(phantom, index, series)])


def test_folder_holds_kaggles_layout(phantom):
    assert sorted(path.name for path in phantom.iterdir()) == ["train", "train_labels.csv", "truth.json"]
    patients = sorted(path.name for path in (phantom / "train").iterdir())
    assert patients == ["90000", "90001"]
    for patient in patients:
        assert sorted(path.name for path in (phantom / "train" / patient).iterdir()) == MODALITIES


def test_label_file_agrees_with_truth(phantom):
    with (phantom / "train_labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    truth = json.loads((phantom / "truth.json").read_text())
    assert rows[0] == ["BraTS21ID", "MGMT_value"]
    assert rows[1:] == [[patient["patient_id"], str(patient["label"])] for patient in truth["patients"]]
    assert sorted(row[1] for row in rows[1:]) == ["0", "1"]


def test_truth_names_effect_seed_and_reachable_auc(phantom):
    truth = json.loads((phantom / "truth.json").read_text())
    assert (truth["effect"], truth["seed"], truth["n_patients"]) == (3.0, SEED, N_PATIENTS)
    assert truth["reachable_auc"] == pytest.approx(0.98305, abs=1e-5)  # Phi(2.12132), from a normal table


@pytest.mark.parametrize("index, series", _all_series())
def test_series_reads_in_simpleitk_as_planned(phantom, index, series, capfd):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(_files(phantom, index, series))
    image = reader.Execute()
    assert image.GetSize() == (series.columns, series.rows, series.n_slices)
    assert image.GetPixelID() == SimpleITK.sitkUInt16
    spacing = (series.pixel_spacing_mm, series.pixel_spacing_mm, series.slice_spacing_mm)
    np.testing.assert_allclose(image.GetSpacing(), spacing, atol=1e-4)
    np.testing.assert_allclose(image.GetOrigin(), series.origin_mm, atol=1e-4)
    normal = np.cross(series.row_direction, series.column_direction)
    direction = np.stack([series.row_direction, series.column_direction, normal], axis=1)
    np.testing.assert_allclose(image.GetDirection(), direction.ravel(), atol=1e-5)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("index, series", _all_series())
def test_file_numbers_follow_the_plan_in_geometric_order(phantom, index, series):
    names = [f"Image-{number}.dcm" for number in series.numbers]
    assert [name.rsplit("/", 1)[-1] for name in _files(phantom, index, series)] == names


@pytest.mark.parametrize("index, series", _all_series())
def test_series_has_blank_slices_at_both_ends_and_a_dark_frame(phantom, index, series):
    pixels = _stack(phantom, index, series)
    brain = pixels.any(axis=(1, 2))
    first, last = np.flatnonzero(brain)[[0, -1]]
    assert first >= 1 and last <= len(pixels) - 2
    assert brain[first : last + 1].all()
    frame = np.ones(pixels.shape[1:], dtype=bool)
    frame[1:-1, 1:-1] = False
    assert not pixels[:, frame].any()  # the whole head is in view


@pytest.mark.parametrize("index, series", _all_series())
def test_middle_slices_cut_the_tumour(phantom, index, series):
    truth = json.loads((phantom / "truth.json").read_text())["patients"][index]
    normal = np.cross(series.row_direction, series.column_direction)
    along = [
        np.dot(np.array(truth["tumour_centre_mm"]) - pydicom.dcmread(name).ImagePositionPatient, normal)
        for name in _files(phantom, index, series)
    ]
    n_kept = max(1, round(0.2 * len(along)))
    start = (len(along) - n_kept) // 2
    cut = np.abs(along[start : start + n_kept]) < 0.8 * truth["tumour_radius_mm"]
    assert cut.mean() >= 0.5


def test_truth_tumour_centre_is_the_enhancing_region(phantom):
    """In T1wCE nothing but the rim reaches 1.8 times the median: its centroid is the tumour's centre."""
    truth = json.loads((phantom / "truth.json").read_text())["patients"]
    for index, patient in enumerate(truth):
        series = plan_patient(index, SEED).series[MODALITIES.index("T1wCE")]
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(_files(phantom, index, series))
        image = reader.Execute()
        pixels = SimpleITK.GetArrayFromImage(image)
        bright = np.argwhere(pixels > 1.8 * np.median(pixels[pixels > 0]))
        centroid = image.TransformContinuousIndexToPhysicalPoint(bright.mean(axis=0)[::-1].tolist())
        np.testing.assert_allclose(centroid, patient["tumour_centre_mm"], atol=4.0)


def test_headers_are_mr_image_storage_of_nobody(phantom):
    uids = set()
    paths = sorted(phantom.rglob("*.dcm"))
    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert header.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert header.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4"
        assert (header.Modality, header.PhotometricInterpretation) == ("MR", "MONOCHROME2")
        assert (header.BitsAllocated, header.PixelRepresentation) == (16, 0)
        assert (header.PatientID, header.SeriesDescription) == (path.parts[-3], path.parts[-2])
        assert path.name == f"Image-{header.InstanceNumber}.dcm"
        assert not header.PatientName and not header.PatientBirthDate
        assert header.SOPInstanceUID.is_valid and header.SeriesInstanceUID.is_valid
        uids.add(header.SOPInstanceUID)
    assert len(uids) == len(paths)


def test_written_elements_are_in_order_of_their_tags(phantom):
    for path in (phantom / "train" / "90000" / "T2w").iterdir():
        tags = [element.tag for element in pydicom.dcmread(path)]
        assert tags == sorted(set(tags))


def test_result_is_the_same_with_two_workers(phantom, tmp_path):
    other = write_phantom(tmp_path / "other", N_PATIENTS, 3.0, SEED, workers=2)
    names = sorted(path.relative_to(phantom) for path in phantom.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    for name in names:
        assert (phantom / name).read_bytes() == (other / name).read_bytes(), name


def test_planes_and_matrices_and_numberings_are_mixed():
    series = [one for index in range(20) for one in plan_patient(index, 0).series]
    assert {one.plane for one in series} == {"axial", "coronal", "sagittal"}
    assert len({(one.rows, one.columns) for one in series}) > 5
    assert any(one.rows != one.columns for one in series)
    assert any(list(one.numbers) == sorted(one.numbers) for one in series)
    assert any(list(one.numbers) == sorted(one.numbers, reverse=True) for one in series)
    assert {min(one.numbers) == 1 for one in series} == {True, False}
    assert all(20 <= one.n_slices <= 40 for one in series)


@pytest.mark.parametrize(
    ("n_patients", "effect", "seed", "workers", "named"),
    [
        (1, 3.0, 0, 1, "patients"),
        (2, -0.1, 0, 1, "effect"),
        (2, float("nan"), 0, 1, "effect"),
        (2, 3.0, -1, 1, "seed"),
        (2, 3.0, 0, 0, "worker"),
    ],
    ids=["one_patient", "negative_effect", "nan_effect", "negative_seed", "no_worker"],
)
def test_argument_out_of_range_is_refused(tmp_path, n_patients, effect, seed, workers, named):
    with pytest.raises(PhantomError, match=named) as caught:
        write_phantom(tmp_path / "made", n_patients, effect, seed, workers)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"effects": {"T1": 1.0}}, "'T1'"),
        ({"effects": {"T1w": -1.0}}, "effects of 0 or more"),
        ({"effects": {"T1w": 1.0}, "shared": 1.0}, "0 to below 1"),
        ({"effects": {"T1w": 1.0}, "shared": float("nan")}, "0 to below 1"),
        ({"missing": {"PD": (0.1, 0.1)}}, "'PD'"),
        ({"missing": {"T1w": (0.1, 1.1)}}, "0 to 1"),
        ({"missing": {"T1w": (0.1, float("nan"))}}, "0 to 1"),
        ({"missing": dict.fromkeys(MODALITIES, (0.1, 0.1))}, "one modality that no patient lacks"),
    ],
)
def test_effects_and_missing_series_that_cannot_be_are_refused(tmp_path, asked, named):
    with pytest.raises(PhantomError, match=named):
        write_phantom(tmp_path / "made", 2, 3.0, 0, workers=1, **asked)
    assert list(tmp_path.iterdir()) == []


def test_each_modality_shows_its_own_latent_value_and_missing_series_are_not_there(phantom, tmp_path):
    made = write_phantom(
        tmp_path / "made", N_PATIENTS, 0.0, SEED, 1, effects={"T1w": 3.0}, missing={"FLAIR": (0.0, 1.0)}
    )
    truth = json.loads((made / "truth.json").read_text())
    assert truth["reachable_auc_of"] == {"FLAIR": 0.5, "T1w": truth["reachable_auc"], "T1wCE": 0.5, "T2w": 0.5}
    assert truth["reachable_auc"] == pytest.approx(0.98305, abs=1e-5)
    for patient in truth["patients"]:
        there = [name for name in MODALITIES if name != "FLAIR" or not patient["label"]]
        assert sorted(path.name for path in (made / "train" / patient["patient_id"]).iterdir()) == there
        assert list(patient["series"]) == there
        assert len({series["latent"] for series in patient["series"].values()}) == len(there)
    # Of the same seed, and so the same in all but the tumour's look.
    index = next(number for number, patient in enumerate(truth["patients"]) if not patient["label"])
    for series in plan_patient(index, SEED).series:
        one, other = (_stack(cohort_dir, index, series) for cohort_dir in (phantom, made))
        assert one.shape == other.shape and 0 < (one != other).mean() < 0.2


def test_missing_is_drawn_by_class_and_not_by_effect():
    patients = range(2000)
    draws = np.array([stream(0, Stream.MISSING, index, 0).random() for index in patients])
    assert np.mean(draws < 0.3) == pytest.approx(0.3, abs=0.03)


def test_folder_in_use_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(PhantomError, match="new or empty folder"):
        write_phantom(tmp_path, 2, 3.0, 0, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "made").write_text("a file")
    with pytest.raises(PhantomError, match="found a file"):
        write_phantom(tmp_path / "made", 2, 3.0, 0, workers=1)


def test_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(PhantomError, match="cannot be written"):
        write_phantom(tmp_path / "file" / "made", 2, 3.0, 0, workers=1)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=type)
def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch, failure):
    def stop(folder, headers, pixels):
        folder.mkdir(parents=True)
        (folder / "Image-1.dcm").write_bytes(b"half")
        raise failure

    monkeypatch.setattr(cohort, "write_series", stop)
    expected = PhantomError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_phantom(tmp_path / "made", 2, 3.0, 0, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_empty_folder_is_filled(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "write_patient", lambda train_dir, index, *others: {"patient_id": str(index)})
    (tmp_path / "made").mkdir()
    write_phantom(tmp_path / "made", 2, 0.0, 0, workers=1)
    assert (tmp_path / "made" / "truth.json").is_file()


def test_phantom_of_a_script_without_a_file_of_its_own(tmp_path):
    """A here-document: no other process can import what it is."""
    code = "import sys, mgmt_monai\nmgmt_monai.write_phantom(sys.argv[1], 2, effect=0, seed=0, workers=2)"
    ran = subprocess.run(
        [sys.executable, "-", str(tmp_path / "made")], input=code, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "made/train").iterdir())) == 2
