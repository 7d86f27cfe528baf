"""The main command, killed without notice right after its stages' n-th checkpoint: ``killed_run.py N run ...``."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def main() -> None:
    """Count the checkpoints as they are completed; the plain model's is none of a stage."""
    import fire
    import monai.bundle.__main__  # the commands, as ``python -m monai.bundle`` has them

    from mgmt_monai.atomic import atomic_file
    from mgmt_monai.training import stage
    from mgmt_monai.training.plain_model import PLAIN

    left = int(sys.argv.pop(1))

    @contextmanager
    def killing_atomic_file(path: Path) -> Iterator[Path]:
        nonlocal left
        with atomic_file(path) as temporary:
            yield temporary
        left -= path.suffix == ".pt" and path.parent.name != PLAIN
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    stage.atomic_file = killing_atomic_file
    fire.Fire(vars(monai.bundle.__main__))


if __name__ == "__main__":
    main()
