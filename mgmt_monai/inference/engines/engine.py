"""An engine computes a network's features of slices; PyTorch is the one that is always there, and the measure."""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mgmt_monai.networks import MGMTClassifier

Slice = NDArray[np.float32]
RunSlice = Callable[[Slice], Slice]
"""Features ``(1, F)`` of a slice ``(1, 1, H, W)``; called by several threads at once."""


BATCH_SIZE = 64
"""Slices that PyTorch computes together where a bundle does not say how many."""


class Engine(ABC):
    """Computes the backbone's pooled features.

    Args:
        network: In eval mode, on the CPU; it is not changed.
        batch_size: Of slices that PyTorch computes together.
    """

    name: ClassVar[str]
    """As ``--engine`` takes it."""

    package: ClassVar[str]
    """Whose version a result tells."""

    modules: ClassVar[tuple[str, ...]] = ()
    """What must be importable."""

    extra: ClassVar[str] = ""
    """The extra of this package that installs them."""

    def __init__(self, network: MGMTClassifier, batch_size: int = BATCH_SIZE) -> None:
        self.network = network
        self.batch_size = batch_size

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it could be used here."""
        return all(find_spec(module) is not None for module in cls.modules)

    def features(self, images: Tensor) -> Tensor:
        """The features of slices.

        Args:
            images: ``(K, 1, H, W)`` float32, K from 0, any H and W that the network takes.

        Returns:
            ``(K, n_features)`` float32, without a graph.
        """
        if len(images):
            return self._features(images)
        # Not every network takes an empty batch: how wide its features are is learnt from a slice of zeros.
        return self._features(images.new_zeros(1, *images.shape[1:]))[:0]

    @abstractmethod
    def _features(self, images: Tensor) -> Tensor:
        """The same for at least one slice."""


class PyTorchEngine(Engine):
    """The network itself."""

    name, package = "pytorch", "torch"

    def _features(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([self.network.features(part) for part in images.split(self.batch_size)])


class GraphEngine(Engine):
    """The network as a graph of another library, made anew for each height and width that is asked for.

    A graph takes one slice: its activations stay in a core's own cache, which a batch's do not, and a slice's features
    do not depend on those it is computed with. The cores, as many as PyTorch would use, compute a slice each.
    """

    def __init__(self, network: MGMTClassifier, batch_size: int = BATCH_SIZE) -> None:
        super().__init__(network, batch_size)
        self._graphs: dict[tuple[int, int], RunSlice] = {}

    def _features(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        n_threads = torch.get_num_threads()
        if (height, width) not in self._graphs:
            with _quiet_tracing():
                self._graphs[height, width] = self._build(
                    FeaturesOnly(self.network).eval(), (1, 1, height, width), n_threads
                )
        slices = (image.numpy() for image in images.detach().contiguous().split(1))
        with ThreadPoolExecutor(n_threads) as threads:  # the graphs let go of Python's lock while they compute
            features = list(threads.map(self._graphs[height, width], slices))
        return torch.from_numpy(np.concatenate(features))

    @abstractmethod
    def _build(self, module: nn.Module, shape: Sequence[int], n_threads: int) -> RunSlice:
        """What computes a slice's features, for so many threads; ``shape`` is that of one slice, (1, 1, H, W)."""


class FeaturesOnly(nn.Module):
    """The network without its head, as a module of its own: what exporters take.

    Args:
        network: As it is; not copied.
    """

    def __init__(self, network: MGMTClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(K, F)`` of slices ``(K, 1, H, W)``."""
        return self.network.features(images)


@contextmanager
def _quiet_tracing() -> Iterator[None]:
    """No gradients, and none of the notes that exporters make for those who write networks."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
