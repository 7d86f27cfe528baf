"""What can stop a comparison."""

from collections.abc import Sequence

from mgmt_monai.errors import MgmtMonaiError


class ComparisonError(MgmtMonaiError):
    """A plan, a folder or a record of a comparison that cannot be gone on with."""


class ComparisonFaultsError(ComparisonError):
    """Trainings that failed, while the others ran to their end; the same command goes on with them."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = (*faults, "mend this and start the comparison again: what is done is not done again.")
        super().__init__(" ".join(self.faults))
