"""What can stop a training."""

from mgmt_monai.errors import MgmtMonaiError


class TrainingError(MgmtMonaiError):
    """A setting, run directory or course of a training that cannot be gone on with."""
