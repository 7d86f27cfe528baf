import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.layouts import rsna_miccai


def test_find_sorted_by_patient_and_modality(tmp_path):
    for name in ("00010/T2w", "00010/FLAIR", "9 ü/T1wCE", "00010/derived", ".cache/T1w", "11"):
        (tmp_path / "train" / name).mkdir(parents=True)
    (tmp_path / "train/notes.txt").touch()
    found = rsna_miccai.find(tmp_path)
    assert [(series.patient_id, series.modality, series.directory, series.files) for series in found.series] == [
        ("00010", "FLAIR", tmp_path / "train/00010/FLAIR", None),
        ("00010", "T2w", tmp_path / "train/00010/T2w", None),
        ("9 ü", "T1wCE", tmp_path / "train/9 ü/T1wCE", None),
    ]
    assert found.series[0].reason == "folder FLAIR"
    assert found.patients == {"00010", "11", "9 ü"}


def test_broken_link_to_a_series_is_not_passed_over(tmp_path):
    (tmp_path / "train/1").mkdir(parents=True)
    (tmp_path / "train/1/T1w").symlink_to(tmp_path / "train/1/T1w")
    assert rsna_miccai.recognises(tmp_path)
    assert [series.modality for series in rsna_miccai.find(tmp_path).series] == ["T1w"]


def test_patient_folders_counts_those_without_series(tmp_path):
    (tmp_path / "train/1/T1w").mkdir(parents=True)
    (tmp_path / "train/2").mkdir()
    assert [path.name for path in rsna_miccai.patient_folders(tmp_path)] == ["1", "2"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda path: path.rmdir(), "no such data directory. Make the phantom", id="absent"),
        pytest.param(
            lambda path: path.rmdir() or path.touch(), "expected a cohort's folder, found a file", id="a file"
        ),
        pytest.param(lambda path: None, "expected a folder 'train' in it, found none. Make the phantom", id="empty"),
        pytest.param(lambda path: (path / "train/1/T1").mkdir(parents=True), "T1w, T1wCE, T2w, found none", id="names"),
    ],
)
def test_find_without_series(tmp_path, make, expected):
    data_dir = tmp_path / "my data"
    data_dir.mkdir()
    make(data_dir)
    assert not rsna_miccai.recognises(data_dir)
    with pytest.raises(CohortError) as caught:
        rsna_miccai.find(data_dir)
    assert str(caught.value).startswith(str(data_dir))
    assert expected in str(caught.value)


def test_real_data(shared_data):
    found = rsna_miccai.find(shared_data / "rsna_t1wce_slices")
    assert len(found.series) == len(found.patients) == 81
    assert {series.modality for series in found.series} == {"T1wCE"}
