"""The same heads in every layout, through manifest and training data set."""

from pathlib import Path

import pytest
import torch
from bids_validator import BIDSValidator
from monai.transforms import Compose
from written_layouts import LAYOUTS, MODALITIES, write_layout

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.cohort.splits.plans import External
from mgmt_monai.slices.dataset import SliceDataset
from mgmt_monai.transforms.load import LoadSeriesd

LABELS = {"90000": 1, "90003": 0}
FORTY = {str(90000 + number): number % 2 for number in range(40)}


def slices_of(data_dir: Path) -> tuple[list[str], dict[str, list[int]], dict[str, list[torch.Tensor]]]:
    """Patients, and by modality the labels and the slices that a training reads."""
    manifest = build_manifest(data_dir, Sources(), External(), workers=1).manifest
    labels, slices = {}, {}
    for modality in MODALITIES:
        items = ModalityCohort(manifest, modality, data_dir, scored_only=True).items("test")
        dataset = SliceDataset(items, Compose([LoadSeriesd("image")]))
        labels[modality] = [item["label"] for item in items]
        slices[modality] = [dataset[index]["image"] for index in range(len(dataset))]
    return [patient.patient_id for patient in manifest.patients], labels, slices


@pytest.fixture(
    scope="module",
    params=[
        ("phantom_dir", LABELS),
        pytest.param(("forty_heads", FORTY), marks=[pytest.mark.slow, pytest.mark.xdist_group("forty heads")]),
    ],
    ids=["two", "forty"],
)
def heads(request, tmp_path_factory):
    """The phantom, which patients of it, and what is read of them in Kaggle's layout."""
    name, given = request.param
    source, root = request.getfixturevalue(name), tmp_path_factory.mktemp("heads")
    write_layout("rsna-miccai-2021", source, given, root / "rsna")
    return source, given, slices_of(root / "rsna")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "rsna-miccai-2021"])
def test_same_slices_and_labels_as_in_kaggles_layout(layout, heads, tmp_path):
    source, given, (_, expected_labels, expected) = heads
    names = write_layout(layout, source, given, tmp_path / "data")
    patients, labels, slices = slices_of(tmp_path / "data")
    assert patients == list(names.values())
    assert labels == expected_labels == {modality: list(given.values()) for modality in MODALITIES}
    for modality in MODALITIES:
        assert len(slices[modality]) == len(expected[modality])
        for ours, wanted in zip(slices[modality], expected[modality], strict=True):
            assert torch.equal(ours, wanted), modality


@pytest.mark.parametrize(("layout", "n_files"), [("bids", 9), ("bids with sessions", 17)])
def test_bids_is_what_an_independent_reader_takes_for_it(layout, n_files, phantom_dir, tmp_path):
    write_layout(layout, phantom_dir, LABELS, tmp_path / "data")
    files = ["/" + path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*.*")]
    assert len(files) == n_files
    assert [file for file in files if not BIDSValidator().is_bids(file)] == []
