"""BatchNorm statistics for a backbone that has no weights, so that its features carry anything at all.

A backbone that was only initialised has BatchNorm statistics of mean 0 and variance 1, which are not those
of its activations: frozen and in eval mode its signal dies away from layer to layer until nothing is left.
Measured once on training images, the statistics bring the signal back; the weights stay random.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.freeze import batchnorm_layers


def calibrate_batchnorm(network: MGMTClassifier, images: Iterable[Tensor]) -> None:
    """Set the statistics of the backbone's BatchNorm layers to the plain average over ``images``.

    Modes and momenta are as before afterwards; no weight changes. Every batch counts the same.

    Args:
        network: A network whose backbone has no weights loaded.
        images: Batches of training slices, shape (B, 1, H, W) each, float, in [0, 1]; never validation or
            test slices, of which the network may know nothing.

    Raises:
        NetworkError: The backbone holds loaded weights (ImageNet's would be destroyed: in the packaged file
            BatchNorm is folded into the convolutions), or there is no batch at all, or a batch is not of
            that shape. The statistics are then as they were.
    """
    layers = batchnorm_layers(network.backbone)
    if any(bool(layer.bias.any()) for layer in layers):
        raise NetworkError(
            f"BatchNorm of {network.network} is not to be calibrated: weights are loaded into it (its BatchNorm "
            "offsets are not zero), and new statistics would destroy them; calibrate only without weights"
        )
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    momenta = [layer.momentum for layer in layers]
    was_training = network.training
    device = network.imagenet_mean.device
    n_batches = 0
    try:
        network.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # torch: the cumulative average over all batches
            layer.train()
        with torch.no_grad():
            for batch in images:
                network.features(batch.to(device))
                n_batches += 1
        if n_batches == 0:
            raise NetworkError(f"BatchNorm of {network.network} cannot be calibrated: no training images were given")
    except BaseException:
        network.backbone.load_state_dict(before)
        raise
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        network.train(was_training)
