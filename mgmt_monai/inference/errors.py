"""What goes wrong with a study and can be mended by its user."""

from mgmt_monai.errors import MgmtMonaiError


class InferenceError(MgmtMonaiError):
    """A study that cannot be predicted or explained."""
