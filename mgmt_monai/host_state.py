"""What a training or a prediction sets for a whole process, put back for a notebook or a program that called it."""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from monai.utils import get_seed, set_determinism

from mgmt_monai.own_process import name_user


@contextmanager
def as_it_was() -> Iterator[None]:
    """Random numbers, determinism, environment variables and the import path are those of before, once this is left.

    Use it around what is called from Python; a program of ours ends after its work.

    Yields:
        Nothing.
    """
    before = random.getstate(), np.random.get_state(), get_seed()
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    environment, path = dict(os.environ), sys.path[:]
    name_user()
    with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        try:
            yield
        finally:
            if get_seed() != before[2]:
                set_determinism(before[2])
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
            random.setstate(before[0])
            np.random.set_state(before[1])
            for name in {*os.environ} - {*environment}:
                del os.environ[name]
            os.environ.update(environment)
            sys.path[:] = path
