"""An engine computes a network's features of slices; PyTorch is the one that is always there, and the measure."""

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import ClassVar

import torch
from torch import Tensor

from mgmt_monai.networks import MGMTClassifier

BATCH_SIZE = 64
"""Slices that PyTorch computes together where a bundle does not say how many."""


class Engine(ABC):
    """Computes the features of a network, in eval mode on the CPU; PyTorch takes ``batch_size`` slices at once."""

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
        """The features ``(K, n_features)`` float32, without a graph, of slices ``(K, 1, H, W)`` float32, K from 0."""
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
