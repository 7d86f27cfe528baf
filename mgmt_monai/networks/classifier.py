"""One slice in, one logit out: the backbone, the paper's head, and the ImageNet normalisation between."""

import math
from collections import OrderedDict
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.freeze import STAGES, batchnorm_layers

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's red, green and blue, on the scale 0 to 1. Source: the weights' own training code."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's red, green and blue, on the scale 0 to 1. Source: as the mean."""


class MGMTClassifier(nn.Module):
    """The logit of "MGMT promoter methylated" for each slice.

    The paper gives images in [0, 1] to Keras' EfficientNet, which divides by 255 and normalises once more, so that
    pretrained features hardly differ from one image to the next. Here the caller scales to [0, 1]; three channels and
    ImageNet's mean and standard deviation are applied in here, once.

    The head is the paper's: BatchNorm, dropout, dense with ReLU, BatchNorm, dropout, dense. Its sigmoid
    belongs to the loss (``BCEWithLogitsLoss``). What learns is set by the stage, see
    :mod:`mgmt_monai.networks.freeze`; a new network is in ``transfer``. In train mode of that stage the
    head's BatchNorm needs a batch of at least two slices.

    Args:
        network: The backbone, a key of :data:`mgmt_monai.networks.backbones.BACKBONES`. Randomly
            initialised; see :mod:`mgmt_monai.networks.weights`.
        hidden_units: Width of the head's hidden layer, at least 1.
        dropout: Probability of both of the head's dropouts, in [0, 1).
        channels_last: Keep images and convolution weights in the channels-last memory layout, in which
            convolutions are faster on most hardware (how much depends on it); the results agree within
            rounding.

    Raises:
        NetworkError: An unknown ``network``, or ``hidden_units`` or ``dropout`` out of range.

    Example:
        >>> import torch
        >>> import mgmt_monai as mgmt
        >>> classifier = mgmt.MGMTClassifier().eval()
        >>> classifier(torch.rand(2, 1, 64, 64)).shape
        torch.Size([2, 1])

    Source: the paper's section IV, "The transfer-learning phase consists of the following layers".
    """

    # No "from __future__ import annotations" in this file: TorchScript reads these two as types.
    imagenet_mean: Tensor
    imagenet_std: Tensor

    def __init__(
        self, network: str = "efficientnet-b0", hidden_units: int = 32, dropout: float = 0.4, channels_last: bool = True
    ) -> None:
        super().__init__()
        if hidden_units < 1:
            raise NetworkError(f"hidden_units must be at least 1 (got {hidden_units})")
        if not 0.0 <= dropout < 1.0:
            raise NetworkError(f"dropout must be at least 0 and less than 1 (got {dropout})")
        backbone = get_backbone(network)
        self.network = network
        self.channels_last = channels_last
        self.stage = "transfer"
        # Constants, not weights: they stay out of every checkpoint.
        self.register_buffer("imagenet_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("imagenet_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.backbone = backbone.build()
        self.head = _build_head(backbone.n_features, hidden_units, dropout)
        if channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.set_stage(self.stage)

    def forward(self, images: Tensor) -> Tensor:
        """The logit of each slice.

        Args:
            images: Slices, shape (B, 1, H, W), float, in [0, 1].

        Returns:
            Logits, shape (B, 1); a plain tensor also for a ``MetaTensor``, whose affine describes pixels.

        Raises:
            NetworkError: The shape is not (B, 1, H, W), or the type is not a float.
        """
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """The backbone's pooled features of each slice.

        Args:
            images: Slices, shape (B, 1, H, W), float, in [0, 1].

        Returns:
            Features, shape (B, n_features). While the stage ``transfer`` trains, no graph leads through
            them; in eval mode one does where ``images`` ask for gradients (saliency maps need it).

        Raises:
            NetworkError: As `forward`.
        """
        if not torch.jit.is_scripting():
            images = plain_images(images)
        if self.training and self.stage == "transfer":
            with torch.no_grad():
                pooled = self.backbone(self._normalised(images))
        else:
            pooled = self.backbone(self._normalised(images))
        return pooled

    def answer_linearly(self, weight: Tensor, bias: float, mean: Tensor, variance: Tensor, examples: Tensor) -> None:
        """Make the head's answer, in eval mode, a linear one: ``features @ weight + bias``; all of it can be trained.

        Half of the hidden units hold the positive part of the answer, half the negative: ``relu(a) - relu(-a) = a``.
        Each unit's weights are as long as those of a head that is drawn, so that a step of Adam changes both as much.

        Weight, mean and variance of each feature over slices are (n_features,); over ``examples``, (n, n_features), the
        second BatchNorm takes its statistics.

        Raises:
            NetworkError: The head has one hidden unit.
        """
        parts = dict(self.head.named_children())
        norm1, dense1, norm2, dense2 = (cast(Any, parts[name]) for name in ("norm1", "dense1", "norm2", "dense2"))
        pairs = dense1.out_features // 2
        if not pairs:
            raise NetworkError("hidden_units: a linear answer takes 2 or more, found 1.")
        weight, mean, variance, examples = (of.double().cpu() for of in (weight, mean, variance, examples))
        scaled = weight * (variance + norm1.eps).sqrt()
        length = math.sqrt(1 / 3) / float(scaled.norm()) if scaled.any() else 0.0
        sign = torch.tensor([1.0, -1.0] * pairs + [0.0] * (dense1.out_features % 2), dtype=torch.float64)
        hidden = torch.relu(length * sign * ((examples - mean) @ weight)[:, None])
        centre, spread = hidden.mean(dim=0), hidden.var(dim=0, correction=0)
        last = sign * (spread + norm2.eps).sqrt() / (pairs * length) if length else 0 * sign
        shift = (sign * centre).sum() / (pairs * length) if length else 0.0
        for layer, running_mean, running_var in ((norm1, mean, variance), (norm2, centre, spread)):
            layer.reset_parameters()
            layer.running_mean.copy_(running_mean)
            layer.running_var.copy_(running_var)
        with torch.no_grad():
            if length:
                dense1.weight.copy_(length * sign[:, None] * scaled)
                dense1.bias.zero_()
            dense2.weight.copy_(last[None])
            dense2.bias.fill_(float(bias + mean @ weight + shift))

    def set_stage(self, stage: str) -> None:
        """Go to a training stage, ``transfer`` or ``fine_tune``: set what takes gradients, and what stays in eval mode.

        Gradients held by any parameter are dropped.

        Raises:
            NetworkError: The stage is unknown; the network is as it was.
        """
        trained = {id(parameter) for parameter in self.stage_parameters(stage)}
        self.stage = stage
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in trained)
            parameter.grad = None
        self.train(self.training)

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """The parameters that the optimizer of a stage gets, whichever stage the network is in.

        They are in the order of the modules' definition, the same in every process.

        Raises:
            NetworkError: The stage is unknown.
        """
        if stage not in STAGES:
            raise NetworkError(f"unknown training stage {stage!r}: use one of {', '.join(STAGES)}")
        if stage == "transfer":
            return list(self.head.parameters())
        held = {id(parameter) for layer in batchnorm_layers(self) for parameter in layer.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in held]

    def frozen_tensors(self, stage: str) -> list[str]:
        """The names in the ``state_dict`` that a stage's training leaves as they are: a federation need not average.

        Raises:
            NetworkError: The stage is unknown.
        """
        trained = {id(parameter) for parameter in self.stage_parameters(stage)}
        changed = {name for name, parameter in self.named_parameters() if id(parameter) in trained}
        if stage == "transfer":  # the head's BatchNorm counts its batches
            changed |= {f"head.{name}" for name in self.head.state_dict()}
        return [name for name in self.state_dict() if name not in changed]

    def train(self, mode: bool = True) -> Self:
        """Train or eval mode, but never train mode for the layers that the stage holds frozen.

        Engines call this before each step, so the freeze policy is renewed here.
        """
        super().train(mode)
        for layer in [self.backbone] if self.stage == "transfer" else batchnorm_layers(self):
            layer.eval()
        return self

    def _normalised(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1] -> (B, 3, H, W) as the ImageNet weights expect it."""
        normalised = (images - self.imagenet_mean) / self.imagenet_std
        if self.channels_last:
            normalised = normalised.contiguous(memory_format=torch.channels_last)
        return normalised


def _build_head(n_features: int, hidden_units: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm1=nn.BatchNorm1d(n_features),
            dropout1=nn.Dropout(dropout),
            dense1=nn.Linear(n_features, hidden_units),
            relu=nn.ReLU(),
            norm2=nn.BatchNorm1d(hidden_units),
            dropout2=nn.Dropout(dropout),
            dense2=nn.Linear(hidden_units, 1),
        )
    )


def plain_images(images: Tensor) -> Tensor:
    """The checked images, without MONAI's metadata, which would be handled anew at each layer."""
    # While tracing, shapes are tensors and a check would only warn.
    if not torch.jit.is_tracing() and (images.dim() != 4 or images.shape[1] != 1 or not images.is_floating_point()):
        raise NetworkError(
            f"the classifier takes float slices of shape (B, 1, H, W), scaled to [0, 1] "
            f"(got {images.dtype} of shape {tuple(images.shape)})"
        )
    return images if type(images) is Tensor else images.as_subclass(Tensor)
