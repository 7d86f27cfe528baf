"""A program that uses this package as a library goes on as it was: each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from phantom_runs import BUNDLES, SMALL

#: What stands for a whole process, told before and after what the test does.
STATE = """
import logging, resource, signal, sys
from pathlib import Path
import tqdm

def held_mib():
    "Of 64 MiB that are freed, what stays with the process."
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    before = resident()
    block = b"x" * (64 << 20)
    del block
    return resident() - before

def state():
    return {
        "signals": {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD)},
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "excepthook": sys.excepthook,
        "disabled": logging.root.manager.disable,
        "levels": {name: logging.getLogger(name).level for name in ("", "alembic", "mlflow.store", "urllib3", "monai")},
        "tqdm": (vars(tqdm.tqdm)["__init__"], tqdm.tqdm.__new__),  # from the class, some versions make a new one
        "keeps what is freed": held_mib() > 32,
    }

def own_hook(*error):
    print("the host's own hook:", error[0].__name__)

sys.excepthook = own_hook
signal.signal(signal.SIGTERM, lambda *_: print("the host's own handler"))
bar = tqdm.tqdm(total=2, file=sys.stdout)
"""

TRAIN = """
import monai.bundle
before = state()
monai.bundle.run(run_id="training", config_file={config!r}, logging_file=False, **{settings!r})
"""

TRAIN_BADLY = """
import monai.bundle
before = state()
try:
    monai.bundle.run(run_id="training", config_file={config!r}, logging_file=False, **{settings!r}, fold=3)
except Exception as error:
    print(type(error).__name__)
"""

#: From Python, what is drawn, known and found is put back too; the front door has it of `train` and `predict`.
FROM_PYTHON = """
import os, random
import numpy, torch, monai.utils, mlflow
import mgmt_monai as mgmt
rest = state
def state():
    return {{
        **rest(), "drawn": (random.getstate(), numpy.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()),
        "seed": monai.utils.get_seed(), "environment": dict(os.environ), "path": sys.path[:],
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
    }}
mgmt.train, mgmt.predict
before = state()
"""

TRAIN_FROM_PYTHON = FROM_PYTHON + 'assert mgmt.train("t1w", **{settings!r}).is_dir()'
PREDICT_FROM_PYTHON = FROM_PYTHON + "assert mgmt.predict({study!r}, {bundle!r}).series"

PREDICT = """
from pathlib import Path
from mgmt_monai.inference.model import open_models
from mgmt_monai.inference.predict_study import predict_study
before = state()
with open_models([Path({bundle!r})], engine="auto") as models:
    assert predict_study(Path({study!r}), models, progress_bar=False).prediction.series
"""

SHOWN = """
after = state()
assert before == after, (before, after)
assert not bar.disable and bar.n == 0 and bar in tqdm.tqdm._instances
print("as before")
raise KeyError("shown by the host")
"""


def told_by(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", STATE + code + SHOWN],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "as before" in done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(TRAIN, id="to its end", marks=pytest.mark.slow),
        pytest.param(TRAIN_BADLY, id="that fails", marks=pytest.mark.slow),
        pytest.param(TRAIN_FROM_PYTHON, id="front door", marks=pytest.mark.slow),
    ],
)
def test_host_is_as_before_after_a_training(code: str, phantom_dir: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "dataset_dir": str(phantom_dir), "output_dir": str(tmp_path / "runs")}
    settings |= {"transfer_epochs": 1, "fine_tune_epochs": 1, "weights": "none", "backbone": "resnet-10"}
    told = told_by(code.format(config=str(BUNDLES / "t1w.json"), settings=settings), tmp_path)
    assert "the host's own hook: KeyError" in told


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "code",
    [pytest.param(PREDICT, marks=pytest.mark.slow), pytest.param(PREDICT_FROM_PYTHON, marks=pytest.mark.slow)],
    ids=["inside", "front door"],
)
def test_host_is_as_before_after_a_prediction(
    code: str, exported_bundle: Path, phantom_dir: Path, tmp_path: Path
) -> None:
    study = next(path for path in sorted((phantom_dir / "train").iterdir()) if path.is_dir())
    told = told_by(code.format(bundle=str(exported_bundle), study=str(study)), tmp_path)
    assert "the host's own hook: KeyError" in told
