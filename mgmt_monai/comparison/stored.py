"""A comparison's record, fetched from MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mgmt_monai.comparison.record import ComparisonRecord, read_record
from mgmt_monai.tracking.comparisons import fetch_files

RECORD, REPORT = "comparison", "report"
"""The folders of the parent run's artifacts."""


def stored_record(uri: str, run_id: str) -> ComparisonRecord:
    """The record of a comparison that has come to its end.

    Args:
        uri: The store.
        run_id: The comparison's parent run.

    Raises:
        TrackingError: MLflow cannot be read, or the run has no record.
        ComparisonError: The record is not whole.
    """
    with tempfile.TemporaryDirectory() as temporary:
        return read_record(fetch_files(uri, run_id, RECORD, Path(temporary) / "record"))
