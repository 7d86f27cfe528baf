"""The slices of a patient's series in, one logit a patient out: whichever of the modalities are there."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from mgmt_monai.networks.classifier import MGMTClassifier, plain_images
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.freeze import batchnorm_layers
from mgmt_monai.networks.weights import WeightsReport, load_backbone_weights

STEP = 64
"""Slices at a time where no graph is kept: a patient has hundreds, and memory stays that of a batch of these."""

ATTENTION_UNITS = 64
"""Of the gated attention's hidden layer."""


class FusionClassifier(MGMTClassifier):
    """The logit of "MGMT promoter methylated" for each patient.

    A backbone turns each slice into features, those of a series are pooled, each modality's are scaled and shifted by
    what is learnt for it, and the mean over the modalities that are there goes into the head of `MGMTClassifier`, whose
    two stages are this network's too. What joins the modalities is trained in both, and begins as the plain mean.

    Args:
        network: The backbone, as `MGMTClassifier` takes it.
        modalities: Their names; ``modality`` counts in them.
        hidden_units: Of the head.
        dropout: Of the head.
        slice_pool: ``mean``, or ``attention``: gated, one for all modalities.
        backbones: ``shared``: one for all modalities; ``each``: one for each.

    Raises:
        NetworkError: As `MGMTClassifier`; or another word, or fewer than two modalities.

    Example:
        >>> network = FusionClassifier(modalities=("T1w", "FLAIR")).eval()
        >>> network(torch.rand(3, 1, 64, 64), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])).shape
        torch.Size([2, 1])

    Source: M. Ilse et al., Attention-based Deep Multiple Instance Learning, ICML 2018, equation 9, for the attention;
        M. Havaei et al., HeMIS: Hetero-Modal Image Segmentation, MICCAI 2016, for the mean over what is there;
        E. Perez et al., FiLM, AAAI 2018, for scale and shift.
    """

    def __init__(
        self,
        network: str = "efficientnet-b0",
        modalities: Sequence[str] = ("T1w", "T1wCE", "T2w", "FLAIR"),
        hidden_units: int = 32,
        dropout: float = 0.4,
        slice_pool: str = "mean",
        backbones: str = "shared",
    ) -> None:
        if len(modalities) < 2 or slice_pool not in ("mean", "attention") or backbones not in ("shared", "each"):
            raise NetworkError(
                "fusion: expected two modalities or more, slice_pool mean or attention, backbones shared or each, "
                f"found {', '.join(modalities)}, {slice_pool!r}, {backbones!r}."
            )
        super().__init__(network, hidden_units, dropout)
        self.modalities = tuple(modalities)
        n, n_features = len(modalities), self.n_features
        #: Of the second modality on, where each has its own.
        self.others = nn.ModuleList(copy.deepcopy(self.backbone) for _ in range(n - 1) if backbones == "each")
        self.fusing = nn.ParameterDict({"scale": torch.ones(n, n_features), "shift": torch.zeros(n, n_features)})
        self.attention = _Attention(n_features) if slice_pool == "attention" else None
        self.set_stage(self.stage)

    @property
    def n_features(self) -> int:
        """How many features a slice has."""
        return int(self.head.norm1.num_features)  # type: ignore[union-attr, arg-type]

    def forward(self, images: Tensor, row: Tensor, modality: Tensor) -> Tensor:  # type: ignore[override]
        """The logit of each patient.

        Args:
            images: Slices of all patients, (N, 1, H, W), float, in [0, 1].
            row: Whose they are, (N,), from 0; nobody is left out.
            modality: Which of the modalities they are of, (N,).

        Returns:
            Logits, (B, 1).

        Raises:
            NetworkError: The shape of the images, as `MGMTClassifier`.
        """
        pooled, there = self.pooled(self.slice_features(images, modality), row, modality)
        return self.head(self.fused(pooled, there))

    def slice_features(self, images: Tensor, modality: Tensor) -> Tensor:
        """The backbone's features of each slice, (N, n_features); arguments as of `forward`."""
        if not self.others:
            return self.features(images)
        n_features = self.n_features
        features = images.new_zeros(len(images), n_features)
        for number, backbone in enumerate([self.backbone, *self.others]):
            places = (modality == number).nonzero().flatten()
            if len(places):
                features = features.index_copy(0, places, self._features(images[places], backbone).to(features.dtype))
        return features

    def pooled(self, features: Tensor, row: Tensor, modality: Tensor) -> tuple[Tensor, Tensor]:
        """The features of each series, pooled over its slices.

        Args:
            features: Of the slices, (N, n_features).
            row: As of `forward`.
            modality: As of `forward`.

        Returns:
            (B, modalities, n_features), 0 where there is none; and which are there, (B, modalities) bool.
        """
        n = len(self.modalities)
        series, n_series = row * n + modality, (int(row.max()) + 1) * n
        features = features.to(self.fusing["scale"].dtype)  # in mixed precision too
        counts = features.new_zeros(n_series).index_add(0, series, features.new_ones(len(series)))
        if self.attention is None:
            weights = 1 / counts[series]
        else:
            scores = self.attention(features).to(features.dtype)
            least = scores.new_full((n_series,), -torch.inf)
            highest = least.scatter_reduce(0, series, scores.detach(), "amax")
            risen = (scores - highest[series]).exp()
            weights = risen / risen.new_zeros(n_series).index_add(0, series, risen)[series]
        sums = features.new_zeros(n_series, features.shape[1]).index_add(0, series, features * weights[:, None])
        return sums.view(-1, n, features.shape[1]), (counts > 0).view(-1, n)

    def fused(self, pooled: Tensor, there: Tensor) -> Tensor:
        """What the head gets: the mean over the modalities that are there.

        Args:
            pooled: As `pooled` returns it.
            there: The same; False leaves a modality out.

        Returns:
            (B, n_features).
        """
        each = pooled * self.fusing["scale"] + self.fusing["shift"]
        return (each * there[:, :, None]).sum(dim=1) / there.sum(dim=1, keepdim=True).clamp(min=1)

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """As `MGMTClassifier.stage_parameters`; what joins the modalities is trained in both stages."""
        found = super().stage_parameters(stage)
        if stage == "transfer":
            found += [one for name in ("fusing", "attention") for one in self._part(name).parameters()]
        return found

    def train(self, mode: bool = True) -> Self:
        """As `MGMTClassifier.train`."""
        super().train(mode)
        others = self._part("others")
        for layer in [others] if self.stage == "transfer" else batchnorm_layers(others):
            layer.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """As `MGMTClassifier.features`, by the first modality's backbone: as long as they are untrained, by any."""
        return self._features(images, self.backbone)

    def _part(self, name: str) -> nn.Module:
        """One of the modules; an empty one where there is none, or none yet."""
        return dict(self.named_children()).get(name, nn.ModuleList())

    def _features(self, images: Tensor, backbone: nn.Module) -> Tensor:
        images = plain_images(images)
        trained = torch.is_grad_enabled() and not (self.training and self.stage == "transfer")
        with torch.set_grad_enabled(trained):
            parts = images.split(len(images) if trained else STEP)
            return torch.cat([backbone(self._normalised(part)) for part in parts])


class OneModality:
    """The features of one of a fusion's modalities: what `features_of` takes."""

    def __init__(self, classifier: FusionClassifier, number: int) -> None:
        self.imagenet_mean = classifier.imagenet_mean
        self._classifier, self._number = classifier, number

    def features(self, images: Tensor) -> Tensor:
        """As `MGMTClassifier.features`."""
        return self._classifier.slice_features(images, torch.full((len(images),), self._number, device=images.device))


class _Attention(nn.Module):
    """Scores of slices, (N,), from features (N, D); all the same until it is trained."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.what = nn.Linear(n_features, ATTENTION_UNITS)
        self.gate = nn.Linear(n_features, ATTENTION_UNITS)
        self.score = nn.Linear(ATTENTION_UNITS, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, features: Tensor) -> Tensor:
        return self.score(torch.tanh(self.what(features)) * torch.sigmoid(self.gate(features))).flatten()


def load_fusion_weights(classifier: FusionClassifier, weights: str | Path) -> WeightsReport:
    """As `load_backbone_weights`, into each of the network's backbones.

    Raises:
        NetworkError: As it; or no weights for several backbones, of which only one would be calibrated.
    """
    report = load_backbone_weights(classifier, weights)
    if classifier.others and not report.pretrained:
        raise NetworkError("backbones: expected weights for one backbone each, found none. Set --backbones shared.")
    for other in classifier.others:
        other.load_state_dict(classifier.backbone.state_dict())
    return report
