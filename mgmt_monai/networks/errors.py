"""The error of this room."""

from mgmt_monai.errors import MgmtMonaiError


class NetworkError(MgmtMonaiError):
    """A network that cannot be built, or weights that do not fit it; the message says which and why."""
