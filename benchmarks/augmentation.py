"""How many slices a second does one core augment: zoom, rotation, shift, flip and brightness?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import stock
import torch
from epoch_turns import speed_turns
from made_series import made_study, study_series
from measurement import Measure, Size, Way
from monai.bundle import ConfigParser
from monai.transforms import Compose, Resize, ScaleIntensity
from remote import Turn, remote

from mgmt_monai.allocator import keep_freed_memory
from mgmt_monai.transforms import CropMiddleSlices, LoadSeries
from mgmt_monai.transforms.batch import BatchAugmentation, augmentation_seed

BUNDLE = Path(__file__).parents[1] / "bundles" / "t1w.json"

EAGER, LAZY, ONE_BY_ONE = "eager chain", "lazy chain", "ours, a slice at a time"
ON_GPU = "BatchAugmentation on the GPU"

MEASURE = Measure(
    name="augmentation",
    title="Augmented slices, one core",
    unit="slices/s",
    higher_is_better=True,
    ours="BatchAugmentation",
    must={EAGER: 10},
    beside={LAZY: "BatchAugmentation", ONE_BY_ONE: "BatchAugmentation"}
    | ({"BatchAugmentation": ON_GPU} if torch.cuda.is_available() else {}),
    note="300 x 300, in one batch of 128 or one slice after the other, the same ranges",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Ours as the bundle has it, for a batch and for a slice; the stock chain, eager and lazy; a process each."""
    made_study(size.data, size.series_slices, size.series_pixels)
    works = {MEASURE.ours: "batch", EAGER: "eager", LAZY: "lazy", ONE_BY_ONE: "one_by_one"}
    if torch.cuda.is_available():
        works[ON_GPU] = "batch_on_gpu"
    with ExitStack() as stack:
        yield [stack.enter_context(remote(name, f"augmentation.{work}", size)) for name, work in works.items()]


def batch(turn: Turn, size: Size, device: str = "cpu") -> None:
    """Ours, as a training does it, on one core; the figures are slices a second."""
    keep_freed_memory(everywhere=True)
    slices, transforms = _slices(size).to(device), _transforms(size)
    augmentation = BatchAugmentation(transforms)
    seeds = [augmentation_seed(0, 1, index) for index in range(len(slices))]
    torch.set_num_threads(1)
    speed_turns(turn, len(slices), lambda: augmentation(slices, seeds))


def batch_on_gpu(turn: Turn, size: Size) -> None:
    """The same on a GPU."""
    batch(turn, size, "cuda")


def one_by_one(turn: Turn, size: Size) -> None:
    """Our dictionary transforms, one slice after the other."""
    keep_freed_memory(everywhere=True)
    _chained(turn, size, _transforms(size))


def eager(turn: Turn, size: Size) -> None:
    """The stock chain."""
    _chained(turn, size, stock.random_chain(size.image_size, lazy=False))


def lazy(turn: Turn, size: Size) -> None:
    """The stock chain, resampled once."""
    _chained(turn, size, stock.random_chain(size.image_size, lazy=True))


def _transforms(size: Size) -> list[Any]:
    config = ConfigParser(ConfigParser.load_config_file(BUNDLE))
    config["image_size"] = size.image_size
    return config.get_parsed_content("train::random_transforms")


def _slices(size: Size) -> torch.Tensor:
    """As many slices as are augmented in one go, (slices, 1, rows, columns) in [0, 1]."""
    series = study_series(made_study(size.data, size.series_slices, size.series_pixels))
    volume = LoadSeries()(CropMiddleSlices(0.2)(series)).as_tensor()
    resized = Resize((size.image_size, size.image_size), mode="bilinear")(ScaleIntensity()(volume)).as_tensor()
    return resized[np.arange(size.augmented) % len(resized)].unsqueeze(1).contiguous()


def _chained(turn: Turn, size: Size, transforms: Sequence[Any]) -> None:
    slices, chain = _slices(size), Compose(transforms).set_random_state(seed=0)
    torch.set_num_threads(1)
    speed_turns(turn, len(slices), lambda: [chain({"image": image})["image"] for image in slices])
