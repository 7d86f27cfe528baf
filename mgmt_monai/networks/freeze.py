"""What each of the two training stages trains, and which layers run in train mode meanwhile.

``transfer``: the backbone is a fixed feature extractor, the head learns. ``fine_tune``: everything learns
except BatchNorm, the backbone's and the head's, which keep their statistics and their affine parameters.

Source: the paper's section IV ("Freeze the layers of this model"; "unfreezing all of the model weights ...
(except for Batch Normalization Layer)").
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mgmt_monai.networks.errors import NetworkError

STAGES = ("transfer", "fine_tune")
"""The stages, in the order in which they are run."""


def batchnorm_layers(module: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm layer inside ``module``, in the order of its definition."""
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]


def trainable_parameters(backbone: nn.Module, head: nn.Module, stage: str) -> list[nn.Parameter]:
    """The parameters that an optimizer of this stage gets; nothing is changed.

    Args:
        backbone: The feature extractor.
        head: The layers behind it.
        stage: ``transfer`` or ``fine_tune``.

    Returns:
        The parameters in the order of the modules' definition, the backbone's first; the same order in
        every process, so that an optimizer's state can be saved and loaded.

    Raises:
        NetworkError: The stage is unknown.
    """
    if check_stage(stage) == "transfer":
        return list(head.parameters())
    return [
        parameter
        for part in (backbone, head)
        for layer in part.modules()
        if not isinstance(layer, _BatchNorm)
        for parameter in layer.parameters(recurse=False)
    ]


def set_trainable(backbone: nn.Module, head: nn.Module, stage: str) -> None:
    """Let exactly the parameters of this stage take gradients; gradients held by any are dropped.

    Args:
        backbone: The feature extractor.
        head: The layers behind it.
        stage: ``transfer`` or ``fine_tune``.

    Raises:
        NetworkError: The stage is unknown.
    """
    trained = {id(parameter) for parameter in trainable_parameters(backbone, head, stage)}
    for part in (backbone, head):
        for parameter in part.parameters():
            parameter.requires_grad_(id(parameter) in trained)
            parameter.grad = None


def hold_frozen_layers(backbone: nn.Module, head: nn.Module, stage: str) -> None:
    """Put the layers that this stage does not train into eval mode; to be called after each ``train()``.

    Args:
        backbone: The feature extractor.
        head: The layers behind it.
        stage: ``transfer`` or ``fine_tune``.

    Raises:
        NetworkError: The stage is unknown.
    """
    if check_stage(stage) == "transfer":
        backbone.eval()
        return
    for layer in (*batchnorm_layers(backbone), *batchnorm_layers(head)):
        layer.eval()


def check_stage(stage: str) -> str:
    """The stage itself, when there is one of this name.

    Args:
        stage: ``transfer`` or ``fine_tune``.

    Returns:
        ``stage``.

    Raises:
        NetworkError: The stage is unknown.
    """
    if stage not in STAGES:
        raise NetworkError(f"unknown training stage {stage!r}: use one of {', '.join(STAGES)}")
    return stage
