"""Both stages against a plain loop of stock PyTorch and MONAI's EfficientNetBN; the slices alone are the package's."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from monai.networks.nets import EfficientNetBN
from phantom_runs import newest_run, workflow
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

pytestmark = pytest.mark.xdist_group("training")

SEED, SIZE, DROPOUT = 3, 32, 0.4
EPOCHS = {"transfer": 4, "fine_tune": 2}
BATCH = {"transfer": 128, "fine_tune": 16}
RATE = {"transfer": 0.003, "fine_tune": 2e-5}
PATIENCE, PLATEAU, FACTOR = 2, 0, 0.5
PLAIN = {"zoom_min": 1, "zoom_max": 1, "rotation_deg": 0, "shift_fraction": 0, "flip_prob": 0, "brightness_min": 1,
         "brightness_max": 1}  # fmt: skip
MEAN, STD = (torch.tensor(of).view(1, 3, 1, 1) for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class Network(nn.Module):
    """The paper's, from stock parts."""

    def __init__(self):
        super().__init__()
        self.backbone = EfficientNetBN("efficientnet-b0", pretrained=False)
        for part in self.backbone.modules():  # the same function, rounded alike: Adam's first steps are as long for a
            if hasattr(part, "_swish"):  # gradient that is rounding alone
                part._swish = nn.SiLU()
        self.backbone._dropout = self.backbone._fc = nn.Identity()
        self.head = nn.Sequential(
            nn.BatchNorm1d(1280), nn.Dropout(DROPOUT), nn.Linear(1280, 32), nn.ReLU(),
            nn.BatchNorm1d(32), nn.Dropout(DROPOUT), nn.Linear(32, 1),
        )  # fmt: skip

    def forward(self, images):
        normalised = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        return self.head(self.backbone(normalised))


def load(network, state):
    """Of the package's network, whose parts have other names in the same order."""
    network.load_state_dict(dict(zip(network.state_dict(), (t.clone() for t in state.values()), strict=True)))


def norms(network):
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]


def of_epoch(losses, patients, weigh):
    """Mean over slices, or over patients of the mean over theirs."""
    table = pd.Series(losses)
    return table.mean() if weigh == "slice" else table.groupby(patients).mean().mean()


def slice_losses(logits, labels):
    return cross_entropy(logits.double(), labels.double(), reduction="none").flatten().tolist()


def patients_loss(logits, validation):
    """Of each patient's mean probability."""
    table = pd.DataFrame({"p": torch.sigmoid(logits.double())[:, 0], "label": validation[1][:, 0]})
    means = table.groupby(validation[2].numpy()).mean()
    return -np.log(np.where(means["label"] == 1, means["p"], 1 - means["p"])).mean()


def plain_loop(network, train, validation, weigh, keeps_start):
    """Losses of training and validation by epoch, and each stage's best network; of epoch 0, its start."""
    images, labels, patients = train
    held = torch.bincount(patients)
    weights = len(patients) / (len(held) * held[patients]) if weigh == "patient" else torch.ones(len(patients))
    found, n_before, best, kept = [], 0, None, {}
    n_validation = len(set(validation[2].tolist()))
    for stage in EPOCHS:
        if best is not None:
            network.load_state_dict(best)
        frozen = [network.backbone] if stage == "transfer" else norms(network)
        held_fast = {id(p) for part in frozen for p in part.parameters()}
        for parameter in network.parameters():
            parameter.requires_grad_(id(parameter) not in held_fast)
        optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=RATE[stage])
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=FACTOR, patience=PLATEAU)
        lowest, without, n_best, to_beat = np.inf, 0, 0, np.inf
        if keeps_start:
            network.eval()
            with torch.no_grad():
                to_beat = patients_loss(network(validation[0]), validation) - 1 / (2 * n_validation)
            best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for epoch in range(n_before + 1, n_before + 1 + EPOCHS[stage]):
            torch.manual_seed(int(np.random.SeedSequence([SEED, epoch]).generate_state(1)[0]))
            order = np.random.default_rng([SEED, epoch]).permutation(len(images))
            batches = [order[start : start + BATCH[stage]] for start in range(0, len(order), BATCH[stage])]
            if len(batches[-1]) == 1:  # BatchNorm cannot train on one slice
                batches[-2:] = [np.concatenate(batches[-2:])]
            losses, seen = [], []
            for batch in batches:
                network.train()
                for part in frozen:
                    part.eval()
                logits = network(images[batch])
                loss = (cross_entropy(logits, labels[batch], reduction="none")[:, 0] * weights[batch]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses += slice_losses(logits.detach(), labels[batch])
                seen += patients[batch].tolist()
            network.eval()
            with torch.no_grad():
                logits = torch.cat([network(part) for part in validation[0].split(64)])
            after = of_epoch(slice_losses(logits, validation[1]), validation[2].tolist(), weigh)
            found.append((stage, of_epoch(losses, seen, weigh), after))
            is_best = after < lowest if n_best else patients_loss(logits, validation) < to_beat
            without = 0 if is_best else without + 1
            if is_best:
                lowest, n_best = after, epoch - n_before
                best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            plateau.step(after)
            if without >= PATIENCE:
                break
        n_before, kept[stage] = len(found), (n_best, best)
    return pd.DataFrame(found, columns=["stage", "train", "validation"]), kept


def slices_of(dataset):
    items = [dataset[n] for n in range(len(dataset))]
    return (
        torch.stack([item["image"] for item in items]),
        torch.stack([item["label"] for item in items]),
        torch.tensor([item["patient_index"] for item in items]),
    )


@pytest.mark.parametrize(("weigh", "least_steps", "labels"), [("slice", 0, "as they are"), ("patient", 3, "noisy")])
def test_both_stages_are_those_of_a_plain_loop(weigh, least_steps, labels, phantom_dir, tmp_path):
    """Noisy: those of two training patients of each label are the other's, and the validation has one class."""
    ours = workflow(
        phantom_dir, tmp_path / "runs", seed=SEED, image_size=SIZE, weigh=weigh, dropout=DROPOUT, **PLAIN,
        **{f"{stage}_epochs": n for stage, n in EPOCHS.items()},
        **{f"{stage}_batch_size": n for stage, n in BATCH.items()},
        **{f"{stage}_learning_rate": rate for stage, rate in RATE.items()},
        early_stopping_patience=PATIENCE, plateau_patience=PLATEAU, plateau_factor=FACTOR,
        transfer_least_steps=least_steps,
    )  # fmt: skip
    ours.parser.get_parsed_content("loaded_weights")
    theirs = Network().to(memory_format=torch.channels_last)
    start = ours.parser.get_parsed_content("network").state_dict()
    load(theirs, start)
    if labels == "noisy":
        train, validation = (ours.parser.get_parsed_content(f"{part}::dataset") for part in ("train", "validate"))
        wrong = [n for label in (0, 1) for n, item in enumerate(train.data) if item["label"] == label][1::2]
        train.data = [{**item, "label": item["label"] ^ (n in wrong)} for n, item in enumerate(train.data)]
        validation.data = [{**item, "label": 1} for item in validation.data]
    sets = [slices_of(ours.parser.get_parsed_content(f"{part}::dataset")) for part in ("train", "validate")]
    assert len(set(torch.bincount(sets[0][2]).tolist())) > 1, "all patients have as many slices: nothing is tested"
    ours.run()
    run = newest_run(tmp_path / "runs")
    rows = pd.read_csv(run / "epochs.csv").query("metric == 'loss'")
    found = rows.pivot(index="epoch", columns="split", values="value")
    if least_steps:
        assert len(sets[0][0]) < BATCH["transfer"], "too many slices: the rule is not tested"
        load(theirs, torch.load(run / "plain/best.pt", weights_only=True))
    expected, kept = plain_loop(theirs, *sets, weigh, bool(least_steps))
    assert rows.drop_duplicates("epoch")["stage"].tolist() == expected["stage"].tolist()
    np.testing.assert_allclose(found[["train", "validation"]], expected[["train", "validation"]], atol=1e-5)
    assert json.loads((run / "config.json").read_text())["weigh"] == weigh
    learning = json.loads((run / "run.json").read_text())["learning"]
    assert not least_steps or [n_best > 0 for n_best, _ in kept.values()] == [False, True], "the rule is not tested"
    for stage, (n_best, network) in kept.items():
        assert learning[stage]["best_epoch"] == n_best
        ours = torch.load(run / stage / "best.pt", weights_only=True).values()
        for mine, other in zip(ours, network.values(), strict=True):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
