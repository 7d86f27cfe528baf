"""What can stop a training."""

from mgmt_monai.errors import MgmtMonaiError


class TrainingError(MgmtMonaiError):
    """A setting, run directory or course of a training that cannot be gone on with."""


class DivergedError(TrainingError):
    """The losses have become those of no network that learns: this training cannot be gone on with."""
