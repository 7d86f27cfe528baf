import numpy as np
import pytest
from textures import texture

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.layouts import LAYOUTS, find_series, recognise

BRATS = "BraTS2021_00001/BraTS2021_00001_t1.nii.gz"


@pytest.fixture
def make_tree(tmp_path, make_nifti, make_dicom):
    def kaggle():
        (tmp_path / "train/1/T1w").mkdir(parents=True)
        make_dicom(tmp_path / "train/1/T1w/a.dcm", np.zeros((2, 3), np.uint16))

    def dicom():
        make_dicom(tmp_path / "IM1", np.zeros((2, 3), np.uint16), StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")

    def csv():
        (tmp_path / "cohort.csv").write_text("patient_id,label,T1w\n1,0,x\n")

    makers = {
        "rsna-miccai-2021": kaggle,
        "brats-nifti": lambda: make_nifti(BRATS),
        "upenn-gbm": lambda: make_nifti("UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1.nii.gz"),
        "ucsf-pdgm": lambda: make_nifti("UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1.nii.gz"),
        "bids": lambda: make_nifti("sub-01/anat/sub-01_T1w.nii.gz"),
        "folders": lambda: make_nifti("p001/p001_t1.nii.gz"),
        "csv": csv,
        "dicom": dicom,
    }

    def make(*names):
        for name in names:
            makers[name]()
        return tmp_path

    return make


@pytest.mark.parametrize(
    "name", ["rsna-miccai-2021", "brats-nifti", "upenn-gbm", "ucsf-pdgm", "bids", "csv", "dicom", "folders"]
)
def test_each_layout_recognised_alone(make_tree, name):
    assert recognise(make_tree(name)) == name


def test_every_layout_is_tested():
    assert sorted(LAYOUTS) == [
        "bids",
        "brats-nifti",
        "csv",
        "dicom",
        "folders",
        "rsna-miccai-2021",
        "ucsf-pdgm",
        "upenn-gbm",
    ]


@pytest.mark.parametrize("name", ["rsna-miccai-2021", "csv"])
def test_dicom_files_of_another_layout_are_not_a_second_layout(make_tree, name):
    assert recognise(make_tree(name, "dicom")) == name


def test_two_layouts_refused(make_tree):
    with pytest.raises(CohortError, match=r"found rsna-miccai-2021 and csv\. Say with --layout"):
        find_series(make_tree("csv", "rsna-miccai-2021"))


def test_named_layout_settles_it(make_tree):
    found = find_series(make_tree("csv", "rsna-miccai-2021"), "rsna-miccai-2021")
    assert (found.layout, found.labels_file.name) == ("rsna-miccai-2021", "train_labels.csv")


def test_no_layout_recognised(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(CohortError) as caught:
        find_series(tmp_path)
    assert all(f"{name}: " in str(caught.value) for name in LAYOUTS)
    assert "--layout" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_layout_refused(tmp_path):
    with pytest.raises(CohortError, match=r"layout 'analyze': expected one of rsna-miccai-2021, .*--layout"):
        find_series(tmp_path, "analyze")


def test_absent_directory_refused(tmp_path):
    with pytest.raises(CohortError, match=r"absent: no such data directory\. Make the phantom .* layouts") as caught:
        find_series(tmp_path / "absent")
    assert "train/" not in str(caught.value)  # one layout's folders are no advice to those who have another


def test_named_layout_without_series_refused(tmp_path):
    with pytest.raises(CohortError, match=r"as the layout brats-nifti has them .* found none"):
        find_series(tmp_path, "brats-nifti")


def test_patient_without_series_is_a_finding(make_tree):
    data_dir = make_tree("brats-nifti")
    (data_dir / "BraTS2021_00002").mkdir()
    found = find_series(data_dir)
    assert found.patients == {"00001", "00002"}
    assert [(finding.id, finding.patient_id) for finding in found.findings] == [("D035", "00002")]


def test_findings_name_paths_below_the_data_directory(make_tree):
    data_dir = make_tree("brats-nifti")
    (data_dir / "broken link").symlink_to("nowhere")
    assert [finding.path for finding in find_series(data_dir).findings] == ["broken link"]


def test_series_that_is_not_read_is_told_with_its_reason(tmp_path, make_dicom):
    for number, description in ((1, "AX T1"), (2, "AX DWI")):
        folder = tmp_path / f"series {number}"
        folder.mkdir()
        uids = {"SeriesInstanceUID": f"1.2.{number}", "StudyInstanceUID": "1.2", "SeriesNumber": number}
        for index in range(3):
            pixels = texture(f"{number} {index}", (8, 12))
            path = folder / f"{index}.dcm"
            make_dicom(path, pixels, position=(0, 0, index), SeriesDescription=description, PatientID="P1", **uids)
    (finding,) = [finding for finding in find_series(tmp_path, "dicom").findings if finding.id == "D037"]
    assert (finding.patient_id, finding.path) == ("P1", "series 2")
    assert "series 2 is diffusion" in finding.text
    assert "(3 files)" in finding.text


@pytest.mark.parametrize(
    ("files", "pointer", "told"),
    [
        (["sub-01/anat/sub-01_T1w.nii.gz"], "sub-01/anat/sub-01_FLAIR.nii.gz.nextcloud", "a cloud's"),
        (["sub-01/anat/sub-01_T1w.nii.gz"], "sub-01/anat/.sub-01_FLAIR.nii.gz.icloud", "a cloud's"),
        (["sub-01/anat/sub-01_T1w.nii.gz"], "sub-02.dvc", "a DVC"),
        (["sub-01/anat/sub-01_T1w.nii.gz"], "sub-01/dwi/sub-01_dwi.nii.gz.nextcloud", ""),
        (["p1/p1_t1.nii.gz"], "p1/p1_flair.nii.gz.nextcloud", "a cloud's"),
        ([BRATS], "BraTS2021_00001/BraTS2021_00001_flair.nii.gz.dvc", "a DVC"),
        ("kaggle", "train/1/FLAIR.dvc", "a DVC"),
        ("dicom", "P2/FLAIR.dvc", "a DVC"),
        ("dicom", "IM2.dcm.dvc", "a DVC"),
        (["p1/p1_t1.nii.gz", "p1/p1_flair.nii.gz"], "p1/p1_flair.nii.gz.dvc", ""),
        ([BRATS], "BraTS2021_00001/BraTS2021_00001_seg.nii.gz.dvc", ""),
        (["p1/p1_t1.nii.gz"], "p1/report.pdf.dvc", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_not_fetched_is_told_in_every_layout(
    make_tree, make_nifti, make_series, tmp_path, files, pointer, told
):
    if files == "kaggle":
        make_tree("rsna-miccai-2021")
    elif files == "dicom":
        make_series("AX T1", "P1/T1/1", "P1/T1/2")
    else:
        make_nifti(*files)
    (tmp_path / pointer).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / pointer).write_text("outs:\n- md5: a304afb96060aad90176268345e10355\n")
    findings = [one for one in find_series(tmp_path).findings if one.id == "D049"]
    assert [(one.path, f"found {told}" in one.text) for one in findings] == ([(pointer, True)] if told else [])
