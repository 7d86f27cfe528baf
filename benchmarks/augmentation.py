"""How many slices a second does one core augment: zoom, rotation, shift, flip and brightness?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import stock
import torch
from epoch_turns import now
from made_series import made_study, study_series
from measurement import Measure, Size, Way
from monai.bundle import ConfigParser
from monai.transforms import Compose, Resize, ScaleIntensity

from mgmt_monai.transforms import CropMiddleSlices, LoadSeries
from mgmt_monai.transforms.batch import BatchAugmentation, augmentation_seed

BUNDLE = Path(__file__).parents[1] / "bundles" / "t1w.json"

ON_GPU = "BatchAugmentation on the GPU"

MEASURE = Measure(
    name="augmentation",
    title="Augmented slices, one core",
    unit="slices/s",
    higher_is_better=True,
    ours="BatchAugmentation",
    must={"eager chain": 10},
    beside={"lazy chain": "BatchAugmentation", "ours, a slice at a time": "BatchAugmentation"}
    | ({"BatchAugmentation": ON_GPU} if torch.cuda.is_available() else {}),
    note="300 x 300, in one batch of 128 or one slice after the other, the same ranges",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Ours as the bundle has it, for a batch and for a slice; the stock chain, eager and lazy."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        slices = _slices(size)
        config = ConfigParser(ConfigParser.load_config_file(BUNDLE))
        config["image_size"] = size.image_size
        transforms = config.get_parsed_content("train::random_transforms")
        seeds = [augmentation_seed(0, 1, index) for index in range(len(slices))]
        augmentation = BatchAugmentation(transforms)
        found = [
            Way(MEASURE.ours, _speed(len(slices), lambda: augmentation(slices, seeds))),
            Way("eager chain", _one_by_one(slices, Compose(stock.random_chain(size.image_size, lazy=False)))),
            Way("lazy chain", _one_by_one(slices, Compose(stock.random_chain(size.image_size, lazy=True)))),
            Way("ours, a slice at a time", _one_by_one(slices, Compose(transforms))),
        ]
        if torch.cuda.is_available():
            on_gpu = slices.cuda()
            found.append(Way(ON_GPU, _speed(len(slices), lambda: augmentation(on_gpu, seeds))))
        yield found
    finally:
        torch.set_num_threads(n_threads)


def _slices(size: Size) -> torch.Tensor:
    """As many slices as are augmented in one go, (slices, 1, rows, columns) in [0, 1]."""
    series = study_series(made_study(size.data, size.series_slices, size.series_pixels))
    volume = LoadSeries()(CropMiddleSlices(0.2)(series)).as_tensor()
    resized = Resize((size.image_size, size.image_size), mode="bilinear")(ScaleIntensity()(volume)).as_tensor()
    return resized[np.arange(size.augmented) % len(resized)].unsqueeze(1).contiguous()


def _one_by_one(slices: torch.Tensor, chain: Compose) -> Callable[[], float]:
    chain.set_random_state(seed=0)
    return _speed(len(slices), lambda: [chain({"image": image})["image"] for image in slices])


def _speed(n_slices: int, augment: Callable[[], Any]) -> Callable[[], float]:
    def run() -> float:
        started = now()
        augment()
        return n_slices / (now() - started)

    return run
