"""Stand-ins for `examine_series` that fail in a worker process as files, people and machines make readers fail."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.layouts.found import FoundSeries

#: The patient whose series is the trouble.
TROUBLE = "00003"

#: Where `slow` writes down what it read.
READ_LIST = "MGMT_TEST_READ_LIST"


def killed(found: FoundSeries, data_dir: Path, pixels: bool, identity: bool) -> SeriesExam:
    """As by the kernel when memory runs out, each time."""
    if found.patient_id == TROUBLE:
        os.kill(os.getpid(), signal.SIGKILL)
    return examine_series(found, data_dir, pixels, identity)


def killed_once(found: FoundSeries, data_dir: Path, pixels: bool, identity: bool) -> SeriesExam:
    """As by somebody else's fault."""
    marker = data_dir / "killed once"
    if found.patient_id == TROUBLE and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return examine_series(found, data_dir, pixels, identity)


def aborted(found: FoundSeries, data_dir: Path, pixels: bool, identity: bool) -> SeriesExam:
    """As by a decoder that finds its own memory damaged."""
    if found.patient_id == TROUBLE:
        os.abort()
    return examine_series(found, data_dir, pixels, identity)


def hanging(found: FoundSeries, data_dir: Path, pixels: bool, identity: bool) -> SeriesExam:
    """As on a file server that answers no more: signals that ask politely are not heard."""
    if found.patient_id == TROUBLE:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    return examine_series(found, data_dir, pixels, identity)


def greedy(found: FoundSeries, data_dir: Path, pixels: bool, identity: bool) -> SeriesExam:
    """As one that allocates what a file claims."""
    if found.patient_id == TROUBLE:
        np.zeros(1 << 36, np.uint8)
    return examine_series(found, data_dir, pixels, identity)


def faulty(found: FoundSeries, data_dir: Path, pixels: bool, identity: bool) -> SeriesExam:
    """As one with a fault of its own."""
    if found.patient_id == TROUBLE:
        raise KeyError("no such\nkey")
    return examine_series(found, data_dir, pixels, identity)


def slow(found: FoundSeries, data_dir: Path, pixels: bool, identity: bool) -> SeriesExam:
    """Takes its time, and writes down whose series it read."""
    time.sleep(0.03)
    exam = examine_series(found, data_dir, pixels, identity)
    with Path(os.environ[READ_LIST]).open("a") as stream:
        stream.write(f"{found.patient_id}\n")
    return exam
