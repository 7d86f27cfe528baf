"""What can go wrong between series and slices."""

from mgmt_monai.errors import MgmtMonaiError


class SlicesError(MgmtMonaiError):
    """Series that cannot be turned into slices, or batches that cannot be drawn from them."""
