"""What goes wrong with a bundle and can be mended by its user."""

from mgmt_monai.errors import MgmtMonaiError


class ExchangeError(MgmtMonaiError):
    """A bundle that cannot be written, verified or read."""
