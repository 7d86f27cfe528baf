"""Grad-CAM: which places of a slice add to its logit, and which take from it, as the network's last maps have it."""

from copy import deepcopy

import numpy as np
import torch
from monai.visualize import GradCAM
from torch import Tensor, nn

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.backbones import get_backbone

BATCH = 8
"""Slices at once: their activations are all kept for the way back, some 60 MB a slice of 300 x 300 in EfficientNet."""


def gradcam_maps(network: MGMTClassifier, images: Tensor) -> np.ndarray:
    """Signed Grad-CAM of the logit of "methylated", ``(K, H, W)``, of slices ``(K, 1, H, W)`` in [0, 1], float32.

    The maps explained are those whose mean over all positions is the backbone's features. A value is the contribution,
    to first order, of one cell of the network's last maps, interpolated to the pixels; the sum over all cells is the
    gradient times the features. Positive values raise the logit, negative ones lower it.

    Grad-CAM itself keeps what raises a class and drops the rest; here it is asked for the logit and for its negative,
    and the second is subtracted from the first. The network is not changed.

    Source:
        R. R. Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV
        2017: equations 1 and 2, and section 3.2 for the negative.
    """
    # A copy, for MONAI leaves its hooks in the network that it explains.
    explained = _BothClasses(deepcopy(network)).eval().requires_grad_(False)
    layer = f"network.backbone.{get_backbone(network.network).maps}"
    gradcam = GradCAM(nn_module=explained, target_layers=layer, postprocessing=_as_it_is)
    maps = []
    for part in images.to(network.imagenet_mean.device).split(BATCH):
        asked = part.clone().requires_grad_(True)  # so that gradients flow through frozen layers
        methylated, unmethylated = (gradcam(asked, class_idx=index).detach() for index in range(2))
        maps.append((methylated - unmethylated)[:, 0].cpu().numpy())
    return np.concatenate(maps).astype(np.float32)


def cells(network: MGMTClassifier, images: Tensor) -> tuple[int, int]:
    """How many cells, down and across, the network's last maps have of ``(K, 1, H, W)``: Grad-CAM sees no finer."""
    found: list[torch.Size] = []
    maps = network.backbone.get_submodule(get_backbone(network.network).maps)
    hook = maps.register_forward_hook(lambda _layer, _given, output: found.append(output.shape))
    try:
        with torch.no_grad():
            network.features(images[:1].to(network.imagenet_mean.device))
    finally:
        hook.remove()
    return int(found[0][2]), int(found[0][3])


class _BothClasses(nn.Module):
    """The logits of "methylated" and of "not methylated", (B, 2)."""

    def __init__(self, network: MGMTClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        return torch.cat([logits, -logits], dim=1)


def _as_it_is(maps: Tensor) -> Tensor:
    """MONAI's own would turn the values round and stretch each slice to its own range."""
    return maps
