"""Three patients of two modalities: whose slices a batch has, what a training step does not see, and the store."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad

from mgmt_monai.slices import EpochBatches, SliceStore
from mgmt_monai.slices.loader import SliceLoader
from mgmt_monai.slices.patients import PatientDataset

MODALITIES = ("T1w", "FLAIR")

#: A series is its first value and how many slices it has: a slice's value tells series and place.
DATA = [
    {"image": {"T1w": (10, 3), "FLAIR": (20, 2)}, "label": 0, "patient_id": "a"},
    {"image": {"FLAIR": (30, 1)}, "label": 1, "patient_id": "b"},
    {"image": {"T1w": (40, 4), "FLAIR": (50, 2)}, "label": 1, "patient_id": "c"},
]


def read(series: tuple[int, int]) -> torch.Tensor:
    first, n = series
    return (torch.arange(n)[:, None, None] + first + torch.zeros(n, 4, 4)).half()


LOAD = Compose([Lambdad(keys="image", func=read)])


def dataset(**settings) -> PatientDataset:
    return PatientDataset(DATA, LOAD, MODALITIES, seed=5, **settings)


def values(batch: dict[str, torch.Tensor]) -> list[int]:
    return batch["image"][:, 0, 0, 0].int().tolist()


def test_batch_has_all_slices_of_its_patients_and_tells_whose_they_are():
    batch = dataset().batch([2, 0, 1])

    assert values(batch) == [40, 41, 42, 43, 50, 51, 10, 11, 12, 20, 21, 30]
    assert batch["row"].tolist() == [0] * 6 + [1] * 5 + [2]
    assert batch["modality"].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1]
    assert batch["label"].tolist() == [[1.0], [0.0], [1.0]]
    assert batch["patient_index"].tolist() == batch["index"].tolist() == [2, 0, 1]
    assert batch["image"].shape == (12, 1, 4, 4) and batch["image"].dtype == torch.float32


def test_no_patients_are_a_batch_too():
    batch = dataset().batch([])

    assert batch["image"].shape == (0, 1, 4, 4) and batch["label"].shape == (0, 1)
    assert batch["row"].shape == batch["patient_index"].shape == (0,)


def test_some_slices_of_a_series_are_drawn_anew_in_each_epoch_and_alike_in_any_batch():
    patients = dataset(series_slices=2)
    seen = [values(patients.batch([(epoch, 2)])) for epoch in range(1, 30)]

    assert all(len(of) == 4 and of == sorted(of) for of in seen)
    assert {tuple(of[:2]) for of in seen} == {(a, b) for a in range(40, 44) for b in range(a + 1, 44)}
    assert all(of[2:] == [50, 51] for of in seen)
    assert values(dataset(series_slices=2).batch([(3, 0), (3, 2)]))[-4:] == seen[2]
    assert values(patients.batch([2])) == [40, 41, 42, 43, 50, 51]  # not in a training: all


def test_modality_dropout_leaves_out_its_share_and_never_all():
    patients = dataset(modality_dropout=0.3)
    seen = [
        tuple(sorted(set(patients.batch([(epoch, 2)])["modality"].tolist()))) for epoch in range(1, 2001)
    ]  # fmt: skip
    shares = {which: seen.count(which) / len(seen) for which in set(seen)}

    # Both are kept with 0.7 * 0.7; of the 0.09 in which none would be, one is kept by a coin: 0.21 + 0.045.
    assert shares == pytest.approx({(0, 1): 0.49, (0,): 0.255, (1,): 0.255}, abs=0.03)
    assert all(values(patients.batch([(epoch, 1)])) == [30] for epoch in range(1, 50))
    assert values(patients.batch([2])) == [40, 41, 42, 43, 50, 51]


def test_augmentation_is_one_of_the_patient_or_one_of_each_slice():
    together, each = (
        dataset(augment_by=by).batch([(1, 0), (1, 1), (1, 2)])["augmentation"] for by in ("patient", "slice")
    )

    assert together.tolist() == [0] * 5 + [1] + [2] * 6
    assert len(set(each.tolist())) == 12 and set(each.tolist()).isdisjoint(together.tolist())
    part = dataset(augment_by="slice", series_slices=1)
    told = {v: a for epoch in range(1, 20) for v, a in _told(part.batch([(epoch, 2)]))}
    whole = dict(_told(dataset(augment_by="slice").batch([(1, 2)])))
    assert told == whole


def _told(batch):
    return zip(values(batch), batch["augmentation"].tolist(), strict=True)


def test_mean_features_weigh_each_series_the_same():
    features = list(dataset().features("", lambda images: images.mean(dim=(2, 3)).repeat(1, 2)))

    assert [of.tolist() for of in features] == [[[15.75] * 2], [[30.0] * 2], [[46.0] * 2]]


def test_loader_and_batches_take_patients():
    patients = dataset()
    batches = EpochBatches(patients, 2, seed=1)
    loader = SliceLoader(patients, batch_sampler=batches)

    assert sorted(index for batch in loader for index in batch["patient_index"].tolist()) == [0, 1, 2]


def test_each_modality_has_the_store_of_its_own_training(tmp_path):
    items = [
        {**item, "image": item["image"][m], "modality": m} for m in MODALITIES for item in DATA if m in item["image"]
    ]
    chain = Compose([Lambdad(keys="image", func=read)])
    alone = SliceStore(tmp_path, "FLAIR", "hash", [item for item in items if item["modality"] == "FLAIR"])
    alone.series(chain)
    there = sorted(path.name for path in tmp_path.iterdir())

    patients = PatientDataset(DATA, chain, MODALITIES, store=SliceStore(tmp_path, "fusion", "hash", items))

    assert values(patients.batch([0])) == [10, 11, 12, 20, 21]
    new = [path.name for path in tmp_path.iterdir() if path.name not in there and path.is_dir()]
    assert [name.partition("-")[0] for name in new] == ["T1w"]
    assert np.isfinite(patients.batch([2])["image"]).all()
