"""A study's record, fetched from MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mgmt_monai.study.record import StudyRecord, read_record
from mgmt_monai.tracking.studies import fetch_files

RECORD, REPORT = "study", "report"
"""The folders of the parent run's artifacts."""


def stored_record(uri: str, run_id: str) -> StudyRecord:
    """The record of a study that has come to its end.

    Args:
        uri: The store.
        run_id: The study's parent run.

    Raises:
        TrackingError: MLflow cannot be read, or the run has no record.
        StudyError: The record is not whole.
    """
    with tempfile.TemporaryDirectory() as temporary:
        return read_record(fetch_files(uri, run_id, RECORD, Path(temporary) / "record"))
