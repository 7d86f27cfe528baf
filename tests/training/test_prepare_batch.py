import json
from types import SimpleNamespace

import pytest
import torch
from monai.transforms import Compose, Lambdad
from phantom_runs import workflow
from torch.utils.data import DataLoader

from mgmt_monai.slices import EpochBatches, SliceDataset
from mgmt_monai.training import PrepareBatch
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.heavy_patients import heavy_patients
from mgmt_monai.training.metrics import EpochFigure
from mgmt_monai.transforms import RandBrightnessd, RandSliceAffined

ITEMS = [{"image": n, "label": n % 2, "patient_id": str(n)} for n in (3, 1, 4)]
READ = Lambdad("image", lambda n: torch.rand(n, 20, 20, generator=torch.Generator().manual_seed(n)))


def random_transforms() -> list:
    return [
        RandSliceAffined("image", zoom_min=0.8, zoom_max=1.2, rotation_deg=15, shift=0.1, flip_prob=0.5),
        RandBrightnessd("image", brightness_min=0.8, brightness_max=1.2),
    ]


def drawn(dataset: SliceDataset, prepare: PrepareBatch, batch_size: int, **options) -> dict[tuple[int, int], tuple]:
    """Image and label by epoch and index, of two epochs."""
    batches = EpochBatches(dataset, batch_size, seed=1)
    found = {}
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        for batch in DataLoader(dataset, batch_sampler=batches, **options):
            images, labels = prepare(batch, torch.device("cpu"), False)
            places = zip(batch["epoch"].tolist(), batch["index"].tolist(), strict=True)
            found |= dict(zip(places, zip(images, labels, strict=True), strict=True))
    return found


def test_batches_augmented_as_a_whole_are_those_of_the_loader_whatever_their_size_and_the_workers():
    seed = 7
    reference = drawn(
        SliceDataset(ITEMS, Compose([READ, *random_transforms()]), seed=seed), PrepareBatch([], seed), batch_size=2
    )
    plain = SliceDataset(ITEMS, Compose([READ]), seed=seed)
    assert len(reference) == 16
    for batch_size, workers in ((2, 0), (3, 2), (8, 1)):
        ours = drawn(plain, PrepareBatch(random_transforms(), seed), batch_size, num_workers=workers)
        torch.testing.assert_close(dict(sorted(ours.items())), dict(sorted(reference.items())), rtol=0, atol=1e-6)


def test_patients_weigh_the_same_in_every_epoch_whatever_their_slices():
    dataset = SliceDataset([*ITEMS, {"image": 2, "label": 1, "patient_id": "3"}], Compose([READ]), seed=1)
    held = {0: 5, 1: 1, 2: 4, 3: 5}  # the last series is the first patient's too
    prepare, plain = PrepareBatch([], 1, weigh="patient"), PrepareBatch([], 1)
    totals = dict.fromkeys(held, 0.0)
    for batch in (dataset.batch([(1, 0), (1, 4), (1, 9)]), dataset.batch([n for n in range(10) if n not in (0, 4, 9)])):
        targets, labels = prepare(batch, "cpu")[1], plain(batch, "cpu")[1]
        assert torch.equal(targets[:, :1], labels) and targets.dtype == torch.float32
        for series, weight in zip(batch["patient_index"].tolist(), targets[:, 1].tolist(), strict=True):
            assert weight == pytest.approx(10 / (3 * held[series]))
            totals[series] += weight
    assert totals[0] + totals[3] == pytest.approx(totals[1]) == pytest.approx(totals[2])
    assert sum(totals.values()) == pytest.approx(10)  # a mean of 1
    assert [dataset[n]["weight"].item() for n in (0, 3)] == pytest.approx([2 / 3, 10 / 3])


@pytest.mark.parametrize("word", ["patients", "Patient", "", None, True])
def test_another_word_of_what_weighs_the_same_is_refused(word):
    for made in (lambda: PrepareBatch([], 1, weigh=word), lambda: EpochFigure("loss", weigh=word)):
        with pytest.raises(TrainingError, match="weigh: expected patient or slice"):
            made()


def test_slices_that_do_not_tell_what_they_weigh_are_refused():
    with pytest.raises(TrainingError, match=r"'weight'.*--weigh slice"):
        PrepareBatch([], 1, weigh="patient")({"image": torch.rand(2, 1, 20, 20), "label": torch.zeros(2, 1)}, "cpu")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([10] * 19 + [11], {"19": 11 / 201}),
        ([10] * 20, {}),
        ([10] * 30 + [400], {"30": 400 / 700}),
        ([5, 6, 7], {}),
        ([1, 1, 1, 9], {"3": 0.75}),
    ],
    ids=["just above 5 %", "just 5 %", "one of 31", "few", "one of few"],
)
def test_patient_with_a_large_part_of_the_slices_is_found(counts, expected):
    slices = SimpleNamespace(patient_ids=[str(n) for n in range(len(counts))], slice_counts=counts)
    assert heavy_patients(slices) == pytest.approx(expected)


@pytest.mark.xdist_group("training")
def test_heavy_patients_of_training_and_validation_are_named(phantom_dir, tmp_path, caplog):
    opening = workflow(phantom_dir, tmp_path / "runs").parser.get_parsed_content("opening")
    opening.training = SimpleNamespace(patient_ids=["a", "b", "c"], slice_counts=[8, 1, 1])
    opening.validation = SimpleNamespace(patient_ids=["d", "e", "f"], slice_counts=[1, 1, 7])
    with opening.held("stopped"):
        pass
    state = json.loads((opening.run_directory.path / "run.json").read_text())
    assert state["heavy_patients"] == pytest.approx({"a": 0.8, "f": 7 / 9})
    told = [record.getMessage() for record in caplog.records if "heavy_patients" in record.getMessage()]
    assert "holds 80% of the training slices" in told[0] and "holds 78% of the validation slices" in told[1]


def test_slices_that_do_not_tell_which_tell_which_they_are_are_refused_and_features_pass():
    prepare = PrepareBatch(random_transforms(), seed=7)
    with pytest.raises(TrainingError, match=r"'epoch' and 'index'.*--augment_on loader"):
        prepare({"image": torch.rand(2, 1, 20, 20), "label": torch.zeros(2, 1)}, "cpu")
    features = torch.rand(2, 9)
    assert torch.equal(prepare({"image": features, "label": torch.zeros(2, 1)}, "cpu")[0], features)
