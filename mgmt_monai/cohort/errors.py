"""What can be wrong with a cohort, one class for the whole room."""

from mgmt_monai.errors import MgmtMonaiError


class CohortError(MgmtMonaiError):
    """A series, label file, exclusion list, split or manifest that cannot be used as it is."""
