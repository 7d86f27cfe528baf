"""Stage transfer on cached views: the same training where no view comes again, else views that come again."""

import importlib.util
import json
import logging
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from monai.inferers import SimpleInferer
from monai.transforms import Compose, Lambdad
from phantom_runs import BUNDLES, SMALL, newest_run, start, train
from sklearn.metrics import roc_auc_score
from statsmodels.stats.weightstats import DescrStatsW
from torch.utils.data import DataLoader

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.slices import EpochBatches, SliceDataset
from mgmt_monai.training.cached_views import CachedViews, FeatureInferer, SlicesOrFeatures
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.machine import PrecisionInferer
from mgmt_monai.training.prepare_batch import PrepareBatch
from mgmt_monai.training.settings import check_settings
from mgmt_monai.transforms import RandBrightnessd, RandSliceAffined

ROOT = Path(__file__).parents[2]
SEED = 7
TABLES = {
    "epochs.csv": ["stage", "epoch", "split", "metric", "value"],
    "slice_predictions.csv": ["patient_id", "stage", "split", "slice_index", "probability"],
}
KILLED = ROOT / "tests" / "killed_run.py"

in_order = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def network() -> MGMTClassifier:
    torch.manual_seed(1)
    return MGMTClassifier("alexnet")


@pytest.fixture(scope="module")
def dataset() -> SliceDataset:
    """Seven slices of three series, whose augmentation is left to the device."""
    volumes = [torch.rand(n, 64, 64, generator=torch.Generator().manual_seed(n)) for n in (3, 2, 2)]
    items = [{"image": i, "label": i % 2, "patient_id": f"p{i}"} for i in range(3)]
    return SliceDataset(items, Compose([Lambdad(keys="image", func=lambda i: volumes[i])]), seed=SEED)


def transforms() -> list:
    return [RandSliceAffined("image", 0.8, 1.2, 15.0, 0.1, 0.5), RandBrightnessd("image", 0.8, 1.2)]


def made_views(dataset, network, n_views: int, inferer=None, **loading) -> tuple[EpochBatches, DataLoader, CachedViews]:
    batches = EpochBatches(dataset, 3, seed=SEED)
    loader = DataLoader(dataset, batch_sampler=batches, **loading)
    prepare, infer = PrepareBatch(transforms(), seed=SEED), FeatureInferer(inferer or SimpleInferer())
    return batches, loader, CachedViews(loader, batches, network, prepare, infer, "cpu", n_views)


@pytest.mark.parametrize(("epoch", "view"), [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1)])
def test_batches_are_the_epochs_own_and_their_features_the_views(epoch, view, dataset, network):
    batches, _, views = made_views(dataset, network, n_views=2)
    batches.set_epoch(epoch)
    drawn = list(views)

    batches = EpochBatches(dataset, 3, seed=SEED)
    batches.set_epoch(epoch)
    order = [index for batch in batches for _, index in batch]
    alone = SliceDataset(dataset.data, Compose([*dataset.transform.transforms, *transforms()]), seed=SEED)
    network.eval()
    with torch.no_grad():
        features = torch.cat([network.features(alone[view, index]["image"].unsqueeze(0)) for index in order])
    assert [len(batch["image"]) for batch in drawn] == [3, 4] and len(views) == 2
    torch.testing.assert_close(torch.cat([batch["image"] for batch in drawn]), features, rtol=1e-4, atol=1e-4)
    assert features.std(dim=0).max() > 0.05, "all slices look alike: the test tests nothing"
    for name in ("label", "patient_index", "slice_index"):
        expected = torch.as_tensor(np.stack([alone[view, index][name] for index in order]))
        assert torch.equal(torch.cat([batch[name] for batch in drawn]), expected), name


def test_view_is_computed_once_when_an_epoch_needs_it_and_the_epoch_stays_set(dataset, network):
    batches, loader, views = made_views(dataset, network, n_views=2)
    read = []
    loader.collate_fn = lambda items, collate=loader.collate_fn: read.append(len(items)) or collate(items)
    reads = []
    for epoch in (1, 2, 3, 4):
        batches.set_epoch(epoch)
        list(views)
        assert batches.epoch == epoch
        reads.append(sum(read))
    assert reads == [7, 14, 14, 14]


@pytest.mark.parametrize(
    "loading",
    [{}, {"num_workers": 1}, {"generator": torch.Generator()}],
    ids=["plain", "a worker", "its own generator"],
)
def test_random_numbers_left_to_dropout_are_those_of_the_slices_loader(loading, dataset, network):
    _, loader, views = made_views(dataset, network, n_views=1, **loading)
    left = []
    for epochs_loader in (loader, views, views):  # without, with a view to compute, with one that is there
        torch.manual_seed(3)
        list(epochs_loader)
        left.append(torch.rand(4))
    assert torch.equal(left[1], left[0]) and torch.equal(left[2], left[0])


def test_drop_connect_is_off_while_the_backbone_is_frozen():
    images = torch.rand(3, 1, 64, 64)
    network = MGMTClassifier("efficientnet-b0").train()
    with torch.no_grad():
        assert torch.equal(network.features(images), network.features(images))
        network.set_stage("fine_tune")
        differ = network.features(images) - network.features(images)
    assert differ.abs().max() > 0, "there is no drop connect: the test tests nothing"


def test_memory_and_the_approximation_are_told_once(dataset, network, caplog):
    caplog.set_level(logging.INFO)
    _, _, views = made_views(dataset, network, n_views=2)
    list(views), list(views)
    (line,) = (message for message in caplog.messages if "views" in message)
    assert "2 augmented views of 7 slices" in line and "approximation" in line
    assert f"{2 * 7 * 256 * 4 / 2**20:.1f} MiB" in line and "in epochs from 3 on" in line


def test_features_are_computed_in_the_precision_of_the_stage_and_kept_in_float32(dataset, network):
    drawn = []
    for inferer in (SimpleInferer(), PrecisionInferer("bfloat16", "cpu")):
        _, _, views = made_views(dataset, network, n_views=1, inferer=inferer)
        drawn.append(torch.cat([batch["image"] for batch in views]))
    assert {features.dtype for features in drawn} == {torch.float32}
    assert not torch.equal(*drawn)
    torch.testing.assert_close(*drawn, rtol=0.1, atol=0.02)


def test_backbone_that_learns_is_refused(dataset, network):
    _, _, views = made_views(dataset, network, n_views=2)
    try:
        network.set_stage("fine_tune")
        with pytest.raises(TrainingError, match="whose backbone is frozen, found stage fine_tune"):
            list(views)
    finally:
        network.set_stage("transfer")


@pytest.mark.parametrize(
    "wrap",
    [lambda network: network, partial(torch.compile, backend="eager"), SlicesOrFeatures],
    ids=["one-process", "compiled", "several-processes"],
)
def test_features_give_the_logits_and_the_gradients_of_their_slices(wrap, network):
    network.set_stage("transfer")
    slices, trained, infer = torch.rand(4, 1, 64, 64), wrap(network), FeatureInferer(SimpleInferer())
    trained.train()
    results = []
    for inputs in (slices, network.features(slices)):
        torch.manual_seed(0)
        network.zero_grad()
        logits = infer(inputs, trained)
        logits.sum().backward()
        results.append([logits.detach(), *(parameter.grad.clone() for parameter in network.head.parameters())])
    for of_slices, of_features in zip(*results, strict=True):
        torch.testing.assert_close(of_features, of_slices)


def assert_equal_within_rounding(run: Path, expected: Path, tolerance: float = 1e-5) -> None:
    for name, (*keys, value) in TABLES.items():
        ours, theirs = pd.read_csv(run / name), pd.read_csv(expected / name)
        pd.testing.assert_frame_equal(ours[keys], theirs[keys])
        np.testing.assert_allclose(ours[value], theirs[value], atol=tolerance, err_msg=name)


@in_order
def test_training_with_as_many_views_as_epochs_is_the_training_without(finished_run, phantom_dir, tmp_path):
    run = train(phantom_dir, tmp_path / "runs", seed=3, transfer_views=SMALL["transfer_epochs"])
    assert_equal_within_rounding(run, finished_run)


@in_order
def test_backbone_without_weights_is_calibrated_as_without_views(phantom_dir, tmp_path):
    settings = {"backbone": "resnet-10", "weights": "none", "image_size": 32, "transfer_epochs": 1}
    runs = [train(phantom_dir, tmp_path / f"{n}", transfer_views=n, fine_tune_epochs=1, **settings) for n in (1, 0)]
    assert_equal_within_rounding(*runs)


@pytest.fixture(scope="module")
def repeated(phantom_dir, tmp_path_factory) -> Path:
    """A training whose third epoch sees the first one's view again."""
    return train(phantom_dir, tmp_path_factory.mktemp("repeated") / "runs", **REPEATED)


REPEATED = {"seed": 3, "transfer_views": 2, "transfer_epochs": 3, "fine_tune_epochs": 1, "fine_tune_batch_size": 32}


@in_order
def test_training_with_fewer_views_than_epochs_differs_when_a_view_comes_again(repeated, phantom_dir, tmp_path):
    exact = train(phantom_dir, tmp_path / "runs", **{**REPEATED, "transfer_views": 0})
    losses = [
        pd.read_csv(run / "epochs.csv").query("stage == 'transfer' and split == 'train' and metric == 'loss'")["value"]
        for run in (repeated, exact)
    ]
    np.testing.assert_allclose(losses[0][:2], losses[1][:2], atol=1e-5)
    assert abs(losses[0].iloc[2] - losses[1].iloc[2]) > 1e-4
    assert json.loads((repeated / "config.json").read_text())["transfer_views"] == 2


@in_order
def test_killed_training_computes_its_views_again_and_reaches_the_same_result(repeated, phantom_dir, tmp_path):
    progress = torch.load(repeated / "transfer/last.pt", weights_only=True)["progress"]
    writes = 2 + min(progress["best_epoch"], 2)  # each epoch writes last.pt, those up to the best one best.pt too
    settings = {**SMALL, **REPEATED, "dataset_dir": phantom_dir, "output_dir": tmp_path / "runs"}
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    config = ["run", "training", "--config_file", str(BUNDLES / "t1w.json")]
    process = start([sys.executable, str(KILLED), str(writes), *config, *words], tmp_path)
    output = process.communicate()[0]
    assert process.returncode == -9, output
    stopped = torch.load(newest_run(tmp_path / "runs") / "transfer/last.pt", weights_only=True)["progress"]
    assert stopped["epochs"] == 2
    resumed = train(phantom_dir, tmp_path / "runs", resume="true", **REPEATED)
    assert_equal_within_rounding(resumed, repeated, tolerance=1e-6)


@in_order
def test_two_processes_share_the_work_of_a_view_and_give_the_result_of_one(repeated, phantom_dir, tmp_path):
    data = tmp_path / "phantom"
    shutil.copytree(phantom_dir, data)
    files = [str(BUNDLES / name) for name in ("t1w.json", "multi_gpu_train.json")]
    settings = {**SMALL, **REPEATED, "dataset_dir": data, "output_dir": tmp_path / "runs"}
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *shlex.split("--standalone --nproc_per_node=2")]
    bundle = ["-m", "monai.bundle", "run", "training", "--config_file", str(files)]
    process = start([*torchrun, *bundle, *words], cwd=tmp_path)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert output.count("transfer, view 2 of 2:   0%") == 1
    assert_equal_within_rounding(newest_run(tmp_path / "runs"), repeated, tolerance=1e-4)


@pytest.mark.parametrize("value", [-1, 1.5])
def test_number_of_views_out_of_range_is_refused(value):
    with pytest.raises(TrainingError, match=f"transfer_views: expected a whole number from 0, found {value}"):
        check_settings({"transfer_views": value})


@pytest.fixture(scope="module")
def effect() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cached_views_effect", ROOT / "docs" / "cached_views_effect.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cached_views_effect"] = module
    spec.loader.exec_module(module)
    return module


def test_table_of_the_effect_has_students_intervals_of_the_paired_differences(effect):
    aucs = {0: [0.7, 0.8, 0.6], 2: [0.65, 0.8, 0.5]}
    made = {
        n: [effect.Trained(5, 10.0 / (n + 1), 1.0, {"transfer": value, "fine_tune": 0.5}) for value in values]
        for n, values in aucs.items()
    }
    lines = list(effect.table(made))
    page = (ROOT / "docs" / "explanation" / "cached-views.md").read_text().splitlines()
    assert all(line in page for line in lines[:2])
    exact, views = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:])
    assert exact[:4] == ["0 (exact)", "5.0", "10.0", "1.0"] and views[:4] == ["2", "5.0", "3.3", "1.0"]
    low, high = DescrStatsW([-0.05, 0.0, -0.1]).tconfint_mean()
    assert exact[5] == "-" and views[5] == f"-0.050 ({low:+.3f} to {high:+.3f})"
    low, high = DescrStatsW(aucs[2]).tconfint_mean()
    assert views[4] == f"0.650 ({low:.3f} to {high:.3f})"


@in_order
def test_command_of_the_effect_trains_and_times_stage_1(effect, phantom_dir, tmp_path):
    settings = {"seed": 0, "split_seed": 0, "manifest": str(tmp_path / "manifest.json"), "transfer_views": 1}
    effect.TRAINING.update(image_size=32, fine_tune_epochs=1, train_fraction=0.67)
    trained = effect.train(BUNDLES / "t1w.json", phantom_dir, tmp_path / "runs", settings, epochs=2)
    table = pd.read_csv(tmp_path / "runs/t1w/views-1-seed-0/predictions.csv").query("split == 'test'")
    for stage, auc in trained.auc.items():
        chosen = table[table["stage"] == stage]
        assert auc == pytest.approx(roc_auc_score(chosen["label"], chosen["probability"])), stage
    assert trained.epochs == 2 and 0 < trained.validation < trained.seconds
