import json

import numpy as np
import pytest

from mgmt_monai.cohort.layouts import find_series, folders
from mgmt_monai.cohort.people import People


def chosen(found):
    return {series.modality: "/".join((series.directory.name, series.files[0])) for series in found.series}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["_t1", "_t1ce", "_t2", "_flair"], ["_t1", "_t1ce", "_t2", "_flair"], id="as BraTS"),
        pytest.param(["_t1n", "_t1c", "_t2w", "_t2f"], ["_t1n", "_t1c", "_t2w", "_t2f"], id="as BraTS 2023"),
        pytest.param(
            ["-T1-ohne-KM", "-T1-nach-KM", "-T2-tse", "-tirm"], ["-T1-ohne-KM", "-T1-nach-KM", "-T2-tse", "-tirm"],
            id="as a clinic",
        ),
    ],
)  # fmt: skip
def test_words_of_names_say_the_modality(tmp_path, make_nifti, names, expected):
    make_nifti(*(f"p001/p001{name}.nii.gz" for name in names))
    found = find_series(tmp_path)
    assert found.layout == "folders"
    modalities = ("T1w", "T1wCE", "T2w", "FLAIR")
    wanted = {modality: f"p001/p001{name}.nii.gz" for modality, name in zip(modalities, expected, strict=True)}
    assert (chosen(found), found.findings) == (wanted, [])


def test_name_of_the_patient_says_nothing(tmp_path, make_nifti):
    make_nifti("T2_007/T2_007_t1.nii.gz")
    assert chosen(folders.find(tmp_path)) == {"T1w": "T2_007/T2_007_t1.nii.gz"}


def test_names_of_folders_are_asked_where_the_files_are_silent(tmp_path, make_nifti):
    make_nifti(*(f"p/{modality}/image.nii.gz" for modality in ("T1w", "T1wCE", "T2w", "FLAIR")))
    found = folders.find(tmp_path)
    assert chosen(found) == {modality: f"{modality}/image.nii.gz" for modality in ("T1w", "T1wCE", "T2w", "FLAIR")}
    assert found.findings == []


def test_sidecars_of_dcm2niix(tmp_path, make_nifti):
    make_nifti("p/5_a.nii.gz", "p/6_b.nii.gz", "p/7_c.nii.gz")
    sidecars = {
        "5_a": {"SeriesDescription": "AX T1", "ContrastBolusIngredient": "GADOLINIUM", "SeriesNumber": 5},
        "6_b": {"EchoTime": 0.1, "RepetitionTime": 4.0, "ScanningSequence": "SE"},
        "7_c": {"SeriesDescription": "ep2d_diff_trace", "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION"]},
    }
    for name, told in sidecars.items():
        (tmp_path / f"p/{name}.json").write_text(json.dumps(told))
    found = folders.find(tmp_path)
    assert chosen(found) == {"T1wCE": "p/5_a.nii.gz", "T2w": "p/6_b.nii.gz"}
    assert [item.what for item in found.left_out] == ["7_c.nii.gz"]


def test_near_miss_says_which_word_is_missing(tmp_path, make_nifti):
    make_nifti("p001/p001_t1.nii.gz", "p001/p001_second.nii.gz")
    finding = next(finding for finding in folders.find(tmp_path).findings if finding.id == "D037")
    assert finding.text.startswith("p001_t1.nii.gz: read as T1w; no file of p001 says FLAIR or T1wCE or T2w.")
    assert "p001_second.nii.gz" in finding.text


def test_masks_are_left_out(tmp_path, make_nifti):
    make_nifti("p/t1.nii.gz", "p/t1_brain_mask.nii.gz", "p/t2_seg.nii.gz")
    found = folders.find(tmp_path)
    assert chosen(found) == {"T1w": "p/t1.nii.gz"}
    assert [item.what for item in found.left_out] == ["t1_brain_mask.nii.gz", "t2_seg.nii.gz"]


def test_first_examination_is_taken_whole(tmp_path, make_nifti):
    later = [f"p/2020-03-01/{name}.nii.gz" for name in ("t1", "t2", "flair")]
    make_nifti("p/2019-11-30/t1.nii.gz", "p/2019-11-30/t2.nii.gz", *later)
    found = folders.find(tmp_path)
    assert chosen(found) == {"T1w": "2019-11-30/t1.nii.gz", "T2w": "2019-11-30/t2.nii.gz"}
    assert [finding.id for finding in found.findings] == ["D034"]
    assert len(found.left_out) == 3


def test_hidden_folders_are_no_patients(tmp_path, make_nifti):
    make_nifti("p/t1.nii.gz", ".p/t1.nii.gz")
    assert folders.find(tmp_path).patients == {"p"}


def test_dicom_is_the_folders_patient_and_goes_before_its_nifti_copy(tmp_path, make_nifti, make_dicom):
    make_nifti("p/t1.nii.gz", "p/flair.nii.gz", "q/t1.nii.gz")
    for index in range(2):
        pixels = np.full((4, 6), index, np.uint16)
        uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}
        make_dicom(tmp_path / f"p/{index}.dcm", pixels, (0, 0, index), SeriesDescription="AX T1", **uids)
    found = find_series(tmp_path, "folders")
    assert {(series.patient_id, series.modality, len(series.files)) for series in found.series} == {
        ("p", "FLAIR", 1),
        ("p", "T1w", 2),
        ("q", "T1w", 1),
    }
    assert any("which the DICOM files have" in item.reason for item in found.left_out)


@pytest.mark.parametrize("name", ["{}/t1", "sub-{}/anat/sub-{}_T1w"], ids=["folders", "bids"])
def test_people_of_side_cars_reach_the_check_of_people(tmp_path, make_nifti, name):
    for folder, number in (("p1", "p2"), ("p2", "p1"), *((f"p{n}", f"p{n}") for n in (3, 4, 5))):
        make_nifti(f"{name.format(folder, folder)}.nii.gz")
        (tmp_path / f"{name.format(folder, folder)}.json").write_text(json.dumps({"PatientID": number}))
    told = {finding.patient_id[-2:] for finding in People(find_series(tmp_path).people).findings()}
    assert told == {"p1", "p2"}


@pytest.mark.parametrize("key", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("name", ["{}/t1", "sub-{}/anat/sub-{}_T1w", "scans/{}"], ids=["folders", "bids", "csv"])
def test_what_side_cars_of_two_patients_share_makes_them_one(tmp_path, make_nifti, name, key):
    shared = {"p1": "1.2.3", "p2": "1.2.3", "p3": "1.2.4"}
    for folder, told in shared.items():
        make_nifti(f"{name.format(folder, folder)}.nii.gz")
        (tmp_path / f"{name.format(folder, folder)}.json").write_text(json.dumps({key: told}))
    if name.startswith("scans"):
        rows = [f"{folder},0,scans/{folder}.nii.gz" for folder in shared]
        (tmp_path / "cohort.csv").write_text("\n".join(["patient_id,label,T1w", *rows]))
    people = People(find_series(tmp_path).people)
    named = {item.patient_id[-2:]: item.patient_id for item in find_series(tmp_path).people}
    assert [people.others(named[patient]) for patient in shared] == [[named["p2"]], [named["p1"]], []]


def test_names_of_files_reach_the_check_of_people(tmp_path, make_nifti):
    make_nifti("p001/p002_t1.nii.gz", "p002/p001_t1.nii.gz", "p003/p003_t1.nii.gz")
    told = {finding.patient_id: finding.others for finding in People(find_series(tmp_path).people).findings()}
    assert told == {"p001": ("p002",), "p002": ("p001",)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(
            "t1 t1ce_to_t1 t2_to_t1 flair_to_t1", "t1 t1ce_to_t1 t2_to_t1 flair_to_t1", id="to"
        ),
        pytest.param("T1 T1toT2 T1CE2T1 T2toT1 FLAIR2T1", "T1 T1CE2T1 T2toT1 FLAIR2T1", id="glued"),
        pytest.param("t1 t1_ce_reg_t1 T2_in_T1 flair_brain_on_t1_post", None, id="reg, in, on"),
        pytest.param("reg_t1 T1ce_regto_T1 T2_T1space FLAIR_T1space", None, id="space"),
        pytest.param("T1_SPACE T1_SPACE_gd T2_SPACE T2_FLAIR_SPACE", None, id="the sequence SPACE"),
        pytest.param("2_t1 3_t1_ce 4_t2 5_flair", None, id="numbers"),
        pytest.param("t1_sans t1_avec t2 flair_avec", None, id="avec"),
        pytest.param("t1_ohne t1_mit t2 flair", None, id="mit"),
        pytest.param("T1_pre_op T1_post_op T1_Gd_pre_op T1_Gd_post_op T2_preop FLAIR_preop",
                     "T1_pre_op T1_Gd_pre_op T2_preop FLAIR_preop", id="before surgery"),
        pytest.param("t1 t1gd t2 flair t1_followup t1gd_followup", "t1 t1gd t2 flair", id="follow-up"),
        pytest.param("t1_postop t1ce_postop t2_postop flair_postop", None, id="all after surgery"),
    ],
)  # fmt: skip
def test_words_beside_the_sequence(tmp_path, make_nifti, names, expected):
    make_nifti(*(f"p009/p009_{name}.nii.gz" for name in names.split()))
    modalities = ("T1w", "T1wCE", "T2w", "FLAIR")
    wanted = dict(zip(modalities, (expected or names).split(), strict=True))
    found = chosen(folders.find(tmp_path))
    assert {modality: name[10:-7] for modality, name in found.items()} == wanted


def test_patient_in_a_bin_is_none(tmp_path, make_nifti):
    make_nifti("p1/t1.nii.gz", "#recycle/t1.nii.gz", "#recycle/p2/t1.nii.gz", "Trash/t1.nii.gz", "@eaDir/p1/t1.nii.gz")
    assert folders.find(tmp_path).patients == {"p1"}


FOUR = ("t1", "t1ce", "t2", "flair")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("site{a}/p{n}/{m}", "2 folders such as p1 and p2"),
        ("{a}/case-{n}_{a}/{m}", "2 folders such as case-1_A and case-2_A"),
        ("images{a}/00{n}_{m}", "2 files of names such as 001 and 002"),
        ("images{a}/{m}_GBM{n}", "2 files of names such as gbm1 and gbm2"),
    ],
)
def test_several_patients_in_one_folder_are_a_warning(tmp_path, make_nifti, names, told):
    make_nifti(*(f"{names.format(a=a, n=n, m=m)}.nii.gz" for a in "AB" for n in (1, 2) for m in FOUR))
    findings = [finding for finding in find_series(tmp_path).findings if finding.id == "D051"]
    text = f"expected the files of one patient, found {told}, of which one is read"
    assert [(one.text.replace("_B", "_A"), len(one.path)) for one in findings] == [(text, len(findings[0].path))] * 2


def test_folders_of_modalities_with_a_file_a_patient_are_a_warning(tmp_path, make_nifti):
    make_nifti(*(f"{m}/p{n}_{m}.nii.gz" for n in (1, 2) for m in FOUR))
    assert [one.patient_id for one in find_series(tmp_path).findings if one.id == "D051"] == sorted(FOUR)


@pytest.mark.parametrize(
    "names",
    ["p/{n}/{m}", "p/v{n}/{m}", "p/2020-0{n}-05/{m}", "p/month_{n}/{m}", "p/ses-{n}/{m}", "p/{m}_run{n}",
     "p/p_{m}_2020010{n}", "p/{m}_{n}mm", "p/postop{n}/{m}", "p007/p007_{m}_{n}"],
)  # fmt: skip
def test_visits_and_repetitions_of_one_patient_are_no_others(tmp_path, make_nifti, names):
    make_nifti(*(f"{names.format(n=n, m=m)}.nii.gz" for n in (1, 2) for m in FOUR))
    assert "D051" not in [finding.id for finding in folders.find(tmp_path).findings]


@pytest.mark.parametrize("date", ["2020{month}05", "2020-{month}-05", "2020{month}05103000"])
def test_visits_by_the_dates_of_names_are_not_mixed(tmp_path, make_nifti, date):
    first, later = (date.format(month=month) for month in ("02", "11"))
    make_nifti(f"p/t1_{first}.nii.gz", f"p/t2_{first}.nii.gz", *(f"p/{m}_{later}.nii.gz" for m in FOUR))
    found = folders.find(tmp_path)
    assert chosen(found) == {"T1w": f"p/t1_{first}.nii.gz", "T2w": f"p/t2_{first}.nii.gz"}
    assert [finding.id for finding in found.findings] == ["D034"]


@pytest.mark.parametrize("name", ["t1_biasfield", "t1_fast_pve_0", "t1_probmap", "t1ce_minus_t1"])
def test_what_is_calculated_from_a_t1_is_none(tmp_path, make_nifti, name):
    make_nifti(f"p/{name}.nii.gz", "p/t2.nii.gz")
    assert list(chosen(folders.find(tmp_path))) == ["T2w"]


def test_capital_letters_do_not_come_first(tmp_path, make_nifti):
    make_nifti("p/T1_n4.nii.gz", "p/t1.nii.gz", "p/t2.nii.gz")
    assert chosen(folders.find(tmp_path))["T1w"] == "p/t1.nii.gz"


@pytest.mark.parametrize("other", ["P2", "P1"])
def test_dicom_of_several_patients_in_one_folder_is_a_warning(tmp_path, make_series, other):
    make_series("T1", "site/a/1", uid="1.1", patient="P1")
    make_series("T1", "site/b/1", uid="1.2", patient=other)
    told = [finding.text for finding in folders.find(tmp_path).findings if finding.id == "D051"]
    text = "expected the files of one patient, found 2 PatientIDs in the tags, of which one is read"
    assert told == ([text] if other == "P2" else [])
