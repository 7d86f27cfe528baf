"""A batch of patients on its way from the loader to the network: onto the device, and augmented there."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mgmt_monai.transforms.batch import BatchAugmentation, augmentation_seed


class PreparePatients:
    """What an engine calls before each step with patients.

    Args:
        transforms: The random transforms, to be applied to whole batches; none outside a training.
        seed: Of the augmentation.

    Raises:
        TransformError: A transform that does not take batches.
    """

    def __init__(self, transforms: Sequence[Any] = (), seed: int = 0) -> None:
        self.augmentation = BatchAugmentation(transforms) if transforms else None
        self.seed = int(seed)

    def __call__(
        self,
        batch: Mapping[str, Any],
        device: torch.device | str | None = None,
        non_blocking: bool = False,
        **to_options: Any,
    ) -> tuple[Tensor, Tensor, tuple[()], dict[str, Tensor]]:
        """Images, labels, and what else the network takes.

        Args:
            batch: Of a `PatientDataset`.
            device: Where the network is.
            non_blocking: Whether a copy to the device may go on while this process does.
            to_options: Further ones of ``Tensor.to``.

        Returns:
            Images (N, 1, H, W) float32 and the patients' labels (B, 1), nothing, and ``row`` and ``modality`` (N,), on
            the device.
        """
        images, labels = (batch[key].to(device, non_blocking=non_blocking, **to_options) for key in ("image", "label"))
        if self.augmentation is not None:
            epochs = batch["epoch"][batch["row"]].tolist()
            places = zip(epochs, batch["augmentation"].tolist(), strict=True)
            images = self.augmentation(images, [augmentation_seed(self.seed, *place) for place in places])
        whose = {key: batch[key].to(device, non_blocking=non_blocking) for key in ("row", "modality")}
        return images, labels, (), whose
