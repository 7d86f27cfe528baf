"""What can go wrong when raw series are prepared."""

from mgmt_monai.errors import MgmtMonaiError


class PreparationError(MgmtMonaiError):
    """A series that cannot be brought into the patient's space, or a head that is not found."""
