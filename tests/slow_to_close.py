"""A made training that takes its time to close its run, as one does whose MLflow server is slow."""

import time
from pathlib import Path

from mgmt_monai.interruption import interruptible


def sleep(out: str, seconds: float, closes: float) -> None:
    """Sleep; when asked to end, go on for a while and say so."""
    with interruptible():
        try:
            time.sleep(seconds)
        except SystemExit:
            time.sleep(closes)
            Path(out).write_text("closed")
            raise
