import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from made_cohorts import write_cohort
from made_records import made_manifest, made_patient, made_series

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.check import changed_files, overlaps
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.splits.plans import External
from mgmt_monai.cohort.tables.ignores import Ignored, ignore_list

ACCEPTED = {"finding": "D040", "patient_id": "b", "reason": "a phantom scanned twice"}


def told(findings):
    return [(finding.id, finding.patient_id, finding.modality, finding.path) for finding in findings]


def twins(**others):
    same = made_series("ab")
    return made_manifest(made_patient("a", "train", T1w=same), made_patient("b", "test", T1w=same), **others)


def test_decisions_are_those_of_the_manifest():
    assert ignore_list(twins(ignored=[ACCEPTED])).decisions == (Ignored("D040", "b", "a phantom scanned twice"),)
    assert ignore_list(twins()).decisions == ()


def test_images_in_two_splits_are_found():
    (found,) = overlaps(twins())
    assert (found.id, found.patient_id, found.others) == ("D040", "a", ("b",))
    assert "patient b (one in train, one in test)" in found.line


def test_images_in_two_folds_are_found():
    same = made_series("ab")
    patients = (made_patient("a", folds=[0], T1w=same), made_patient("b", folds=[1], T1w=same))
    (found,) = overlaps(made_manifest(*patients, folds={"n_folds": 2, "n_repeats": 1, "n_inner_folds": 0}))
    assert "(in different folds)" in found.text


def test_accepted_overlap_passes():
    assert overlaps(twins(ignored=[ACCEPTED])) == []


def test_decision_on_another_kind_or_patient_does_not_pass():
    others = [{**ACCEPTED, "finding": "D041"}, {**ACCEPTED, "patient_id": "c"}]
    assert len(overlaps(twins(ignored=others))) == 1


def test_decision_on_one_of_three_leaves_the_other_two():
    same = made_series("ab", study="5")
    patients = [made_patient(*who, T1w=same) for who in (("a", "train"), ("b", "validation"), ("c", "test"))]
    decided = [{"finding": finding, "patient_id": "a", "reason": "looked at"} for finding in ("D040", "D042")]
    found = overlaps(made_manifest(*patients, ignored=decided))
    assert [(f.id, f.patient_id, f.others) for f in found] == [("D040", "b", ("c",)), ("D042", "b", ("c",))]


@pytest.fixture(scope="module")
def built(tmp_path_factory, make_dicom) -> tuple[Path, Manifest]:
    """Four patients of two modalities and their manifest; not to be changed."""
    data_dir = write_cohort(tmp_path_factory.mktemp("built") / "data", make_dicom, 4, ("T1w", "FLAIR"))
    return data_dir, build_manifest(data_dir, Sources(), External(), workers=1).manifest


@pytest.fixture
def changed(built, tmp_path):
    """``changed(pixels=..., cached=...)`` holds a copy, which a test may change, against the manifest."""
    data_dir = tmp_path / "data"
    shutil.copytree(built[0], data_dir)  # with times, and with what the build kept

    def check(pixels: bool, cached: bool = False, modalities: tuple[str, ...] = ("T1w", "FLAIR")):
        return changed_files(built[1], data_dir, modalities=modalities, pixels=pixels, cached=cached, workers=1)

    check.folder = data_dir / "train/00002/T1w"
    return check


def other_pixel(path: Path) -> None:
    """One pixel another value, the file's size and time the same."""
    before, dataset = path.stat(), pydicom.dcmread(path)
    pixels = dataset.pixel_array.copy()
    pixels[3, 4] += 1
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert np.array_equal(pydicom.dcmread(path).pixel_array, pixels)


@pytest.mark.parametrize(
    ("pixels", "cached"), [(True, False), (False, False), (False, True)], ids=["pixels", "headers", "quick"]
)
def test_unchanged_files_are_those_of_the_manifest(changed, pixels, cached):
    assert changed(pixels, cached) == []


def test_changed_pixel_in_the_same_size_is_found_by_its_digest(changed):
    other_pixel(changed.folder / "Image-1.dcm")
    (found,) = changed(pixels=True)
    assert told([found]) == [("D046", "00002", "T1w", "train/00002/T1w")]
    assert found.text == "expected the pixels of the manifest, found others in the same files"
    assert changed(pixels=False) == []  # which reads headers, as its name says


def test_pixels_the_manifest_has_no_digests_of_are_not_held_against_it(changed, built):
    other_pixel(changed.folder / "Image-1.dcm")
    patients = [replace(p, series={m: replace(s, digests="") for m, s in p.series.items()}) for p in built[1].patients]
    made = replace(built[1], patients=patients)
    assert (
        changed_files(made, changed.folder.parents[2], modalities=["T1w"], pixels=True, cached=False, workers=1) == []
    )


def unlink(folder):
    (folder / "Image-1.dcm").unlink()


def add(folder):
    dataset = pydicom.dcmread(folder / "Image-1.dcm")
    dataset.ImagePositionPatient = [0, 0, 4]
    dataset.SOPInstanceUID = "1.2.3"
    dataset.save_as(folder / "Image-3.dcm")


def exchange(folder):
    dataset = pydicom.dcmread(folder / "Image-1.dcm")
    dataset.SOPInstanceUID = dataset.SOPInstanceUID[:-1] + ("2" if dataset.SOPInstanceUID[-1] == "1" else "1")
    dataset.save_as(folder / "Image-1.dcm")


def rename(folder):
    (folder / "Image-1.dcm").rename(folder / "Image-0.dcm")


def invert(folder):
    dataset = pydicom.dcmread(folder / "Image-1.dcm")
    dataset.PhotometricInterpretation = "MONOCHROME1"  # as long as it was
    dataset.save_as(folder / "Image-1.dcm")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (unlink, "expected the 2 files of the manifest, found others (0 new, 1 gone)"),
        (add, "expected the 2 files of the manifest, found others (1 new, 0 gone)"),
        (rename, "expected the 2 files of the manifest, found others (1 new, 1 gone)"),
        (exchange, "expected the 2 files of the manifest, found others (their {CHANGED})"),
        (invert, "expected the 2 files of the manifest, found others (their {CHANGED})"),
    ],
    ids=["removed", "added", "renamed", "another image", "shown otherwise"],
)
def test_other_files_are_found_by_their_headers(changed, change, words):
    change(changed.folder)
    (found,) = changed(pixels=False, cached=True)
    assert told([found]) == [("D046", "00002", "T1w", "train/00002/T1w")]
    assert found.text == words.format(CHANGED="sizes, identifiers, rescale or order changed")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"PixelSpacing": [0.7, 0.75]}, "pixel_spacing_mm [0.7, 0.75] in place of [0.5, 0.75]"),
        ({"ImageOrientationPatient": [0, 1, 0, -1, 0, 0]}, "orientation PRS in place of LPS"),
    ],
    ids=["spacing", "turned"],
)
def test_other_geometry_in_files_of_the_same_size_is_found(changed, values, words):
    for path in changed.folder.iterdir():
        dataset = pydicom.dcmread(path)
        for name, value in values.items():
            setattr(dataset, name, value)
        dataset.save_as(path)
    (found,) = changed(pixels=False, cached=True)
    assert told([found]) == [("D046", "00002", "T1w", "train/00002/T1w")]
    assert found.text == f"expected the geometry of the manifest, found {words}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: (folder / "Image-1.dcm").write_bytes(b"no image"), ("D001", "train/00002/T1w/Image-1.dcm")),
        (lambda folder: [path.unlink() for path in folder.iterdir()], ("D003", "train/00002/T1w")),
        (shutil.rmtree, ("D001", "train/00002/T1w")),
    ],
    ids=["broken", "empty", "gone"],
)
def test_series_that_cannot_be_read_any_more_is_told_with_its_errors_alone(changed, change, expected):
    change(changed.folder)
    finding_id, path = expected
    assert told(changed(pixels=True)) == [(finding_id, "00002", "T1w", path)]


def test_other_modalities_are_not_looked_at(changed):
    unlink(changed.folder)
    assert changed(pixels=False, modalities=("FLAIR",)) == []


def test_cache_is_trusted_only_where_it_may_be(changed):
    path = changed.folder / "Image-1.dcm"
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changed(pixels=False, cached=True) == []
    assert told(changed(pixels=False)) == [("D001", "00002", "T1w", "train/00002/T1w/Image-1.dcm")]
