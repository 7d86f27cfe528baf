"""A batch on its way from the loader to the network: onto the device, and augmented there."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.settings import WORDS
from mgmt_monai.transforms.batch import BatchAugmentation, augmentation_seed


def weighs_by_patient(weigh: str) -> bool:
    """What the setting ``weigh`` says.

    Raises:
        TrainingError: It is neither ``patient`` nor ``slice``.
    """
    if weigh not in WORDS["weigh"]:
        raise TrainingError(f"weigh: expected {' or '.join(WORDS['weigh'])}, found {weigh!r}")
    return weigh == "patient"


class PrepareBatch:
    """What an engine calls before each step of the training.

    Args:
        transforms: The random transforms, to be applied to whole batches; none where the loader's slices are
            augmented already.
        seed: Of the augmentation.
        weigh: ``patient``: labels come with each slice's weight, so that all patients weigh the same; ``slice``:
            without.

    Raises:
        TransformError: A transform that does not take batches.
        TrainingError: Another word for ``weigh``.
    """

    def __init__(self, transforms: Sequence[Any], seed: int, weigh: str = "slice") -> None:
        self.augmentation = BatchAugmentation(transforms) if transforms else None
        self.seed = int(seed)
        self.by_patient = weighs_by_patient(weigh)

    def __call__(
        self,
        batch: Mapping[str, Any],
        device: torch.device | str | None = None,
        non_blocking: bool = False,
        **to_options: Any,
    ) -> tuple[Tensor, Tensor]:
        """Images and labels for the network.

        Args:
            batch: Of a `SliceDataset`.
            device: Where the network is.
            non_blocking: Whether a copy to the device may go on while this process does.
            to_options: Further ones of ``Tensor.to``.

        Returns:
            Images (B, 1, H, W) float32 and labels (B, 1), on the device; with their weights, (B, 2), where patients
            weigh the same. Features (B, n_features) stay as they are.

        Raises:
            TrainingError: Slices that do not tell which they are, or what they weigh.
        """
        images, labels = (batch[key].to(device, non_blocking=non_blocking, **to_options) for key in ("image", "label"))
        if self.augmentation is not None and images.dim() == 4:  # not features, whose slices were augmented
            if "epoch" not in batch or "index" not in batch:
                raise TrainingError(
                    "augment_on device: expected a batch that tells 'epoch' and 'index' of each slice, as SliceDataset "
                    "gives them, found none. Set --augment_on loader for another data set."
                )
            epochs, indices = batch["epoch"].tolist(), batch["index"].tolist()
            seeds = [augmentation_seed(self.seed, *place) for place in zip(epochs, indices, strict=True)]
            images = self.augmentation(images, seeds)
        if self.by_patient:
            if "weight" not in batch:
                raise TrainingError(
                    "weigh patient: expected a batch that tells the 'weight' of each slice, as SliceDataset gives it, "
                    "found none. Set --weigh slice for another data set."
                )
            weights = batch["weight"].to(device, labels.dtype, non_blocking=non_blocking)
            labels = torch.cat([labels, weights.reshape(-1, 1)], dim=1)
        return images, labels
