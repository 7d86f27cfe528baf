"""A split as a table, to be kept and read back."""

from mgmt_monai.cohort.splits.holdout import LISTED_COLUMNS, ListedSplit
from mgmt_monai.csv_file import csv_text


def format_split(listed: ListedSplit) -> str:
    """The table of a split, as `read_split` reads it back.

    Returns:
        CSV with the columns `LISTED_COLUMNS`, sorted by patient, lines ending in a line feed; ``excluded`` is yes or
        no, and ``split`` and ``fold`` are empty for those excluded.
    """
    rows = [
        (patient, "", "", "yes", listed.excluded[patient])
        if patient in listed.excluded
        else (patient, listed.split[patient], listed.fold.get(patient, ""), "no", "")
        for patient in sorted({*listed.split, *listed.excluded})
    ]
    return csv_text(LISTED_COLUMNS, rows)
