"""A batch that several processes share, trained on as if one process had it: statistics, dropout, loss, gradient.

Each process has some rows of the batch, in the order of their ranks. Layers that look at the batch as a whole are
answered for the whole: BatchNorm in train mode takes mean and variance over all rows of all processes, and what is
random for each row (dropout, EfficientNet's drop connect) is drawn for all rows in every process, of which each takes
its own. With the loss and the gradients averaged in the end, every process makes the step that one process would
have made, but for rounding.

torch's ``SyncBatchNorm`` does the first of these on GPUs alone.

Why calls are intercepted, ``torch.rand`` among them: drop connect is no layer that could be exchanged for another, as
BatchNorm and dropout are, but a function of MONAI's that its blocks call by name, and which draws by ``torch.rand`` for
as many rows as it is given. To draw for all rows one would have to patch MONAI, to copy its EfficientNet, or to seed
each row by itself, which would no longer be the step that one process makes. So it happens for the forward pass of a
network that several processes train, and only to draws with a row for each slice. One process, and evaluation, never
come here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from mgmt_monai.networks.weighed_loss import labels_and_weights


class WholeBatchNetwork(DistributedDataParallel):
    """A network of which each process computes its rows of the batch; the gradients are averaged over processes.

    Its stage must have been set: what takes no gradient now takes none later. The module is the same in every process,
    keeps its parameters, buffers and their names, and is used by itself wherever nothing is trained.
    """

    def forward(self, images: Tensor, **whose: Tensor) -> Tensor:
        """The logits (B, 1) of this process's rows (B, 1, H, W); B may be 0, and differ between processes.

        A fusion has several slices a row, and ``whose`` they are.
        """
        if distributed.get_world_size() == 1:
            return super().forward(images, **whose)
        n_own = len(whose["row"].unique()) if whose else len(images)
        slices = _Rows(len(images))
        # Not every backbone takes a batch of nothing: a row that counts nowhere goes in its place.
        if not n_own:
            images, *others = (one.new_zeros((1, *one.shape[1:])) for one in (images, *whose.values()))
            whose = dict(zip(whose, others, strict=True))
        with _WholeBatch(_Rows(n_own), slices):
            return super().forward(images, **whose)[:n_own]


class WholeBatchLoss(nn.Module):
    """Mean binary cross-entropy over the rows of all processes, as each process contributes to it.

    What it returns is not the mean over this process's rows: it is weighted so that the *average over processes*, of
    the values and of the gradients, is the mean over all rows, however unequal the shares are.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The contribution, a scalar, of this process's rows.

        Args:
            logits: Shape (B, 1), B may be 0.
            targets: Labels (B, 1), 0 or 1; or (B, 2): labels and weights, as `WeighedLoss` takes them.
        """
        counts = _counts(len(logits))
        labels, weights = labels_and_weights(targets)
        total = functional.binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum")
        return total * (len(counts) / sum(counts))


class _Rows:
    """How many rows this process has, how many all have, and which of those are its own."""

    def __init__(self, n_own: int) -> None:
        counts = _counts(n_own)
        start = sum(counts[: distributed.get_rank()])
        self.n_own, self.n_all = n_own, sum(counts)
        self.own = slice(start, start + n_own) if n_own else slice(0, 1)


class _WholeBatch(TorchFunctionMode):
    """Inside, the layers that look at the batch as a whole are given the whole."""

    def __init__(self, rows: _Rows, slices: _Rows) -> None:
        super().__init__()
        self.rows, self.slices = rows, slices

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.batch_norm:
            return _batch_norm(self.rows.n_own, *args, **kwargs)
        if func is functional.dropout:
            return self._dropout(*args, **kwargs)
        # As drop connect calls it: a list of sizes, of which the first is the number of rows.
        if func is torch.rand and args and isinstance(args[0], Sequence) and args[0][0] == max(1, self.slices.n_own):
            return func([self.slices.n_all, *args[0][1:]], **kwargs)[self.slices.own]
        return func(*args, **kwargs)

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training:
            return input
        kept = torch.ones((self.rows.n_all, *input.shape[1:]), dtype=input.dtype, device=input.device)
        return input * functional.dropout(kept, p)[self.rows.own]


def _batch_norm(
    n_own: int,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` over the rows of all processes, of which the first ``n_own`` here count.

    Source: Ioffe and Szegedy, Batch normalization (2015), arXiv:1502.03167, algorithm 1; the running variance takes
    the unbiased one, as torch's.
    """
    if not training:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n_channels = input.shape[1]
    axes = [axis for axis in range(input.dim()) if axis != 1]
    rows = input.double()  # the variance is a difference of two large sums
    counted = rows[:n_own]
    n_values = counted.new_tensor([counted.numel() / n_channels])
    sums = _SumOverProcesses.apply(torch.cat([n_values, counted.sum(axes), (counted * counted).sum(axes)]))
    n = sums[0]
    mean, mean_square = (sums[1:] / n).split(n_channels)
    variance = (mean_square - mean**2).clamp(min=0)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * n / (n - 1)).to(running_var.dtype), momentum)
    shape = [-1 if axis == 1 else 1 for axis in range(input.dim())]
    normalised = ((rows - mean.view(shape)) / torch.sqrt(variance.view(shape) + eps)).to(input.dtype)
    if weight is not None:
        normalised = normalised * weight.view(shape)
    return normalised if bias is None else normalised + bias.view(shape)


class _SumOverProcesses(Function):
    """The sum over processes; so is its gradient, because what one process adds counts in the result of each."""

    @staticmethod
    def forward(ctx: FunctionCtx, own: Tensor) -> Tensor:
        return _sum(own)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        return _sum(gradients[0])


def _sum(own: Tensor) -> Tensor:
    total = own.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def _counts(n_own: int) -> list[int]:
    """How many rows each process has."""
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([n_own]))
    return [int(count) for count in counts]
