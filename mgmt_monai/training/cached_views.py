"""Stage ``transfer`` on remembered features: an approximation that runs the frozen backbone over few augmentations.

The backbone does not change in this stage, so the features of an augmented slice need not be computed twice. With V
views, epoch e trains the head on the slices as they were augmented in epoch (e - 1) mod V + 1: up to epoch V this is
the training as it is without, from then on augmentations come again. Order of batches, dropout, loss, checkpoints and
validation are never approximated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.networks.whole_batch import WholeBatchNetwork
from mgmt_monai.slices import EpochBatches
from mgmt_monai.slices.loader import as_it_is
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.ranks import n_ranks

logger = logging.getLogger(__name__)

#: Of a batch of slices: what a batch of features has as well.
_KEPT = ("label", "patient_index", "slice_index")


class CachedViews:
    """A loader of features in the place of a loader of slices.

    A view is computed when an epoch first needs it, with the batches that the slices' own loader makes of its epoch,
    and kept in memory. A resumed training computes it again, with the same result.

    Args:
        loader: Of augmented slices; a share of each batch where several processes train.
        batches: What it draws, of all processes together.
        network: In stage ``transfer`` by the time that the first batch is drawn.
        prepare_batch: What the stage's engine calls to have a batch of slices on the device, augmented.
        inferer: The stage's, so that the backbone computes in the same precision.
        device: Where the network is.
        n_views: V, 1 or more.
    """

    def __init__(
        self,
        loader: DataLoader,
        batches: EpochBatches,
        network: MGMTClassifier,
        prepare_batch: Callable[..., tuple[Tensor, Tensor]],
        inferer: Inferer,
        device: torch.device | str,
        n_views: int,
    ) -> None:
        self.loader = loader
        self.batches = batches
        self.network = network
        self.prepare_batch = prepare_batch
        self.inferer = inferer
        self.device = device
        self.n_views = int(n_views)
        self._views: dict[int, _View] = {}

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """The batches of the epoch that ``batches`` is set to.

        Each has ``image`` ``(B, n_features)`` float32, the features; ``label`` ``(B, 1)`` float32; ``patient_index``
        and ``slice_index`` ``(B,)``. What random numbers the slices' loader takes are taken here too.

        Raises:
            TrainingError: The backbone is not frozen.
        """
        view = (self.batches.epoch - 1) % self.n_views
        if not self._views:
            self._say()
        if view not in self._views:
            self._views[view] = _View(self._computed(view))
        return iter(
            DataLoader(
                self._views[view],
                batch_sampler=self.loader.batch_sampler,
                collate_fn=as_it_is,
                generator=self.loader.generator,
            )
        )

    def _say(self) -> None:
        if self.network.stage != "transfer":
            raise TrainingError(
                f"cached views: expected a network in stage transfer, whose backbone is frozen, found stage "
                f"{self.network.stage}. Give the other stage its loader of slices."
            )
        n_slices = self.batches.n_slices
        size = self.n_views * n_slices * get_backbone(self.network.network).n_features * 4
        logger.info(
            f"stage transfer: features of {self.n_views} augmented views of {n_slices} slices are kept, "
            f"{size / 2**20:.1f} MiB; in epochs from {self.n_views + 1} on, if any, they come again, which is an "
            "approximation (transfer_views)"
        )

    def _computed(self, view: int) -> dict[str, Tensor]:
        """One view of every slice, by its index in the data set."""
        epoch = self.batches.epoch
        self.batches.set_epoch(view + 1)
        kept: dict[str, Tensor] = {}
        try:
            # Loaders take from torch's random numbers; the epoch's dropout must not depend on which views are there.
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                description = f"transfer, view {view + 1} of {self.n_views}"
                for batch in tqdm(self.loader, desc=description, unit="batch"):
                    rows = {"image": self._features(batch), **{name: batch[name] for name in _KEPT}}
                    for name, values in rows.items():
                        if name not in kept:
                            kept[name] = values.new_zeros((self.batches.n_slices, *values.shape[1:]))
                        kept[name][batch["index"]] = values
        finally:
            self.batches.set_epoch(epoch)
        if n_ranks() > 1:
            for values in kept.values():  # each slice is one process's, and zero in every other
                distributed.all_reduce(values)
        return kept

    def _features(self, batch: dict[str, Any]) -> Tensor:
        if not len(batch["index"]):  # not every backbone takes a batch of nothing
            return torch.zeros(0, get_backbone(self.network.network).n_features)
        images, _ = self.prepare_batch(batch, self.device, False)
        return self.inferer(images, self.network.features).float().cpu()


class FeatureInferer(Inferer):
    """Gives slices to the network, and features to its head.

    Args:
        inferer: Runs whichever it is.

    Example:
        >>> from monai.inferers import SimpleInferer
        >>> network, infer = MGMTClassifier("alexnet").eval(), FeatureInferer(SimpleInferer())
        >>> slices = torch.rand(2, 1, 64, 64)
        >>> bool((infer(network.features(slices), network) == infer(slices, network)).all())
        True
    """

    def __init__(self, inferer: Inferer) -> None:
        self.inferer = inferer

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **options: Any) -> Tensor:
        """The logits.

        Args:
            inputs: Slices ``(B, 1, H, W)``, or features ``(B, n_features)``.
            network: The classifier, compiled or not, or what several processes train of it
                (`whole_batch_of_either`).
            args: For the inferer.
            options: For the inferer.

        Returns:
            Shape ``(B, 1)``.
        """
        return self.inferer(inputs, _part_for(inputs, network), *args, **options)


class SlicesOrFeatures(nn.Module):
    """A classifier that takes both, where its own ``forward`` must be the one that is called.

    Args:
        classifier: Compiled or not; keeps its parameters, buffers and mode.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits.

        Args:
            inputs: Slices ``(B, 1, H, W)``, or features ``(B, n_features)``.

        Returns:
            Shape ``(B, 1)``.
        """
        return _part_for(inputs, self.classifier)(inputs)


def whole_batch_of_either(classifier: nn.Module) -> WholeBatchNetwork:
    """What several processes train: each has its rows of a batch, of slices or of features.

    Args:
        classifier: Compiled or not; its stage must have been set.

    Returns:
        The network for the stage's engine.
    """
    return WholeBatchNetwork(SlicesOrFeatures(classifier))


class _View(Dataset):
    """One view of every slice; a whole batch of it is taken at once."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        self.values = values

    def __getitems__(self, places: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
        """Of ``(epoch, index)`` each."""
        rows = torch.tensor([index for _, index in places], dtype=torch.int64)
        return {name: values[rows] for name, values in self.values.items()}


def _part_for(inputs: Tensor, network: Any) -> Any:
    """For features the network's head; what several processes train shows none, and takes both."""
    return getattr(network, "head", network) if inputs.dim() == 2 else network
