"""What goes wrong with pixels."""

from mgmt_monai.errors import MgmtMonaiError


class TransformError(MgmtMonaiError):
    """A transform was set up with an impossible argument or given an input that it cannot work on."""


class SeriesReadError(TransformError):
    """The pixels of a series cannot be read; the message names patient, modality, path and the remedy."""
