"""The backbone's features of slices as they are, and what tells the network that made them from every other."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from mgmt_monai.networks.classifier import MGMTClassifier

CODE = ("classifier.py", "backbones.py", "efficientnet.py", "alexnet.py", "mobilenet_v2.py")
"""Whose text is part of the key, in this folder: what a feature is, is decided there."""


def features_of(classifier: MGMTClassifier, images: Tensor, batch_size: int) -> Tensor:
    """The features ``(K, n_features)`` float32, on the CPU, of slices ``(K, 1, H, W)`` float32 in [0, 1].

    They are not augmented, ``batch_size`` at a time; the classifier is in eval mode, on any device.
    """
    device = classifier.imagenet_mean.device
    with torch.no_grad():
        return torch.cat([classifier.features(part.to(device)).cpu() for part in images.split(batch_size)])


def network_key(classifier: MGMTClassifier, image_size: int) -> str:
    """A SHA-256 of all that decides about the features but the slices; the head does not."""
    found = hashlib.sha256(f"{classifier.network} {image_size}\n".encode())
    for name, tensor in sorted(classifier.backbone.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for name in CODE:
        found.update((Path(__file__).parent / name).read_bytes())
    return found.hexdigest()
