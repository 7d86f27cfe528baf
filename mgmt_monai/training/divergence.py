"""Whether a training has diverged, told from the course of its losses, finite or not."""

import math

from mgmt_monai.training.errors import DivergedError

GUESS = math.log(2)
"""Binary cross-entropy of always answering 0.5. A network at initialisation is near it: its logits are about 0.6 apart
(the head's last BatchNorm and the 32 weights below it), which makes 0.75."""

MOST_TRAINING_LOSS = 10 * GUESS
"""In an epoch's mean: the truth gets a probability of 1/1024 on (geometric) average, on the slices that are fitted.
Steps that are far too long lead there."""

MOST_VALIDATION_LOSS = 100 * GUESS
"""In an epoch's mean. An overfitted network can be sure and wrong, which early stopping sees to; but a mean logit of 69
on the wrong side is no answer of a network that was fitted."""


def check_course(
    stage: str, epoch: int, training_loss: float | None, validation_loss: float, learns: bool = True
) -> None:
    """End a training whose losses are those of no network that learns.

    Args:
        stage: ``transfer`` or ``fine_tune``.
        epoch: Of the stage, from 1.
        training_loss: Mean over the epoch's slices; None where it is not measured.
        validation_loss: After the epoch.
        learns: Not a negative control whose images may be blank: that leaves BatchNorm without variance, so that its
            loss may be anything finite.

    Raises:
        DivergedError: A loss is above its limit, or not finite.

    Example:
        >>> check_course("transfer", 1, 0.71, 0.69)
        >>> check_course("transfer", 2, 0.71, 2e6)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        mgmt_monai.training.errors.DivergedError: stage transfer, epoch 2: the training diverged: ...
    """
    for name, loss, most in (
        ("training", training_loss, MOST_TRAINING_LOSS),
        ("validation", validation_loss, MOST_VALIDATION_LOSS),
    ):
        most = most if learns else math.inf
        if loss is not None and not loss < most:
            raise DivergedError(
                f"stage {stage}, epoch {epoch}: the training diverged: expected a {name} loss below {most:.3g}, found "
                f"{loss:.4g}. Lower {stage}_learning_rate and start a new run."
            )
