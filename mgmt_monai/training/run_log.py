"""What a training says as it goes, also in its folder: a line an epoch, and ``training.log``."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LOG_NAME = "training.log"
"""In the run's folder; a resumed training adds to it."""


@contextmanager
def run_log(folder: Path) -> Iterator[None]:
    """Write what this package logs, from INFO on, into the folder's log too; what else is shown stays as it was.

    Yields:
        Nothing.
    """
    package = logging.getLogger(__name__.rsplit(".", 2)[0])
    before = package.level, package.propagate
    file = _File(folder / LOG_NAME, encoding="utf-8", errors="replace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    file.setLevel(logging.INFO)
    shown = _Shown(package)
    package.setLevel(min(logging.INFO, package.level or logging.INFO))
    package.propagate = False
    for handler in (file, shown):
        package.addHandler(handler)
    try:
        yield
    finally:
        for handler in (file, shown):
            package.removeHandler(handler)
        file.close()
        package.propagate = before[1]
        package.setLevel(before[0])


class _File(logging.FileHandler):
    """A full disk ends the training with its own line; logging would print a traceback at each of its own before."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Leave the line out of the file."""


class _Shown(logging.Handler):
    """Hands on to whoever listened before what would have been let through before."""

    def __init__(self, package: logging.Logger) -> None:
        super().__init__()
        self._package, self._own_level = package, package.level

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record."""
        parent, level = self._package.parent, self._own_level
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger is not self._package:  # one below the package may have a level of its own
            level = logger.level or level
            logger = None if logger.level else logger.parent
        if parent is not None and record.levelno >= (level or parent.getEffectiveLevel()):
            parent.handle(record)


def epoch_line(figures: Mapping[str, float], stage: str, epoch: int, epochs: int, n_validation: int) -> str:
    """What an epoch came to, in one line.

    Args:
        figures: Of one epoch, by ``split/metric``.
        stage: Of the training.
        epoch: Of the stage, from 1.
        epochs: Of the stage, at most.
        n_validation: Validation patients.

    Example:
        >>> figures = {"train/loss": 0.61234, "validation/loss": 0.7, "train/learning_rate": 1e-4}
        >>> epoch_line(figures | {"validation/patient_auc": 0.6875}, "transfer", 3, 20, 8)
        'transfer, epoch 3 of 20: loss 0.6123, validation loss 0.7000, AUC by patient 0.69 (8 patients), rate 0.0001'
    """
    auc = figures.get("validation/patient_auc", math.nan)
    patients = f"{n_validation} patient{'' if n_validation == 1 else 's'}"
    return (
        f"{stage}, epoch {epoch} of {epochs}: loss {figures.get('train/loss', math.nan):.4f}, validation loss "
        f"{figures.get('validation/loss', math.nan):.4f}, AUC by patient "
        f"{'undefined' if math.isnan(auc) else f'{auc:.2f}'} ({patients}), rate "
        f"{figures.get('train/learning_rate', math.nan):.3g}"
    )


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(42), duration(150), duration(9000)
        ('42 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
