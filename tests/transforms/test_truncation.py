import numpy as np
import pydicom
import pytest

from mgmt_monai.transforms.truncation import ends_early


@pytest.fixture
def rle_file(tmp_path, make_dicom):
    rng = np.random.default_rng(0)
    return make_dicom(tmp_path / "image.dcm", rng.integers(0, 4096, (32, 32)).astype(np.uint16), rle=True)


def test_whole_compressed_file_passes(rle_file):
    assert not ends_early(rle_file)


@pytest.mark.parametrize("cut", [8, 9, 100, 1000])
def test_cut_compressed_file_found(rle_file, cut):
    rle_file.write_bytes(rle_file.read_bytes()[:-cut])
    assert ends_early(rle_file)


def test_elements_behind_the_pixels_are_no_cut(rle_file):
    dataset = pydicom.dcmread(rle_file)
    dataset.DataSetTrailingPadding = bytes(10)
    dataset.save_as(rle_file)
    assert rle_file.read_bytes().endswith(bytes(10))
    assert not ends_early(rle_file)


@pytest.mark.parametrize("content", [None, b"", b"DICM", bytes(2000)], ids=["missing", "empty", "short", "zeros"])
def test_other_files_left_to_the_reader(tmp_path, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    assert not ends_early(path)


def test_cut_uncompressed_file_left_to_the_reader(tmp_path, make_dicom):
    path = make_dicom(tmp_path / "image.dcm", np.ones((32, 32), np.uint16))
    path.write_bytes(path.read_bytes()[:-50])
    assert not ends_early(path)
