"""Random zoom, rotation, shift and flip of a slice in one resampling, and random brightness.

The random transforms draw parameters and hand them to a deterministic counterpart. A whole batch goes through
:func:`sampling_matrices` and :func:`resample_slices`, on any device, with the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import RandomizableTransform, Transform
from monai.utils import TransformBackends

from mgmt_monai.transforms.at_keys import RandAtKeys
from mgmt_monai.transforms.containers import checked_volume
from mgmt_monai.transforms.errors import TransformError


def sampling_matrices(parameters: Sequence[SliceAffine], height: int, width: int) -> torch.Tensor:
    """Where each output pixel is read from, in the coordinates of ``torch.nn.functional.grid_sample``.

    Returns:
        (slices, 2, 3), float32, on the CPU: output (x, y, 1) to input (x, y), both -1 to 1 from edge to edge
        (``align_corners=False``), x along a row.

    Source:
        The inverse of shift * rotation * zoom * flip about the centre; rotation in pixels, hence the ratio of
        the sides off the diagonal.
    """
    matrices = np.empty((len(parameters), 2, 3))
    for matrix, drawn in zip(matrices, parameters, strict=True):
        cosine = math.cos(math.radians(drawn.rotation_deg)) / drawn.zoom
        sine = math.sin(math.radians(drawn.rotation_deg)) / drawn.zoom
        down, right = 2 * drawn.shift[0], 2 * drawn.shift[1]
        matrix[0] = cosine, -sine * height / width, sine * height / width * down - cosine * right
        matrix[1] = sine * width / height, cosine, -cosine * down - sine * width / height * right
        if drawn.flip:
            matrix[0] *= -1
    return torch.from_numpy(matrices.astype(np.float32))


def resample_slices(slices: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Slices (slices, channels, rows, columns) read at the places that the matrices say, bilinearly, 0 outside.

    Dtype and device stay; `sampling_matrices` are on the same one. The blend with the 0 outside reaches one pixel
    beyond the outermost pixel centres.
    """
    height, width = slices.shape[-2:]
    x = (torch.arange(width, device=slices.device, dtype=torch.float32) * 2 + 1) / width - 1
    y = (torch.arange(height, device=slices.device, dtype=torch.float32) * 2 + 1) / height - 1
    # torch's affine_grid gives the same, by a product of matrices. Here the places of a pixel, x and y, are one complex
    # number, so that one sum makes them in the layout that is asked for, in a fraction of the time.
    along_row = torch.view_as_complex((matrices[:, None, :, 0] * x[None, :, None]).contiguous())
    along_column = torch.view_as_complex(
        (matrices[:, None, :, 1] * y[None, :, None] + matrices[:, None, :, 2]).contiguous()
    )
    grid = torch.view_as_real(along_row[:, None, :] + along_column[:, :, None])
    return torch.nn.functional.grid_sample(
        slices, grid.to(slices.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    )


@dataclass(frozen=True)
class SliceAffine(Transform):
    """Flip, zoom, rotate and shift a slice about its centre, in this order and in one bilinear resampling.

    It is what `RandSliceAffine` draws, too.

    Args:
        zoom: Above 1 enlarges; above 0.
        rotation_deg: Counter-clockwise as displayed, in degrees.
        shift: Downward as a fraction of the height, rightward as a fraction of the width.
        flip: Whether left and right are swapped (before everything else).

    Raises:
        TransformError: When ``zoom`` is not above 0 or a value is not finite.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (MONAI's class attribute)

    zoom: float = 1.0
    rotation_deg: float = 0.0
    shift: Sequence[float] = (0.0, 0.0)
    flip: bool = False

    def __post_init__(self) -> None:
        if len(self.shift) != 2:
            raise TransformError(f"'shift' must be (downward, rightward) (got {self.shift})")
        if not (self.zoom > 0 and all(map(math.isfinite, (self.zoom, self.rotation_deg, *self.shift)))):
            raise TransformError(f"'zoom' must be above 0 and all of it finite (got {self})")

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """The transformed slice, float32.

        It is a plain tensor: MONAI's bookkeeping of a ``MetaTensor`` would cost as much as the resampling, and an
        augmented slice has no place in the patient any more.

        Args:
            img: (channels, rows, columns), any real dtype; every channel is moved alike.

        Raises:
            TransformError: When the input is not (channels, rows, columns).
        """
        return _resampled(_slice_tensor(img, "SliceAffine"), self)


class RandSliceAffine(RandomizableTransform):
    """Zoom, rotate, shift and flip a slice at random: one draw, one bilinear resampling, 0 outside.

    Every value is drawn from ``self.R`` on every call, in the same order, so that the parameters of the n-th
    call depend on the seed and the ranges only. The draw is kept in ``parameters``.

    Args:
        zoom_min: Smallest zoom, above 0; below 1 shrinks.
        zoom_max: Largest zoom, at least ``zoom_min``.
        rotation_deg: Largest rotation to either side, in degrees, 0 to 180.
        shift: Largest shift to either side, as a fraction of the height and of the width, 0 to 1.
        flip_prob: Probability of swapping left and right, 0 to 1.

    Raises:
        TransformError: When an argument is out of its range.
    """

    backend = SliceAffine.backend

    def __init__(self, zoom_min: float, zoom_max: float, rotation_deg: float, shift: float, flip_prob: float) -> None:
        super().__init__(prob=1.0)
        if not 0 < zoom_min <= zoom_max < math.inf:
            raise TransformError(
                f"'zoom_min' and 'zoom_max' must be 0 < zoom_min <= zoom_max (got {zoom_min} and {zoom_max})"
            )
        given = (("rotation_deg", rotation_deg, 180), ("shift", shift, 1), ("flip_prob", flip_prob, 1))
        for name, value, largest in given:
            if not 0 <= value <= largest:
                raise TransformError(f"'{name}' must be 0 to {largest} (got {value})")
        self.zoom_min = zoom_min
        self.zoom_max = zoom_max
        self.rotation_deg = rotation_deg
        self.shift = shift
        self.flip_prob = flip_prob
        self.parameters = SliceAffine()

    def randomize(self, data: Any | None = None) -> None:
        """Draw ``parameters``: zoom, rotation, downward shift, rightward shift, flip, in this order."""
        zoom = self.R.uniform(self.zoom_min, self.zoom_max)
        rotation_deg = self.R.uniform(-self.rotation_deg, self.rotation_deg)
        shift = (self.R.uniform(-self.shift, self.shift), self.R.uniform(-self.shift, self.shift))
        self.parameters = SliceAffine(zoom, rotation_deg, shift, self.R.uniform() < self.flip_prob)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> torch.Tensor:
        """The transformed slice, as :class:`SliceAffine` gives it.

        Args:
            img: (channels, rows, columns), any real dtype; every channel is moved alike.
            randomize: Draw anew; otherwise the last draw is applied again.

        Raises:
            TransformError: When the input is not (channels, rows, columns).
        """
        if randomize:
            self.randomize()
        return _resampled(_slice_tensor(img, "RandSliceAffine"), self.parameters)


class RandSliceAffined(RandAtKeys):
    """Dictionary twin of :class:`RandSliceAffine`; all keys get the same draw."""

    backend = RandSliceAffine.backend

    def __init__(
        self,
        keys: KeysCollection,
        zoom_min: float,
        zoom_max: float,
        rotation_deg: float,
        shift: float,
        flip_prob: float,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandSliceAffine(zoom_min, zoom_max, rotation_deg, shift, flip_prob), allow_missing_keys)


class RandBrightness(RandomizableTransform):
    """Multiply a slice by a uniformly drawn factor; nothing is clipped, so it can be undone.

    MONAI's ``RandScaleIntensity(factors=(min - 1, max - 1), prob=1)`` does the same to the picture. This one
    takes the paper's two numbers, draws once a call, and hands out a plain tensor without bookkeeping. The
    draw is kept in ``factor``.

    Args:
        brightness_min: Smallest factor, at least 0; below 1 darkens.
        brightness_max: Largest factor, at least ``brightness_min``.

    Raises:
        TransformError: When an argument is out of its range.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (MONAI's class attribute)

    def __init__(self, brightness_min: float, brightness_max: float) -> None:
        super().__init__(prob=1.0)
        if not 0 <= brightness_min <= brightness_max < math.inf:
            raise TransformError(
                "'brightness_min' and 'brightness_max' must be 0 <= brightness_min <= brightness_max "
                f"(got {brightness_min} and {brightness_max})"
            )
        self.brightness_min = brightness_min
        self.brightness_max = brightness_max
        self.factor = 1.0

    def randomize(self, data: Any | None = None) -> None:
        """Draw ``factor``."""
        self.factor = self.R.uniform(self.brightness_min, self.brightness_max)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> torch.Tensor:
        """The brighter or darker slice, float32, a plain tensor; 0 stays 0.

        Args:
            img: (channels, rows, columns), any real dtype.
            randomize: Draw anew; otherwise the last draw is applied again.

        Raises:
            TransformError: When the input is not (channels, rows, columns).
        """
        if randomize:
            self.randomize()
        return _slice_tensor(img, "RandBrightness") * self.factor


class RandBrightnessd(RandAtKeys):
    """Dictionary twin of :class:`RandBrightness`; all keys get the same draw."""

    backend = RandBrightness.backend

    def __init__(
        self, keys: KeysCollection, brightness_min: float, brightness_max: float, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, RandBrightness(brightness_min, brightness_max), allow_missing_keys)


def _slice_tensor(img: NdarrayOrTensor, transform: str) -> torch.Tensor:
    """(channels, rows, columns) as a plain float32 tensor, sharing memory where it can."""
    checked_volume(img, transform, "a slice (channels, rows, columns)")
    plain = img.as_tensor() if isinstance(img, MetaTensor) else torch.as_tensor(img)
    return plain.to(torch.float32)


def _resampled(img: torch.Tensor, parameters: SliceAffine) -> torch.Tensor:
    matrices = sampling_matrices([parameters], img.shape[-2], img.shape[-1]).to(img.device)
    return resample_slices(img[None], matrices)[0]
