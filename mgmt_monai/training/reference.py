"""What the best network makes of the training series, kept so that it can be told when a series is unlike them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.feature_distance import FeatureDistance
from mgmt_monai.networks.frozen_features import features_of
from mgmt_monai.slices import SliceDataset
from mgmt_monai.training.stage import StageProgress, load_network

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Reference:
    """Fits the feature distance to training series, and sets its threshold on the validation series.

    Args:
        network: Takes the best checkpoint.
        training: The training slices; they are read without augmentation.
        validation: The validation slices.
        batch_size: Slices at a time.
        reference_slices: How many training slices are used at most, taken evenly over the series.
        quantile: Share of series like those of the validation that should lie within the threshold.
        name: Of the file.
    """

    network: MGMTClassifier
    training: SliceDataset
    validation: SliceDataset
    batch_size: int
    reference_slices: int
    quantile: float
    name: str = "reference.safetensors"

    def run(self, stage: StageProgress) -> Path | None:
        """Write the file into the run's folder.

        Returns:
            The file; None, with a warning, where the features allow no distance. The training is not lost for that.
        """
        load_network(self.network, stage.best_checkpoint)
        self.network.eval()
        return self.write(stage.run_directory.path)

    def write(self, folder: Path) -> Path | None:
        """As `run`, of the network as it is."""
        path = folder / self.name
        try:
            fitted = self._fitted()
            distances = [
                fitted.distance(self._features(self.validation.series_slices(i)))
                for i in range(len(self.validation.slice_counts))
            ]
            reference = fitted.calibrated(distances, self.quantile)
        except NetworkError as error:
            logger.warning(f"no distance from the training data: {error}")
            return None
        reference.save(path)
        logger.info(
            f"distance from the training data: at most {reference.threshold:.4g} in {self.quantile:.0%} of series, "
            f"from {reference.n_calibration} validation series; fitted to {reference.n_series} training series, "
            f"{reference.n_slices} slices"
        )
        return path

    def _fitted(self) -> FeatureDistance:
        chosen = slices_over_series(self.training.slice_counts, self.reference_slices)
        means = [
            self._features(self.training.series_slices(i)[slices]).mean(axis=0)
            for i, slices in enumerate(chosen)
            if len(slices)
        ]
        return FeatureDistance.fit(np.stack(means), n_slices=sum(map(len, chosen)))

    def _features(self, images: Tensor) -> np.ndarray:
        """``(K, n_features)`` float64 of slices ``(K, 1, H, W)``."""
        return features_of(self.network, images, self.batch_size).double().numpy()


def slices_over_series(counts: Sequence[int], n_slices: int) -> list[np.ndarray]:
    """Which slices of each series to take, so that no series counts for much more than another.

    Args:
        counts: How many slices each series has, 1 or more each.
        n_slices: How many to take at most, 1 or more.

    Returns:
        For each series, which of its slices, rising; as many of each as fit, evenly along it; of a shorter series
        all. Where there are more series than slices to take, one slice each of series that lie evenly apart.

    Example:
        >>> [taken.tolist() for taken in slices_over_series([5, 2, 9], 8)]
        [[0, 2, 4], [0, 1], [0, 4, 8]]
    """
    n_slices = int(n_slices)
    if len(counts) > n_slices:
        chosen = set(_evenly(len(counts), n_slices).tolist())
        return [_evenly(n, 1) if i in chosen else np.empty(0, dtype=int) for i, n in enumerate(counts)]
    each = max(k for k in range(1, max(counts) + 1) if sum(min(n, k) for n in counts) <= n_slices)
    return [_evenly(n, min(n, each)) for n in counts]


def _evenly(n: int, k: int) -> np.ndarray:
    """``k`` of the whole numbers below ``n``, the first and the last among them; the middle one where ``k`` is 1."""
    if k == 1:
        return np.array([n // 2])
    return np.linspace(0, n - 1, k).round().astype(int)
