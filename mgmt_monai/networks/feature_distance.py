"""How far a series' backbone features lie from those of the training series: where a model should not be asked."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from mgmt_monai.atomic import atomic_file
from mgmt_monai.machine import check_readable
from mgmt_monai.networks.errors import NetworkError

logger = logging.getLogger(__name__)

FORMAT = "mgmt-monai/feature-distance/1"
"""Written into every file."""

_VECTORS = ("mean", "components", "variances")
_NUMBERS = ("noise_variance", "threshold", "quantile")
_COUNTS = ("n_slices", "n_series", "n_calibration")


@dataclass(frozen=True)
class FeatureDistance:
    """Mahalanobis distance under a probabilistic principal component analysis of the training series' features.

    A series' features are the mean of its slices': slices differ more along a head than heads of one sequence differ
    from those of another. The covariance is that of a few directions in which the features vary much, and one variance
    for all others, so that there are far fewer numbers to learn than in a full covariance, and it can be inverted also
    where there are fewer series than features. No series and no slice is kept, only these summaries.

    Args:
        mean: Of the training series' features, ``(D,)``, float64.
        components: Principal directions, ``(k, D)``, orthonormal, float64.
        variances: Along each of them, ``(k,)``, above 0, falling, float64.
        noise_variance: Along every other direction, above 0.
        n_series: How many series it was fitted to.
        n_slices: How many slices these had; 0 where it was not said.
        threshold: A series that lies farther is unlike the training data; infinite until `calibrated`.
        quantile: Share of series like the calibration's that should lie within the threshold; nan until then.
        n_calibration: How many series set the threshold.

    Source: M. E. Tipping and C. M. Bishop, Probabilistic Principal Component Analysis, J. R. Stat. Soc. B 61(3),
        1999, equations 7 and 8 for the covariance; K. Lee et al., A Simple Unified Framework for Detecting
        Out-of-Distribution Samples and Adversarial Attacks, NeurIPS 2018, for the distance in feature space.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    noise_variance: float
    n_series: int
    n_slices: int = 0
    threshold: float = math.inf
    quantile: float = math.nan
    n_calibration: int = 0

    @classmethod
    def fit(cls, features: Tensor | np.ndarray, n_components: int = 32, n_slices: int = 0) -> FeatureDistance:
        """Learn the mean and the covariance; there is no threshold yet.

        Args:
            features: Of each training series, the mean over its slices, ``(N, D)``, finite; 3 series and 2 features
                or more.
            n_components: Directions with a variance of their own, 1 or more. Fewer are used where there is little
                data: less than half as many as series, and fewer than features.
            n_slices: How many slices the series have, to be told with the distance.

        Raises:
            NetworkError: The shape is another, a value is not finite, or the features do not vary enough.
        """
        values = _matrix(features)
        n, d = values.shape
        if n < 3 or d < 2 or n_components < 1:
            raise NetworkError(
                f"features of training series: expected 3 series, 2 features and 1 component or more, found {n} "
                f"series, {d} features, {n_components} components. Train on more patients."
            )
        strange = int((~np.isfinite(values)).any(axis=1).sum())
        if strange:
            raise NetworkError(
                f"features of {n} training series: expected finite numbers, found {strange} series with others. Check "
                "the network's weights."
            )
        if (values == values[0]).all():  # PCA would warn
            raise NetworkError(
                f"features of {n} training series: expected that they vary, found that they do not. Train on patients "
                "that differ."
            )
        from sklearn.decomposition import PCA  # only the fit needs it: a bundle's users do not

        pca = PCA(n_components=min(n_components, (n - 1) // 2, d - 1), svd_solver="full").fit(values)
        # PCA's own noise_variance_ spreads what is left over as many directions as series where these are the fewer.
        left = float(values.var(axis=0, ddof=1).sum() - pca.explained_variance_.sum())
        noise_variance = left / (d - pca.n_components_)
        # Rounding leaves a tiny variance where there is none; dividing by it would make everything far away.
        least = np.finfo(np.float64).eps * float(np.abs(values).max()) ** 2
        if not (noise_variance > least and pca.explained_variance_.min() > least):
            raise NetworkError(
                f"features of {n} training series: expected that they vary in more directions than "
                f"{pca.n_components_}, found that they do not. Train on patients that differ."
            )
        return cls(
            mean=pca.mean_,
            components=pca.components_,
            variances=pca.explained_variance_,
            noise_variance=noise_variance,
            n_series=n,
            n_slices=int(n_slices),
        )

    @property
    def n_features(self) -> int:
        """How many features a series has."""
        return len(self.mean)

    def distance(self, features: Tensor | np.ndarray) -> float:
        """How far a series lies by the features ``(K, D)`` of its slices, 1 or more.

        Returns:
            The squared Mahalanobis distance of their mean, divided by the number of features: 0 or more, about 1 on
            average over the series it was fitted to whatever the network; infinite where a feature is not finite,
            never nan.

        Raises:
            NetworkError: No slice, or another number of features.
        """
        values = _matrix(features)
        if values.shape[1] != self.n_features:
            raise NetworkError(
                f"features: expected {self.n_features} a slice, found {values.shape[1]}. Use the reference that was "
                "made with this network."
            )
        if not len(values):
            raise NetworkError("features of a series: expected 1 slice or more, found none. Check the series.")
        with np.errstate(over="ignore", invalid="ignore"):
            centred = values.mean(axis=0) - self.mean
            scores = self.components @ centred
            left = centred - scores @ self.components  # the subtraction of squared norms would cancel
            squared = float((scores**2 / self.variances).sum() + (left**2).sum() / self.noise_variance)
        return squared / self.n_features if math.isfinite(squared) else math.inf

    def calibrated(self, distances: Sequence[float] | np.ndarray, quantile: float) -> FeatureDistance:
        """The same with a threshold, set on finite distances of series that it was not fitted to.

        The threshold is the ``ceil((n + 1) * quantile)``-th smallest of the ``n`` distances: the next series of the
        same kind lies within it with probability ``quantile`` (above 0, below 1) or more. With fewer than
        `series_needed` there is no such distance; the largest is taken, and a warning says so.

        Raises:
            NetworkError: No distance, one that is not finite, or a quantile out of range.

        Source: J. Lei et al., Distribution-Free Predictive Inference for Regression, JASA 113(523), 2018, section
            2.2 (split conformal).
        """
        given = np.sort(np.asarray(distances, dtype=np.float64).ravel())
        if not len(given) or not np.isfinite(given).all():
            found = f"{int((~np.isfinite(given)).sum())} that are not" if len(given) else "none"
            raise NetworkError(f"calibration distances: expected finite numbers, found {found}. Check these series.")
        needed = series_needed(quantile)
        if len(given) < needed:
            logger.warning(
                f"the distance threshold is the largest of {len(given)} series; {needed} are needed before "
                f"{quantile:g} of new series can be promised to lie within it"
            )
        rank = min(_rank(len(given), quantile), len(given))
        return replace(self, threshold=float(given[rank - 1]), quantile=float(quantile), n_calibration=len(given))

    def save(self, path: Path) -> None:
        """Write everything to a safetensors file, whole or not at all; one that is there is replaced.

        Raises:
            NetworkError: There is no threshold yet.
        """
        if not math.isfinite(self.threshold):
            raise NetworkError(f"{path}: expected a calibrated distance, found one without a threshold. Calibrate it.")
        tensors = {name: np.ascontiguousarray(getattr(self, name), dtype=np.float64) for name in _VECTORS}
        tensors |= {name: np.array([getattr(self, name)], dtype=np.float64) for name in _NUMBERS}
        tensors |= {name: np.array([getattr(self, name)], dtype=np.int64) for name in _COUNTS}
        with atomic_file(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={"format": FORMAT})

    @classmethod
    def load(cls, path: Path) -> FeatureDistance:
        """Read a file that `save` wrote, to the last bit; nothing is unpickled.

        Raises:
            NetworkError: No such file, a damaged one, one of another kind, or numbers that make no distance.
        """
        try:
            # Their numbers as numpy arrays: torch's reader would map the file, which may change while it is used.
            with safe_open(path, framework="np") as file:
                kind = (file.metadata() or {}).get("format")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            check_readable(path)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise NetworkError(
                f"{path}: expected the distance of a training, found none that can be read ({reason}). Copy it again."
            ) from error
        fault = f"format {kind!r}" if kind != FORMAT else _fault(tensors)
        if fault:
            raise NetworkError(f"{path}: expected a file of format {FORMAT!r}, found {fault}. Copy it again.")
        values: dict[str, Any] = {name: tensors[name] for name in _VECTORS}
        values |= {name: float(tensors[name][0]) for name in _NUMBERS}
        values |= {name: int(tensors[name][0]) for name in _COUNTS}
        return cls(**values)


def series_needed(quantile: float) -> int:
    """The least number n of calibration series that can hold a quantile: ``ceil((n + 1) * quantile) <= n``.

    Raises:
        NetworkError: The quantile is not above 0 and below 1.

    Example:
        >>> series_needed(0.95)
        19
    """
    if not 0 < quantile < 1:
        raise NetworkError(f"quantile: expected a number above 0, below 1, found {quantile!r}. Choose one, as 0.95.")
    n = max(1, math.ceil(quantile / (1 - quantile)) - 1)
    while _rank(n, quantile) > n:
        n += 1
    return n


def _rank(n: int, quantile: float) -> int:
    """``ceil((n + 1) * quantile)``; without the rounding of 20 * 0.95 to above 19."""
    return math.ceil(round((n + 1) * quantile, 9))


def _matrix(features: Tensor | np.ndarray) -> np.ndarray:
    """Float64, two axes."""
    values = torch.as_tensor(features).detach().cpu().numpy().astype(np.float64)
    if values.ndim != 2:
        raise NetworkError(f"features: expected the shape (slices, features), found {values.shape}. Check the network.")
    return values


def _fault(tensors: dict[str, np.ndarray]) -> str:
    """What is wrong with a file's content; empty where nothing is."""
    kinds = dict.fromkeys((*_VECTORS, *_NUMBERS), np.float64) | dict.fromkeys(_COUNTS, np.int64)
    if set(tensors) != set(kinds):
        return f"the tensors {', '.join(sorted(tensors)) or 'none'}"
    for name, kind in kinds.items():
        if tensors[name].dtype != kind or not np.isfinite(tensors[name]).all():
            return f"in {name} no finite numbers of type {np.dtype(kind).name}"
    k, d = tensors["variances"].size, tensors["mean"].size
    shapes = {"mean": (d,), "components": (k, d), "variances": (k,)} | dict.fromkeys((*_NUMBERS, *_COUNTS), (1,))
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            return f"{name} of the shape {tensors[name].shape}"
    if not 0 < k < d or tensors["variances"].min() <= 0 or tensors["noise_variance"][0] <= 0:
        return "variances that are not above 0"
    if tensors["threshold"][0] < 0 or not 0 < tensors["quantile"][0] < 1:
        return "no threshold"
    if min(int(tensors[name][0]) for name in _COUNTS) < 0:
        return "a count below 0"
    with np.errstate(over="ignore", invalid="ignore"):
        products = tensors["components"] @ tensors["components"].T
    if not np.allclose(products, np.eye(k), atol=1e-6):
        return "components that are not orthonormal"
    return ""
