"""The stock ways: MONAI's own parts as its tutorials put them together, at the ranges and for the work that ours has.

Where a tutorial's habit would make them slower for no reason of MONAI's, they are made faster instead: the order of
slices is told to those that need it, the number of loader workers is the faster one of 0 and 2, the frozen backbone
keeps BatchNorm in eval mode and no gradients, and there are no handlers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from epoch_turns import MANY, EpochTurns
from made_series import FRACTION, made_cohort, train_series
from measurement import Size
from monai.data import CacheDataset, DataLoader, Dataset, PersistentDataset
from monai.engines import SupervisedTrainer
from monai.networks.nets import EfficientNetBN
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    RandAffined,
    RandFlipd,
    RandRotated,
    RandScaleIntensityd,
    RandZoomd,
    Resized,
    ScaleIntensityd,
)
from remote import Turn
from torch import Tensor, nn

from mgmt_monai.cohort.series import middle_slices

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LEARNING_RATES = {"transfer": 1e-4, "fine_tune": 1e-5}
ZOOM, ROTATION_RAD, SHIFT, FLIP_PROB, BRIGHTNESS = (0.8, 1.2), 0.2617993877991494, 0.1, 0.5, 0.2
"""Of the random chain, as the bundles have them: 15 degrees, a tenth of the image, 0.8 to 1.2."""


def middle_of_series(reader: str, n_slices: int) -> Compose:
    """From the folder of a series to its middle slices: (1, columns, rows, slices)."""
    kept = middle_slices(n_slices, FRACTION)
    return Compose(
        [
            LoadImaged("image", reader=reader),
            EnsureChannelFirstd("image"),
            CenterSpatialCropd("image", roi_size=(-1, -1, kept.stop - kept.start)),
        ]
    )


def random_chain(image_size: int, lazy: bool) -> list[Any]:
    """Zoom, rotation, shift, flip and brightness of a 2D slice.

    Args:
        image_size: Rows and columns.
        lazy: Whether the spatial ones are resampled once, at the end; the brightness stays outside, since MONAI 1.6.1's
            lazy mode does not take an intensity transform behind them.
    """
    shift = int(SHIFT * image_size)
    spatial = [
        RandZoomd("image", prob=1.0, min_zoom=ZOOM[0], max_zoom=ZOOM[1], mode="bilinear", padding_mode="constant"),
        RandRotated("image", prob=1.0, range_x=ROTATION_RAD, mode="bilinear", padding_mode="zeros"),
        RandAffined("image", prob=1.0, translate_range=(shift, shift), mode="bilinear", padding_mode="zeros"),
        RandFlipd("image", prob=FLIP_PROB, spatial_axis=1),
    ]
    return [Compose(spatial, lazy=True)] * lazy + spatial * (not lazy) + [
        RandScaleIntensityd("image", prob=1.0, factors=BRIGHTNESS)
    ]  # fmt: skip


def slice_items(series: Sequence[Mapping[str, Any]], fraction: float = FRACTION) -> list[dict[str, Any]]:
    """One item a middle slice: its file, and the label of its patient."""
    return [
        {"image": str(item["image"].files[index]), "label": torch.tensor([float(item["label"])])}
        for item in series
        for index in item["image"].slices[middle_slices(item["image"].n_slices, fraction)]
    ]


def slice_chain(image_size: int) -> list[Any]:
    """From the file of a slice to its image in [0, 1], (1, rows, columns)."""
    return [
        LoadImaged("image", reader="PydicomReader"),
        EnsureChannelFirstd("image"),
        ScaleIntensityd("image"),
        Resized("image", spatial_size=(image_size, image_size), mode="bilinear"),
    ]


class StockClassifier(nn.Module):
    """MONAI's EfficientNet-B0 in its default memory layout, with the paper's head.

    Args:
        stage: ``transfer`` trains the head, ``fine_tune`` everything but BatchNorm; as ours.
    """

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage
        self.backbone = EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=3)
        n_features = self.backbone._fc.in_features
        self.backbone._dropout = nn.Identity()
        self.backbone._fc = nn.Identity()
        self.head = nn.Sequential(
            nn.BatchNorm1d(n_features),
            nn.Dropout(0.4),
            nn.Linear(n_features, 32),
            nn.ReLU(),
            nn.BatchNorm1d(32),
            nn.Dropout(0.4),
            nn.Linear(32, 1),
        )
        for parameter in self.backbone.parameters():
            parameter.requires_grad = stage == "fine_tune"
        self._norms = [part for part in self.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
        for parameter in (parameter for norm in self._norms for parameter in norm.parameters()):
            parameter.requires_grad = stage == "transfer" and parameter.requires_grad

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (B, 1), of slices (B, 1, H, W)."""
        return self.head(self.backbone(images.expand(-1, 3, -1, -1)))

    def train(self, mode: bool = True) -> Self:
        """Train mode, but never for what is frozen."""
        super().train(mode)
        if self.stage == "transfer":
            self.backbone.eval()
        else:
            for norm in self._norms:
                norm.eval()
        return self


def trainer(
    network: nn.Module, stage: str, dataset: Dataset, batch_size: int, num_workers: int, max_epochs: int
) -> SupervisedTrainer:
    """MONAI's SupervisedTrainer as it comes."""
    return SupervisedTrainer(
        device=DEVICE,
        max_epochs=max_epochs,
        train_data_loader=DataLoader(dataset, batch_size=batch_size, shuffle=True, num_workers=num_workers),
        network=network,
        optimizer=torch.optim.Adam([p for p in network.parameters() if p.requires_grad], LEARNING_RATES[stage]),
        loss_function=nn.BCEWithLogitsLoss(),
        decollate=False,
    )


def epochs(turn: Turn, size: Size, stage: str, n_patients: int, dataset: str, lazy: bool = False) -> None:
    """Epochs of a stage, a turn each, after one with 0 and one with 2 loader workers, of which the faster one goes on.

    The figures are slices a second.
    """
    items = slice_items(train_series(made_cohort(size.data, n_patients)))
    batch_size = size.transfer_batch if stage == "transfer" else size.fine_tune_batch
    network = StockClassifier(stage).to(DEVICE)
    load_imagenet(network)
    with TemporaryDirectory() as cache:
        chain = Compose([*slice_chain(size.image_size), *random_chain(size.image_size, lazy)])
        kept = cached(dataset, items, chain, Path(cache))
        seconds = {}
        for num_workers in (0, 2):
            started = time.perf_counter()
            trainer(network, stage, kept, batch_size, num_workers, max_epochs=1).run()
            seconds[num_workers] = time.perf_counter() - started
        faster = min(seconds, key=lambda number: seconds[number])
        turns = EpochTurns(turn, len(items))
        turns.epochs = 1  # it is warm: what follows counts
        turn(None)
        measured = trainer(network, stage, kept, batch_size, faster, max_epochs=MANY)
        turns.attach(measured)
        measured.run()


def cached(dataset: str, items: Sequence[Mapping[str, Any]], chain: Compose, folder: Path) -> Dataset:
    """MONAI's data set of this name, its cache filled.

    Args:
        dataset: ``CacheDataset`` or ``PersistentDataset``.
        items: One a slice.
        chain: Deterministic transforms, then random ones.
        folder: Of a cache on the disk.
    """
    if dataset == "CacheDataset":
        return CacheDataset(items, chain, cache_rate=1.0, num_workers=2, progress=False)
    made = PersistentDataset(items, chain, cache_dir=folder)
    for index in range(len(made)):
        made[index]
    return made


def load_imagenet(network: StockClassifier) -> None:
    """The weights that ours starts from: with random ones and a frozen BatchNorm, features vanish."""
    from mgmt_monai.networks import MGMTClassifier, load_backbone_weights

    classifier = MGMTClassifier(channels_last=False)
    load_backbone_weights(classifier, "imagenet")
    network.backbone.load_state_dict(classifier.backbone.state_dict())
