"""The random transforms of a whole batch at once, on any device: the pictures that one slice at a time would get."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.utils.misc import MAX_SEED
from torch import Tensor

from mgmt_monai.transforms.augment import (
    RandBrightnessd,
    RandSliceAffine,
    RandSliceAffined,
    resample_slices,
    sampling_matrices,
)
from mgmt_monai.transforms.errors import TransformError

#: Slices at a time on the CPU: about as many as its caches hold, with the grid that they are read by.
_CPU_SLICES = 16


def augmentation_seed(seed: int, epoch: int, index: int) -> int:
    """The seed, 0 to 2**32 - 1, of the augmentation of one slice of a data set in one epoch of a training."""
    return int(np.random.SeedSequence([seed, epoch, index]).generate_state(1)[0])


class BatchAugmentation:
    """Draws what the dictionary transforms would draw for each slice, and applies it to all slices together.

    They are `RandSliceAffined` and `RandBrightnessd`, in the order in which one slice at a time would meet them.

    Raises:
        TransformError: Another transform.
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        for transform in transforms:
            if not isinstance(transform, RandSliceAffined | RandBrightnessd):
                raise TransformError(
                    "augment_on device: expected RandSliceAffined and RandBrightnessd alone, found "
                    f"{type(transform).__name__}, which takes one slice at a time. Set --augment_on loader."
                )
        self.transforms = [one.random for one in transforms]
        self._root = np.random.RandomState()
        for one in self.transforms:
            one.set_random_state(seed=0)  # a generator of its own, which each slice seeds anew

    def __call__(self, slices: Tensor, seeds: Sequence[int]) -> Tensor:
        """The augmented slices (slices, 1, rows, columns), float32, on their device; `augmentation_seed` seeds each."""
        steps = self._steps(seeds, slices)
        step = _CPU_SLICES if slices.device.type == "cpu" else max(1, len(slices))
        augmented = torch.empty_like(slices, dtype=torch.float32)
        for start in range(0, len(slices), step):
            part = slice(start, start + step)
            images = slices[part].float()
            for apply, drawn in steps:
                images = apply(images, drawn[part])
            augmented[part] = images
        return augmented

    def _steps(self, seeds: Sequence[int], slices: Tensor) -> list[tuple[Callable[[Tensor, Tensor], Tensor], Tensor]]:
        """Each transform's function of slices and of what was drawn for them, and what was drawn for all slices."""
        drawn: list[list[Any]] = [[] for _ in self.transforms]
        for seed in seeds:
            # As Compose.set_random_state does it, without making new generators.
            self._root.seed(seed)
            for transform, values in zip(self.transforms, drawn, strict=True):
                transform.R.seed(self._root.randint(MAX_SEED, dtype="uint32"))
                transform.randomize()
                values.append(transform.parameters if isinstance(transform, RandSliceAffine) else transform.factor)
        steps: list[tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = []
        for transform, values in zip(self.transforms, drawn, strict=True):
            if isinstance(transform, RandSliceAffine):
                matrices = sampling_matrices(values, *slices.shape[-2:])
                steps.append((resample_slices, matrices.to(slices.device)))
            else:
                factors = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)
                steps.append((torch.mul, factors.to(slices.device)))
        return steps
