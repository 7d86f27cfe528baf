"""What the machine is like, and how a training makes use of it: device, data type, loader processes."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from mgmt_monai.own_process import processors
from mgmt_monai.training.errors import TrainingError

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
"""What `training_dtype` takes."""

#: More than this many keep no GPU busier: they hand out slices that are ready.
_MOST_WORKERS = 4


def default_device() -> torch.device:
    """The first GPU, else the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def check_device(device: torch.device | str) -> None:
    """Refuse a device that is not there, before anything is read.

    Args:
        device: As the setting names it.

    Raises:
        TrainingError: torch does not know it, or this machine does not have it.
    """
    try:
        torch.zeros(1, device=device).item()  # of the device 'meta' there is none
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(
            f"device: expected one that torch finds on this machine, found {device!r} ({str(error).splitlines()[0]}). "
            "Leave the setting out, or set --device cpu."
        ) from error


def loader_workers(device: torch.device | str) -> int:
    """How many processes hand out slices beside this one, for each loader that does.

    Args:
        device: Where the network is.

    Returns:
        0 where it is no GPU of CUDA, for then the network can use every core. Else up to 4, of the cores that this
        process may use; one stays free for the process itself, and ``torchrun``'s processes of a machine share them.
    """
    if torch.device(device).type != "cuda":
        return 0
    n_cores = processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(_MOST_WORKERS, n_cores - 1))


def training_dtype(precision: str, device: torch.device | str) -> torch.dtype:
    """The data type that layers which allow it compute in while training.

    Args:
        precision: ``float32``, ``bfloat16``, ``float16``, or ``auto``: bfloat16 where a CUDA device computes in it,
            else float32. On CPUs bfloat16 is slower unless they have instructions of their own for it.
        device: Where the network is.

    Raises:
        TrainingError: Another word, or ``float16`` on a device other than CUDA's, where the gradients would not be
            scaled.
    """
    device = torch.device(device)
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and _computes_in_bfloat16(device) else torch.float32
    if precision not in PRECISIONS:
        raise TrainingError(f"precision: expected one of {', '.join(PRECISIONS)}, found {precision!r}.")
    if precision == "float16" and device.type != "cuda":
        raise TrainingError(f"precision: float16 is for CUDA GPUs, found the device {device}. Set bfloat16 or auto.")
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


class PrecisionInferer(SimpleInferer):
    """Gives slices to the network that is trained, in mixed precision where that is wanted.

    Weights, gradients, optimizer and checkpoints stay float32, and so do the logits. Validation and scoring take no
    part: their figures are those of the network as it is used later, and bfloat16, with 8 bits, would make ties of
    probabilities that differ.

    Args:
        precision: As `training_dtype` takes it.
        device: Where the network is.

    Raises:
        TrainingError: The device cannot do it.

    Source: torch's "Automatic Mixed Precision": the forward pass alone belongs into ``autocast``.
    """

    def __init__(self, precision: str, device: torch.device | str) -> None:
        super().__init__()
        self.dtype = training_dtype(precision, device)
        if self.dtype != torch.float32:
            logger.info(f"training in mixed precision, {str(self.dtype).removeprefix('torch.')}")

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """The logits, float32."""
        with torch.autocast(inputs.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            logits = super().__call__(inputs, network, *args, **kwargs)
        return logits.float()


def _computes_in_bfloat16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)
