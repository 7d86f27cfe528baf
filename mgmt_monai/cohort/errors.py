"""What can be wrong with a cohort, one class for the whole room."""

from collections.abc import Sequence

from mgmt_monai.errors import MgmtMonaiError

_SHOWN = 3


class CohortError(MgmtMonaiError):
    """A series, label file, exclusion list, split or manifest that cannot be used as it is."""


class CohortFaultsError(CohortError):
    """Several faults found in one go; the message names the first few, ``faults`` holds every one.

    Args:
        faults: One line each, at least one.
        command: Of ``mgmt-monai``, with its argument: the one that lists every fault of this kind.
    """

    def __init__(self, faults: Sequence[str], command: str = "manifest build DATA_DIR") -> None:
        self.faults = tuple(faults)
        more = len(self.faults) - _SHOWN
        tail = f" And {more} more: 'mgmt-monai {command}' lists them all." if more > 0 else ""
        super().__init__(" ".join(self.faults[:_SHOWN]) + tail)
