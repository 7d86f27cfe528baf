"""The main command, killed without notice right after its n-th checkpoint: ``killed_run.py N run training ...``."""

import os
import signal
import sys
from contextlib import contextmanager

import fire
import monai.bundle.__main__  # the commands, as ``python -m monai.bundle`` has them

from mgmt_monai.atomic import atomic_file
from mgmt_monai.training import handlers

written = 0
limit = int(sys.argv.pop(1))


@contextmanager
def killing_atomic_file(path):
    global written
    with atomic_file(path) as temporary:
        yield temporary
    written += path.suffix == ".pt"
    if written == limit:
        os.kill(os.getpid(), signal.SIGKILL)


handlers.atomic_file = killing_atomic_file
fire.Fire(vars(monai.bundle.__main__))
