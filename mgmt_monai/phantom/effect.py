"""The planted effect: labels, the latent value behind each tumour's look, and the best reachable AUC."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import erf, exp, inf, sqrt

import numpy as np
from numpy.typing import NDArray

STEEPNESS = 0.6  # of the squash: at effect 3 nearly all latent values (-4..4) map into 0.08..0.92


class Stream(IntEnum):
    """What a random stream is for. Separate streams are what keeps the label out of everything else."""

    LABELS = 0
    LATENT = 1
    HEAD = 2
    TISSUE = 3
    SERIES = 4
    SCANNER = 5
    MOVE = 6
    MISSING = 7


def stream(seed: int, purpose: Stream, *key: int) -> np.random.Generator:
    """An independent random generator for one purpose.

    ``key``: patient index, then modality index, where the purpose has them.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(purpose), *key)))


def draw_labels(n_patients: int, seed: int) -> NDArray[np.int64]:
    """Labels in random order: ``n_patients // 2`` ones (methylated), zeros for the rest.

    Returns:
        int64 array ``(n_patients,)`` of 0 and 1.
    """
    labels = np.zeros(n_patients, dtype=np.int64)
    labels[: n_patients // 2] = 1
    return stream(seed, Stream.LABELS).permutation(labels)


def draw_latent(label: int, effect: float, seed: int, patient_index: int) -> float:
    """A patient's latent value, from N(+effect/2, 1) where methylated, N(-effect/2, 1) where not.

    The same seed and patient give the same deviation from the class mean whatever the effect, which is the distance
    between the two means in standard deviations.
    """
    deviation = float(stream(seed, Stream.LATENT, patient_index).standard_normal())
    return (label - 0.5) * effect + deviation


@dataclass(frozen=True)
class Planted:
    """The effect in each modality.

    Each of a patient's latent values, one a modality, is distributed as `draw_latent` has it; their deviations from the
    class means correlate by ``shared``: 1 is one value for all.

    Args:
        effects: By modality, always in the same order; each as in `draw_latent`.
        shared: Correlation of the deviations, 0 to 1. With 1 and unequal effects the difference of two values tells the
            label.
    """

    effects: Mapping[str, float]
    shared: float = 1.0

    def latents(self, label: int, seed: int, patient_index: int) -> dict[str, float]:
        """The latent value of each modality."""
        common = draw_latent(label, 0.0, seed, patient_index)
        own = (stream(seed, Stream.LATENT, patient_index, number) for number in range(len(self.effects)))
        return {
            modality: (label - 0.5) * effect
            + (
                common
                if self.shared == 1
                else sqrt(self.shared) * common + sqrt(1 - self.shared) * rng.standard_normal()
            )
            for (modality, effect), rng in zip(self.effects.items(), own, strict=True)
        }

    def together(self) -> float:
        """The effect of all modalities together, whose `reachable_auc` is that of the best linear combination.

        Returns:
            ``sqrt(d' S^-1 d)`` of the effects d and the correlations S; the effect where all are equal and shared.

        Source:
            Su & Liu, JASA 1993: linear combinations of multiple diagnostic markers.
        """
        effects, shared = list(self.effects.values()), self.shared
        if shared == 1:
            return effects[0] if len(set(effects)) == 1 else inf
        # The inverse of (1 - R) I + R 1 1', by Sherman and Morrison.
        common = shared * sum(effects) ** 2 / (1 + (len(effects) - 1) * shared)
        return sqrt((sum(effect**2 for effect in effects) - common) / (1 - shared))


def squash(latent: float) -> float:
    """The latent value as a share, strictly increasing from 0 to 1: ``1 / (1 + exp(-0.6 latent))``.

    >>> squash(0.0)
    0.5
    """
    return 1.0 / (1.0 + exp(-STEEPNESS * latent))


def reachable_auc(effect: float) -> float:
    """The AUC of the latent value itself, which no reader of the images can beat on average.

    Two unit normals ``effect`` apart: P(methylated > unmethylated) = P(N(effect, 2) > 0)
    = Phi(effect / sqrt 2).

    Args:
        effect: Distance between the class means, in standard deviations, 0 or more.

    Returns:
        AUC in [0.5, 1].

    Source:
        Green & Swets, Signal Detection Theory and Psychophysics, 1966: A = Phi(d' / sqrt 2).

    >>> reachable_auc(0.0)
    0.5
    """
    return 0.5 * (1.0 + erf(effect / 2.0))
