"""The loss of a batch whose slices may weigh differently."""

from torch import Tensor, nn
from torch.nn import functional


class WeighedLoss(nn.Module):
    """Mean binary cross-entropy of a batch, each slice times its weight.

    The mean is over the batch's slices, not over their weights: weights whose mean over an epoch is 1 make the mean of
    an epoch's steps that of the epoch.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar, of logits (B, 1) and targets (B, 1), labels 0 or 1, or (B, 2): labels and weights."""
        return functional.binary_cross_entropy_with_logits(logits, *labels_and_weights(targets))


def labels_and_weights(targets: Tensor) -> tuple[Tensor, Tensor | None]:
    """A batch's targets (B, 1) or (B, 2) as labels (B, 1), and weights (B, 1); None where all slices weigh the same."""
    return targets[:, :1], targets[:, 1:] if targets.shape[1] > 1 else None
