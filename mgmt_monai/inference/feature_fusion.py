"""A fusion's bundle asked about a study: each of its modalities by itself, and all that are there together."""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, cast

import torch
from scipy.special import expit
from torch import Tensor, nn

from mgmt_monai.cohort.patients import FUSION
from mgmt_monai.inference.fused_study import StudyFusion
from mgmt_monai.inference.model import BundleModel
from mgmt_monai.inference.prediction import SeriesPrediction
from mgmt_monai.networks.fusion import FusionClassifier, OneModality


class _Alone(nn.Module):
    """A fusion as it answers slices of one of its modalities, each as if it were all that is known of a patient."""

    def __init__(self, fusion: FusionClassifier, number: int) -> None:
        super().__init__()
        self.backbone = fusion.others[number - 1] if number and fusion.others else fusion.backbone
        self.head = nn.Sequential(OrderedDict(joined=_Joined(fusion, number), **dict(fusion.head.named_children())))
        self.imagenet_mean = fusion.imagenet_mean
        self.features = OneModality(fusion, number).features
        self.network = fusion.network

    def forward(self, images: Tensor) -> Tensor:
        """As `MGMTClassifier.forward`."""
        return self.head(self.features(images))


class _Joined(nn.Module):
    """What a fusion's head is given where one modality alone is there, from its features (N, D)."""

    def __init__(self, fusion: FusionClassifier, number: int) -> None:
        super().__init__()
        for name in ("scale", "shift"):
            self.register_buffer(name, fusion.fusing[name][number].detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        return features * self.get_buffer("scale") + self.get_buffer("shift")


@dataclass(frozen=True)
class FusedModel(BundleModel):
    """One modality of a fusion's bundle: what it says of slices of this modality alone.

    How good the fusion is so, nobody has measured: its figures are those of all modalities together.
    """

    fusion: FusionClassifier
    number: int

    @property
    def modality(self) -> str:
        """As `BundleModel.modality`."""
        return self.fusion.modalities[self.number]

    @property
    def evaluation(self) -> dict[str, Any]:
        """Nothing is known."""
        return {}


def alone(fusion: FusionClassifier, number: int) -> nn.Module:
    """One of a fusion's modalities as a network with a backbone and a head.

    Args:
        fusion: In eval mode.
        number: Of the modality.
    """
    return _Alone(fusion, number).eval()


@dataclass(frozen=True)
class FeatureFusion:
    """The fusion of a bundle, asked about whichever series are given.

    Args:
        models: The bundle's, one a modality, in its order.
    """

    models: Sequence[FusedModel]

    name = FUSION

    @property
    def sha256(self) -> str:
        """Of its bundle."""
        return self.models[0].bundle.sha256

    @property
    def stage(self) -> str:
        """Of its training."""
        return str(self.models[0].bundle.evaluation.get("stage", ""))

    def of(self, series: Sequence[SeriesPrediction], features: Sequence[Tensor | None]) -> dict[str, Any]:
        """What `StudyPrediction` has as its ``fusion``.

        Args:
            series: One a model.
            features: Of their slices, (K, D); None where the model abstains.

        Returns:
            As `StudyFusion.of`; ``addends`` are exact Shapley values over all subsets of the modalities used, from what
            is answered about the training patients' mean. Beside them ``without`` (the probability without each of the
            modalities used, where another is left), ``kind`` and the fusion's ``evaluation``.
        """
        fusion = self.models[0].fusion
        given = {
            number: one
            for number, (said, one) in enumerate(zip(series, features, strict=True))
            if said.probability is not None and one is not None
        }
        names = fusion.modalities
        found: dict[str, Any] = {
            "probability": None,
            "used": [names[number] for number in given],
            "missing": [name for number, name in enumerate(names) if number not in given],
            "addends": dict.fromkeys(names, 0.0),
            "without": {},
            "stage": self.stage,
            "sha256": self.sha256,
            "kind": "feature fusion",
            "evaluation": self.models[0].bundle.evaluation,
        }
        if given:
            answers = _answers(fusion, given)
            everything = frozenset(given)
            found["probability"] = float(expit(answers[everything]))
            if len(given) > 1:
                found["without"] = {names[n]: float(expit(answers[everything - {n}])) for n in given}
            found["addends"] |= {names[n]: value for n, value in shapley(list(given), answers).items()}
        return found


Fusion = StudyFusion | FeatureFusion
"""Whoever answers for several models together."""


def fusion_of(models: Sequence[BundleModel]) -> FeatureFusion | None:
    """The fusion that models are of, where they are a fusion's bundle."""
    fused = [model for model in models if isinstance(model, FusedModel)]
    return FeatureFusion(fused) if fused else None


def _answers(fusion: FusionClassifier, features: dict[int, Tensor]) -> dict[frozenset[int], float]:
    """The log-odds of each subset of the modalities; of none, those of the training patients' mean."""
    parts = list(features.values())
    row = torch.zeros(sum(map(len, parts)), dtype=torch.int64)
    modality = torch.cat([torch.full((len(part),), number) for number, part in features.items()])
    subsets = [frozenset(one) for size in range(1, len(features) + 1) for one in combinations(features, size)]
    with torch.no_grad():
        pooled, _ = fusion.pooled(torch.cat(parts), row, modality)
        there = torch.tensor([[number in one for number in range(len(fusion.modalities))] for one in subsets])
        mean = cast(Tensor, fusion.head.norm1.running_mean)[None]  # type: ignore[union-attr]
        rows = torch.cat([mean, fusion.fused(pooled.expand(len(subsets), -1, -1), there)])
        logits = fusion.head(rows).double().flatten().tolist()
    return dict(zip([frozenset(), *subsets], logits, strict=True))


def shapley(players: Sequence[int], worth: dict[frozenset[int], float]) -> dict[int, float]:
    """Each player's mean contribution over all orders in which they may come.

    Args:
        players: n of them.
        worth: Of each of the 2^n subsets.

    Source: L. S. Shapley, A value for n-person games, 1953.

    Example:
        >>> shapley([0, 1], {frozenset(): 0, frozenset([0]): 1, frozenset([1]): 3, frozenset([0, 1]): 6})
        {0: 2.0, 1: 4.0}
    """
    n = len(players)

    def contributions(player: int) -> Iterator[float]:
        others = [one for one in players if one != player]
        for size in range(n):
            share = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for before in map(frozenset, combinations(others, size)):
                yield share * (worth[before | {player}] - worth[before])

    return {player: math.fsum(contributions(player)) for player in players}
