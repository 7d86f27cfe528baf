"""Trainings by several processes, started with the commands of docs/how-to/several-gpus.md, held against one's."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from phantom_runs import BUNDLES, SMALL, start

ROOT = BUNDLES.parent
PAGE = (ROOT / "docs" / "how-to" / "several-gpus.md").read_text()
TABLES = {
    "epochs.csv": ["stage", "epoch", "split", "metric", "value"],
    "predictions.csv": ["patient_id", "stage", "split", "probability"],
    "slice_predictions.csv": ["patient_id", "stage", "split", "slice_index", "probability"],
}


def begin(
    number: int, dataset_dir: Path, output_dir: Path, config: str = "t1w", **more: object
) -> subprocess.Popen[str]:
    """Start the page's n-th command on a small phantom with seed 3, as the fixture ``finished_run`` has it."""
    line = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[number]
    line = line.replace("config t1w", f"config {config}")
    line, n_named = re.subn(r"\$\(mgmt-monai config (.*?)\)", lambda found: _paths(found[1]), line)
    assert n_named == 1
    words = shlex.split(line)
    assert words[0] == "torchrun"
    settings = {**SMALL, "seed": 3, "dataset_dir": dataset_dir, "output_dir": output_dir, **more}
    words += [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    return start([sys.executable, "-m", "torch.distributed.run", *words[1:]], cwd=ROOT)


def _paths(names: str) -> str:
    """What ``mgmt-monai config`` prints for these names, within a shell's quotation marks."""
    return str([str(BUNDLES / f"{name}.json") for name in names.split()])


def assert_equal_within_rounding(run: Path, expected: Path) -> None:
    for name, (*keys, value) in TABLES.items():
        ours, theirs = pd.read_csv(run / name), pd.read_csv(expected / name)
        pd.testing.assert_frame_equal(ours[keys], theirs[keys])
        np.testing.assert_allclose(ours[value], theirs[value], atol=1e-4, err_msg=name)
    states = [torch.load(folder / "fine_tune/best.pt", weights_only=True) for folder in (run, expected)]
    assert list(states[0]) == list(states[1])
