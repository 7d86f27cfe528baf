import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from mgmt_monai.cohort.examination import content
from mgmt_monai.cohort.examination import examine as examine_module
from mgmt_monai.cohort.examination.content import read_content
from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.files import headers, pixels
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.records import SeriesRecord
from mgmt_monai.machine import MachineError

D2N = "dicom/dicom2nifti/tests/data"
REAL_SERIES = {  # folder: how many slices show anatomy, how many phase
    "dicom/GE_T1w": (196, 0),
    "dicom/papaya_FSE_PD_axial": (20, 0),
    f"{D2N}/ge/anatomical/001": (4, 0),
    f"{D2N}/ge/anatomical/001_implicit": (4, 0),
    f"{D2N}/ge/anatomical/001_single_slice": (1, 0),
    f"{D2N}/generic/anatomical/001": (4, 0),
    f"{D2N}/generic/anatomical/001_implicit": (4, 0),
    f"{D2N}/generic/anatomical/002_non_isotropic": (4, 0),
    f"{D2N}/generic/compressed/001": (4, 0),
    f"{D2N}/generic/compressed_j2k/001": (4, 0),
    f"{D2N}/generic/compressed_jpeg/001": (4, 0),
    f"{D2N}/generic/compressed_jpegls/001": (4, 0),
    f"{D2N}/generic/compressed_rle/001": (4, 0),
    f"{D2N}/hitachi/anatomical/001": (4, 0),
    f"{D2N}/hitachi/anatomical/001_implicit": (4, 0),
    f"{D2N}/hyperfine/anatomical/001": (8, 0),
    f"{D2N}/philips/anatomical/001": (4, 0),
    f"{D2N}/philips/anatomical/001_implicit": (4, 0),
    f"{D2N}/philips/anatomical/002": (4, 4),
    f"{D2N}/siemens/anatomical/001": (4, 0),
    f"{D2N}/siemens/anatomical/001_implicit": (4, 0),
}
ORIENTATIONS = {
    "axial": np.eye(3),
    "coronal": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T,
    "sagittal": np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]).T,
    "oblique": Rotation.from_euler("xyz", [40, 35, 10], degrees=True).as_matrix(),
}
THREE = {f"{i}.dcm": {"position": (0, 0, 2 * i)} for i in range(3)}


def exam_of(folder: FoundSeries, pixels: bool = False) -> SeriesExam:
    return examine_series(folder, folder.directory.parents[2], pixels)


def record_of(folder: FoundSeries) -> SeriesRecord:
    record = exam_of(folder).record
    assert record is not None
    return record


def error_of(folder: FoundSeries) -> str:
    exam = exam_of(folder)
    assert exam.record is None
    (line,) = [finding.line for finding in exam.findings if finding.kind.severity == "error"]
    assert line.startswith("patient 00042, T1w: train/00042/T1w")
    assert "\n" not in line
    return line


def gdcm_order(directory: Path) -> list[str]:
    """The files as GDCM, another implementation, sorts them by position."""
    return [Path(name).name for name in SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(directory))]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_order_of_shuffled_names_equals_gdcms(make_folder, name):
    rotation = ORIENTATIONS[name]
    normal = rotation[:, 2]
    shuffled = np.random.default_rng(3).permutation(9)
    slices = {
        f"Image-{number}.dcm": {"position": tuple(np.round(10 - 35 * normal + 4.0 * index * normal, 6))}
        for index, number in enumerate(shuffled)
    }
    folder = make_folder(
        slices, ImageOrientationPatient=list(np.round(rotation[:, :2].T.ravel(), 6)), SeriesInstanceUID="1.2.3"
    )
    series = record_of(folder)
    assert series.files == [f"Image-{number}.dcm" for number in shuffled]
    assert series.files == gdcm_order(folder.directory)
    assert series.plane == name
    assert series.slice_spacing_mm == pytest.approx(4.0, abs=1e-4)
    assert (series.rows, series.columns, series.pixel_spacing_mm, series.gaps) == (4, 6, [0.5, 0.75], [])


def test_single_slice_needs_no_geometry(make_folder):
    folder = make_folder({"a.dcm": {"ImagePositionPatient": None, "ImageOrientationPatient": None}})
    series = record_of(folder)
    assert (series.files, series.plane, series.slice_spacing_mm) == (["a.dcm"], "unknown", None)


def test_missing_slices_are_gaps(make_folder):
    locations = [0, 2, 4, 10, 12, 16, 18]
    series = record_of(make_folder({f"{z}.dcm": {"position": (0, 0, z)} for z in locations}))
    assert series.gaps == [[2, 2], [4, 1]]
    assert series.slice_spacing_mm == 2


def test_names_with_spaces_and_other_letters(make_folder):
    series = record_of(make_folder({"große Schicht.dcm": {"position": (0, 0, 3)}, "影像 1": {}}))
    assert series.files == ["影像 1", "große Schicht.dcm"]


def test_name_that_is_not_utf8(make_folder):
    name = os.fsdecode(b"\xff.dcm")
    folder = make_folder({"b.dcm": {"position": (0, 0, 3)}, "a.dcm": {}})
    (folder.directory / "b.dcm").rename(folder.directory / name)
    series = record_of(folder)
    assert series.files == ["a.dcm", name]
    assert len(series.fingerprint) == 64


def test_hidden_files_are_passed_over(make_folder):
    folder = make_folder(THREE)
    (folder.directory / ".DS_Store").write_bytes(b"x")
    assert len(record_of(folder).files) == 3


def test_frames_out_of_order_are_put_in_order(make_enhanced, make_folder):
    folder = make_folder({})
    make_enhanced(folder.directory / "all.dcm", [(0, 0, z) for z in (6, 0, 4, 2)])
    series = record_of(folder)
    assert (series.files, series.frames) == (["all.dcm"], [1, 3, 2, 0])
    assert (series.slice_spacing_mm, series.plane, series.pixel_spacing_mm) == (2, "axial", [0.5, 0.75])


def test_phase_frames_beside_magnitude_are_passed_over(make_enhanced, make_folder):
    folder = make_folder({})
    positions = [(0, 0, 2), (0, 0, 2), (0, 0, 0), (0, 0, 0)]
    make_enhanced(folder.directory / "all.dcm", positions, ["PHASE", "MAGNITUDE", "MAGNITUDE", "PHASE"])
    series = record_of(folder)
    assert (series.frames, series.phase_images) == ([2, 1], 2)


def test_phase_files_beside_magnitude_are_passed_over(make_folder):
    phase = {f"p{name}": {**own, "ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]} for name, own in THREE.items()}
    series = record_of(make_folder(THREE | phase))
    assert (series.files, series.phase_images) == (["0.dcm", "1.dcm", "2.dcm"], 3)


def test_phase_alone_is_the_series(make_folder):
    series = record_of(make_folder(THREE, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]))
    assert (len(series.files), series.phase_images) == (3, 0)


@pytest.mark.parametrize("slope", ["nan ", "inf ", "1e400 "])
def test_same_rescale_that_is_no_number_is_no_difference(make_folder, slope):
    folder = make_folder(THREE, RescaleSlope="1.25" if len(slope) == 4 else "1.2345", RescaleIntercept="0")
    for path in folder.directory.iterdir():
        content = path.read_bytes()
        old = b"1.25" if len(slope) == 4 else b"1.2345"
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, slope.encode()))
    assert "D025" not in [finding.id for finding in exam_of(folder).findings]


def test_headers_are_read_once_for_tags_and_pixels(make_folder, monkeypatch):
    folder = make_folder({"b.dcm": {"position": (0, 0, 0)}, "a.dcm": {"position": (0, 0, 2)}})
    expected = read_content([folder.directory / "b.dcm", folder.directory / "a.dcm"], None).digests
    monkeypatch.setattr(pixels, "read_tags", None)
    assert exam_of(folder, pixels=True).content.digests == expected


@pytest.mark.parametrize("n_frames", [1, 3])
def test_pixels_of_an_enhanced_image_are_those_of_its_file(make_folder, make_enhanced, n_frames):
    folder = make_folder({})
    path = make_enhanced(folder.directory / "all.dcm", [(0, 0, 2.0 * i) for i in range(n_frames)])
    frames = list(range(n_frames)) if n_frames > 1 else None
    assert exam_of(folder, pixels=True).content == read_content([path], frames)


def test_fingerprint_changes_with_an_instance_alone(make_folder):
    before = record_of(make_folder(THREE)).fingerprint
    assert record_of(make_folder(THREE)).fingerprint == before
    after = record_of(make_folder({"1.dcm": {**THREE["1.dcm"], "SOPInstanceUID": "1.2.3"}})).fingerprint
    assert after != before


def test_fingerprint_and_study_of_single_slices_as_documented(make_folder):
    slices = {
        "b.dcm": {"position": (0, 0, 0), "SOPInstanceUID": "1.2.4"},
        "a.dcm": {"position": (0, 0, 2), "SOPInstanceUID": "1.2.3"},
    }
    folder = make_folder(slices, StudyInstanceUID="1.2.99")
    sizes = {name: (folder.directory / name).stat().st_size for name in slices}
    shown = "\0\0\0MONOCHROME2\0\0\n"
    text = f"b.dcm\0None\0{sizes['b.dcm']}\x001.2.4{shown}a.dcm\0None\0{sizes['a.dcm']}\x001.2.3{shown}"
    record = record_of(folder)
    assert record.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    assert record.study == hashlib.sha256(b"1.2.99").hexdigest()[:12]


def test_fingerprint_of_a_multi_frame_file_as_documented(make_enhanced, make_folder):
    folder = make_folder({})
    path = make_enhanced(folder.directory / "all.dcm", [(0, 0, 2), (0, 0, 0)])
    size, uid = path.stat().st_size, pydicom.dcmread(path).SOPInstanceUID
    shown = "\0\0\0MONOCHROME2\0\0\n"
    text = f"all.dcm\x001\0{size}\0{uid}{shown}all.dcm\x000\0{size}\0{uid}{shown}"  # frame 1 lies below frame 0
    assert record_of(folder).fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_fingerprint_holds_the_rescale_and_older_manifests_fit(make_folder):
    folder = make_folder({"a.dcm": {"SOPInstanceUID": "1.2.3"}}, RescaleSlope="2", RescaleIntercept="0")
    before = f"a.dcm\0None\0{(folder.directory / 'a.dcm').stat().st_size}\x001.2.3"
    exam = exam_of(folder)
    assert exam.before == hashlib.sha256(f"{before}\n".encode()).hexdigest()
    assert exam.record.fingerprint == hashlib.sha256(f"{before}\x002\x000\0MONOCHROME2\0\0\n".encode()).hexdigest()


def test_fingerprint_of_a_nifti_file_holds_its_scaling(tmp_path):
    path = tmp_path / "p_t1.nii"
    volume = nibabel.Nifti1Image(np.ones((4, 6, 9), np.int16), np.eye(4))
    fingerprints = set()
    for slope in (1, 2, 3):
        volume.header.set_slope_inter(slope, 0)
        volume.to_filename(path)
        exam = exam_of(FoundSeries("00042", "T1w", path.parent, (path.name,), "file name _t1"))
        fingerprints |= {exam.record.fingerprint, exam.before}
    assert len(fingerprints) == 4


def test_fingerprint_of_a_nifti_file_as_documented(tmp_path):
    path = tmp_path / "train/00042/T1w/p_t1.nii"
    path.parent.mkdir(parents=True)
    nibabel.Nifti1Image(np.ones((4, 6, 9), np.int16), np.diag([-1.0, -1.0, 2.0, 1.0])).to_filename(path)
    record = record_of(FoundSeries("00042", "T1w", path.parent, ("p_t1.nii",), "file name _t1"))
    affine = "[[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]]"
    text = f"p_t1.nii\0{path.stat().st_size}\0{affine}\x001.0\x000.0\n"
    assert (record.fingerprint, record.study) == (hashlib.sha256(text.encode()).hexdigest(), "")


@pytest.mark.parametrize(
    ("slices", "file", "expected"),
    [
        pytest.param(
            {"3.dcm": {"shape": (5, 6), "position": (0, 0, 6)}},
            "3.dcm",
            "expected 4 x 6 pixels as in 0.dcm, found 5 x 6",
            id="size",
        ),
        pytest.param(
            {"3.dcm": {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}},
            "3.dcm",
            "expected the orientation of 0.dcm, found another in 1 file: mixed orientations",
            id="orientation",
        ),
        pytest.param(
            {"3.dcm": {"position": (9, 9, 2.001)}},
            "3.dcm",
            "expected one slice a position, found 1.dcm at the same position (2.00 mm), 1 such pair: duplicate slices",
            id="duplicate position",
        ),
        pytest.param(
            {"3.dcm": {"ImagePositionPatient": None}}, "3.dcm", "found no ImagePositionPatient", id="no position"
        ),
        pytest.param(
            {"3.dcm": {"ImageOrientationPatient": None}}, "3.dcm", "found no ImageOrientationPatient", id="no direction"
        ),
        pytest.param(
            {"3.dcm": {"position": (0, 0, 1e300)}},
            "3.dcm",
            "expected an ImagePositionPatient within 10000 mm, found [0.0, 0.0, 1e+300]",
            id="position far off",
        ),
        pytest.param(
            {f"{i}.dcm": {**THREE[f"{i}.dcm"], "ImageOrientationPatient": [0, 0, 0, 0, 0, 0]} for i in range(3)},
            "0.dcm",
            "expected an ImageOrientationPatient of two unit vectors at right angles, found [0.0, 0.0",
            id="no normal",
        ),
    ],
)
def test_series_refused(make_folder, slices, file, expected):
    folder = make_folder(THREE | slices)
    message = error_of(folder)
    assert f"train/00042/T1w/{file}: " in message
    assert expected in message


def test_duplicate_of_the_same_name_is_named_with_its_folder(make_folder):
    folder = make_folder(THREE)
    for export in ("first", "second"):
        (folder.directory / export).mkdir()
        shutil.copy(folder.directory / "1.dcm", folder.directory / export)
    both = replace(folder, files=("first/1.dcm", "second/1.dcm"))
    assert "found first/1.dcm at the same position (2.00 mm)" in findings_of(both)["D009"]


@pytest.mark.parametrize("kept", [0, 100, 130, 400, -100, -1])
def test_truncated_file_refused(make_folder, kept):
    folder = make_folder(THREE)
    path = folder.directory / "1.dcm"
    path.write_bytes(path.read_bytes()[:kept])
    assert "train/00042/T1w/1.dcm: expected a DICOM slice, found " in error_of(folder)


def test_other_file_in_the_series_refused(make_folder):
    folder = make_folder(THREE)
    (folder.directory / "other.dat").write_bytes(b"no image")
    assert (
        "other.dat: expected a DICOM slice, found not a DICOM file: unreadable file (D001). Replace the file"
        in error_of(folder)
    )


def test_multi_frame_file_with_company_refused(make_folder, make_enhanced):
    folder = make_folder(THREE)
    make_enhanced(folder.directory / "all.dcm", [(0, 0, 0), (0, 0, 2)])
    assert "all.dcm: expected a multi-frame file alone, found 4 files" in error_of(folder)


def test_empty_series_refused(make_folder):
    folder = make_folder({})
    (folder.directory / ".DS_Store").touch()
    assert "T1w: expected DICOM files, found an empty series" in error_of(folder)


def test_folder_in_the_series_refused(make_folder):
    folder = make_folder(THREE)
    (folder.directory / "more").mkdir()
    assert "more: expected a file of the series, found a folder" in error_of(folder)


@pytest.mark.parametrize("target", ["loop.dcm", "absent.dcm"], ids=["loop", "broken"])
def test_link_to_nowhere_in_the_series_refused(make_folder, target):
    folder = make_folder(THREE)
    (folder.directory / "loop.dcm").symlink_to(folder.directory / target)
    assert "loop.dcm: expected a file of the series, found a link to nowhere" in error_of(folder)


def test_pipe_in_the_series_refused(make_folder):
    folder = make_folder(THREE)
    os.mkfifo(folder.directory / "pipe")
    assert "pipe: expected a file of the series, found no regular file" in error_of(folder)


def test_series_that_is_a_file_refused(tmp_path):
    path = tmp_path / "train/00042/T1w"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    message = error_of(FoundSeries("00042", "T1w", path, None, "folder T1w"))
    assert "T1w: expected a folder of DICOM files, found it unreadable (Not a directory)" in message


def test_file_without_the_right_to_read_is_no_finding(make_folder, monkeypatch):
    folder = make_folder(THREE)

    def forbidden(path):  # a mode would not stop the superuser, who runs many tests
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(examine_module, "read_headers", forbidden)
    with pytest.raises(MachineError, match=r"T1w/.+: Permission denied; the machine is at fault, not the file: give"):
        examine_series(folder, folder.directory, pixels=True)


@pytest.mark.parametrize("kind", ["files", "frames", "NIfTI"])
def test_header_is_read_once_for_headers_and_pixels(make_folder, make_enhanced, tmp_path, monkeypatch, kind):
    directory = tmp_path / "data/00001/T1w"
    directory.mkdir(parents=True)
    if kind == "NIfTI":
        volume = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), directory / "a.nii.gz")
    elif kind == "frames":
        make_enhanced(directory / "a.dcm", [(0, 0, 0), (0, 0, 2)])
    found = make_folder(THREE) if kind == "files" else FoundSeries("00001", "T1w", directory, None, "folder T1w")
    n_read: Counter[str] = Counter()
    readers = {headers: "read_tags", pixels: "read_tags", examine_module: "read_nifti", content: "read_nifti"}
    for module, reader in readers.items():
        really = getattr(module, reader)

        def counted(path, really=really):
            n_read[path.name] += 1
            return really(path)

        monkeypatch.setattr(module, reader, counted)
    assert examine_series(found, found.directory.parents[1], True).content is not None
    assert set(n_read.values()) == {1}


@pytest.mark.parametrize("folder", REAL_SERIES)
def test_real_series_in_independent_order(shared_data, folder):
    directory = shared_data / folder
    series = record_of(FoundSeries("real", "T1w", directory, None, "folder"))
    along_normal = {}
    for path in directory.iterdir():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        row, column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
        normal = np.cross(row, column)
        frames = header.get("PerFrameFunctionalGroupsSequence")
        for index, place in (
            enumerate(frame.PlanePositionSequence[0] for frame in frames) if frames else [(None, header)]
        ):
            if "SW_P" not in header.ImageType:  # how Philips marks the phase in the one series that has it
                along_normal[path.name, index] = np.dot(normal, np.array(place.ImagePositionPatient, dtype=float))
    expected = sorted(along_normal, key=along_normal.get)
    assert (len(expected), series.phase_images) == REAL_SERIES[folder]
    if series.frames is None:
        assert [(name, None) for name in series.files] == expected
    else:
        assert [(series.files[0], frame) for frame in series.frames] == expected


def test_real_series_are_all_listed(shared_data):
    folders = {path.parent.relative_to(shared_data).as_posix() for path in (shared_data / "dicom").rglob("*.dcm")}
    assert folders == set(REAL_SERIES)


def nifti_findings(path: Path, codes: tuple[int, int], n_slices: int = 9) -> list[tuple[str, str]]:
    """What is told of a volume whose qform and sform point elsewhere, with these codes."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_qform(np.diag([1.0, -1.0, 5.0, 1.0]), code=codes[0])
    header.set_sform(np.diag([-1.0, -1.0, 5.0, 1.0]), code=codes[1])
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, n_slices), np.int16), None, header), path)
    exam = examine_series(FoundSeries("A", "T1w", path.parent, (path.name,), "named"), path.parent, pixels=False)
    return [(finding.id, str(finding.kind.severity)) for finding in exam.findings]


@pytest.mark.parametrize(
    ("codes", "found"),
    [((0, 0), [("D010", "error")]), ((1, 2), [("D050", "warning")]), ((0, 2), []), ((1, 0), [])],
    ids=["neither", "both, elsewhere", "sform", "qform"],
)
def test_place_of_a_nifti_file_by_its_codes(tmp_path, codes, found):
    assert nifti_findings(tmp_path / "a.nii.gz", codes) == found


def plane_notes(
    path: Path, axes: str, spacing_mm: tuple[float, float, float], slice_dim: int | None = None
) -> list[str]:
    """D054 of a volume whose stored axes point so."""
    affine = np.eye(4)
    for column, letter in enumerate(axes):
        affine[:3, column] = {"L": (-1, 0, 0), "P": (0, -1, 0), "I": (0, 0, -1)}.get(letter) or np.eye(3)[
            "RAS".index(letter)
        ]
    image = nibabel.Nifti1Image(np.zeros((9, 10, 11), np.int16), affine @ np.diag([*spacing_mm, 1.0]))
    image.header.set_dim_info(slice=slice_dim)
    nibabel.save(image, path)
    exam = examine_series(FoundSeries("A", "T1w", path.parent, (path.name,), "named"), path.parent, pixels=False)
    notes = [finding.text.split("none, and ")[1][:8] for finding in exam.findings if finding.id == "D054"]
    assert exam.record is not None and (exam.record.plane == "axial" or not notes)
    return notes


@pytest.mark.parametrize(
    ("axes", "spacing_mm", "slice_dim", "told"),
    [
        ("LPS", (1, 1, 1), None, []),
        ("RAI", (1, 1, 1), None, []),
        ("PIL", (1, 1, 1), None, ["sagittal"]),
        ("ASR", (1.0, 1.005, 1.0), None, ["sagittal"]),
        ("LIA", (1, 1, 1), None, ["coronal "]),
        ("PIL", (1, 1, 1), 2, []),
        ("PIL", (1, 1, 1.2), None, []),
        ("LIA", (2, 2, 1), None, []),
    ],
)
def test_plane_that_only_the_order_of_storage_shows_is_told(tmp_path, axes, spacing_mm, slice_dim, told):
    assert plane_notes(tmp_path / "a.nii", axes, spacing_mm, slice_dim) == told


def test_nifti_of_one_slice_needs_no_place(tmp_path):
    assert nifti_findings(tmp_path / "a.nii.gz", (0, 0), n_slices=1) == [("D015", "warning")]


def findings_of(folder: FoundSeries, pixels: bool = False) -> dict[str, str]:
    return {finding.id: finding.text for finding in exam_of(folder, pixels).findings}


TEN = {f"{i}.dcm": {"position": (0, 0, 2 * i)} for i in range(10)}
LAST = {f"{i}.dcm" for i in (7, 8, 9)}


@pytest.mark.parametrize(
    ("own", "finding", "text"),
    [
        ({"PixelSpacing": [1, 0.75]}, "D005", "of 0.5 x 0.75 mm as in 0.dcm, found pixels of 1 x 0.75 mm in 3 slices"),
        ({"PixelSpacing": None}, "D005", "found no PixelSpacing in 3 slices"),
        ({"shape": (2, 3)}, "D005", "expected 4 x 6 pixels as in 0.dcm, found 2 x 3 pixels in 3 slices"),
        ({"SliceThickness": 5}, "D055", "expected one SliceThickness, found 2 to 5 mm"),
        ({"FrameOfReferenceUID": "1.6"}, "D055", "expected one FrameOfReferenceUID, found 2"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "D025", "found MONOCHROME2 and MONOCHROME1"),
    ],
    ids=["spacing", "no spacing", "size", "thickness", "frame of reference", "photometric"],
)  # fmt: skip
def test_slices_at_the_end_of_another_geometry_are_told(make_folder, own, finding, text):
    slices = {name: {"FrameOfReferenceUID": "1.5", **of, **(own if name in LAST else {})} for name, of in TEN.items()}
    found = findings_of(make_folder(slices))
    assert set(found) == {finding}
    assert text in found[finding]


def test_slice_beside_the_stack_is_told_and_a_slanted_stack_is_not(make_folder):
    slanted = {f"{i}.dcm": {"position": (0.9 * i, 0, 2 * i)} for i in range(10)}
    assert findings_of(make_folder(slanted)) == {}
    slanted["4.dcm"] = {"position": (3.6, 1.5, 8)}
    assert "found 4.dcm 1.5 mm off" in findings_of(make_folder(slanted))["D055"]


def test_series_without_pixel_spacing_is_told(make_folder):
    assert "expected a PixelSpacing, found none" in findings_of(make_folder(TEN, PixelSpacing=None))["D055"]


@pytest.mark.parametrize(
    ("step", "attributes", "expected"),
    [
        (2, {"PixelSpacing": [0.001, 0.001]}, "found 0.001 mm"),
        (2, {"PixelSpacing": [100, 100]}, "found 100 mm"),
        (0.05, {}, "found 0.05 mm"),
        (200, {}, "found 200 mm"),
        (20, {"SliceThickness": 2}, "expected slices about 2 mm apart, as thick as they are, found 20 mm"),
    ],
    ids=["metres", "micrometres", "thin", "far", "every tenth slice"],
)
def test_voxels_that_no_head_has_are_told(make_folder, step, attributes, expected):
    stack = {f"{n}.dcm": {"position": (0, 0, step * n)} for n in range(10)}
    assert expected in findings_of(make_folder(stack, **attributes))["D055"]


def write_head(folder: FoundSeries, make_dicom, volume: np.ndarray, **attributes) -> FoundSeries:
    for index, image in enumerate(volume):
        make_dicom(folder.directory / f"{index}.dcm", image, position=(0, 0, 2 * index), **attributes)
    return folder


def made_head(n_slices: int = 12) -> np.ndarray:
    z, y, x = np.mgrid[:n_slices, :40, :32]
    inside = ((y - 20) / 17) ** 2 + ((x - 16) / 13) ** 2 + ((z - n_slices / 2) / n_slices) ** 2 < 1
    return np.where(inside, 500 + 200 * np.sin(x / 3) * np.cos(y / 4) + 30 * np.cos(z), 0).astype(np.uint16)


def step(volume):
    return np.concatenate([volume[:6], volume[6:] * 3])


def one_slice(volume):
    return np.stack([image * (4 if n == 6 else 1) for n, image in enumerate(volume)])


@pytest.mark.parametrize(
    ("change", "finding", "text"),
    [
        (lambda volume: volume, "", ""),
        (step, "D025", "found a step at slice 6 of 12"),
        (one_slice, "D025", "found a step at slice 6 of 12"),
        (lambda volume: volume[[0, 1, 2, 3, 4, 4, 4, 7, 8, 9, 10, 11]], "D055", "found 2 slices with the picture of"),
        (
            lambda volume: np.digitize(volume, [1, 500, 600]).astype(np.uint16),
            "D023",
            "found 4, as of labels or a mask",
        ),
        (lambda volume: volume.reshape(12, 32, 40), "D055", "more alike as rows of 32 pixels"),
        (lambda volume: np.random.default_rng(0).integers(0, 999, volume.shape).astype(np.uint16), "D055", "alike"),
    ],
    ids=["sound", "brighter from here", "one brighter", "repeated", "labels", "rows and columns", "noise"],
)
def test_pictures_that_are_not_of_one_head_are_told(make_folder, make_dicom, change, finding, text):
    found = findings_of(write_head(make_folder({}), make_dicom, change(made_head())), pixels=True)
    assert text in found[finding] if finding else found == {}


def test_slope_of_0_is_told(make_folder):
    assert "found 0, which is taken for 1" in findings_of(make_folder(TEN, RescaleSlope=0, RescaleIntercept=0))["D025"]


@pytest.mark.parametrize(("factor", "is_told"), [(1.0, False), (1.08, False), (1.4, True), (0.7, True)])
def test_every_second_slice_of_another_brightness_is_told(make_folder, make_dicom, factor, is_told):
    volume = made_head()
    volume[1::2] = (volume[1::2] * factor).astype(np.uint16)
    found = findings_of(write_head(make_folder({}), make_dicom, volume), pixels=True)
    assert ("D056" in found) == is_told


def test_bits_above_bits_stored_are_told(make_folder, make_dicom):
    volume = made_head()
    volume[:, :3, :3] |= 0x8000
    found = findings_of(write_head(make_folder({}), make_dicom, volume, BitsStored=12, HighBit=11), pixels=True)
    assert found == {"D027": "expected no bits above BitsStored, found some in 108 pixels, which are cut off"}
    found = findings_of(
        write_head(make_folder({}), make_dicom, made_head() * 9, BitsStored=12, HighBit=11), pixels=True
    )
    assert "claims less than there is" in found["D026"]


@pytest.mark.parametrize("empty", [[0], [11], [1, 2, 9]], ids=["first", "last", "three"])
def test_slices_of_nan_alone_are_told(tmp_path, empty):
    volume = made_head().astype(np.float32)
    volume[empty] = np.nan
    nibabel.save(nibabel.Nifti1Image(volume.T[::-1, ::-1], np.diag([1, 1, 4, 1])), tmp_path / "a.nii.gz")
    exam = examine_series(FoundSeries("P", "T1w", tmp_path, ("a.nii.gz",), "named"), tmp_path, True)
    (text,) = (finding.text for finding in exam.findings if finding.id == "D020")
    assert f"found {len(empty)} of 12 slices blank" in text
    assert f"{len(empty)} all NaN or padding" in text


def test_plain_headers_are_read_without_what_takes_long_to_load(make_folder):
    """Each worker of a scan would wait for it, whatever it reads."""
    folder = make_folder(THREE)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from mgmt_monai.cohort.examination.scan import examine_series\n"
        "from mgmt_monai.cohort.layouts.found import FoundSeries\n"
        "found = FoundSeries('00042', 'T1w', Path(sys.argv[1]), None, 'folder T1w')\n"
        "print(examine_series(found, found.directory, False).record.n_slices)\n"
        "print([name for name in ('nibabel', 'pydicom', 'scipy', 'SimpleITK', 'jsonschema') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", code, str(folder.directory)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "3\n[]\n"
