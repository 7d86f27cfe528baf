import pytest

from mgmt_monai.cohort.files.unfetched import unfetched

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LFS, "a Git LFS pointer: git lfs pull"),
        (b"/annex/objects/MD5E-s1--d41d8.nii.gz\n", "a git-annex pointer: datalad get"),
        (b"../.git/annex/objects/xx/yy/MD5E-s1\n", "a git-annex pointer: datalad get"),
        (b"any other text", ""),
        (b"", ""),
        (LFS + bytes(1 << 15), ""),
    ],
    ids=["lfs", "annex", "annex link as text", "text", "empty", "too long"],
)
def test_pointer_in_a_files_place(tmp_path, content, expected):
    (tmp_path / "x.nii.gz").write_bytes(content)
    assert unfetched(tmp_path / "x.nii.gz") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".Image-1.dcm.icloud", "a cloud's placeholder: let its program download the file"),
        ("Image-1.dcm.nextcloud", "a cloud's placeholder: let its program download the file"),
        ("T1w.dvc", "a DVC pointer: dvc pull"),
        ("x.icloud", ""),
    ],
)
def test_pointer_that_its_name_tells(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"outs:\n- md5: 1a\n")
    assert unfetched(tmp_path / name) == expected


def test_link_of_git_annex(tmp_path):
    (tmp_path / "x.dcm").symlink_to("../.git/annex/objects/aa/x.dcm")
    (tmp_path / "y.dcm").symlink_to("nowhere")
    assert unfetched(tmp_path / "x.dcm") == "a git-annex link without its file: datalad get"
    assert unfetched(tmp_path / "y.dcm") == ""
