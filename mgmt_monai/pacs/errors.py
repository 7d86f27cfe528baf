"""What goes wrong between here and an archive and can be mended by the user."""

from mgmt_monai.errors import MgmtMonaiError


class PacsError(MgmtMonaiError):
    """A series that no DICOM result can refer to, or an archive that does not give or take what it should."""
