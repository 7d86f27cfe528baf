"""What each of the two training stages trains, and which layers run in train mode meanwhile.

``transfer``: the backbone is a fixed feature extractor, the head learns. ``fine_tune``: everything learns
except BatchNorm, the backbone's and the head's, which keep their statistics and their affine parameters.

Source: the paper's section IV ("Freeze the layers of this model"; "unfreezing all of the model weights ...
(except for Batch Normalization Layer)").
"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

STAGES = ("transfer", "fine_tune")
"""The stages, in the order in which they are run."""


def batchnorm_layers(module: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm layer inside ``module``, in the order of its definition."""
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
