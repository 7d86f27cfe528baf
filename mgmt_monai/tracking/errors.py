"""What can be wrong with the store of runs."""

from mgmt_monai.errors import MgmtMonaiError


class TrackingError(MgmtMonaiError):
    """A store of runs that cannot be opened."""
