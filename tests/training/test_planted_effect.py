"""The pipeline finds a planted effect, and finds nothing where nothing is planted (minutes: ``make test-slow``)."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from phantom_runs import BUNDLES, newest_run

from mgmt_monai.phantom import write_phantom

ROOT = Path(__file__).parents[2]


def demo_setting(name: str) -> list[str]:
    """The demo's own options, from the Makefile."""
    found = re.search(rf"^{name} \?= ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert found, name
    return shlex.split(found[1].replace("\\\n", " "))


def patient_auc(effect: float, seed: int, folder: Path) -> dict[str, float]:
    """Train T1w as the demo does on a phantom of its size; the fine-tuned network's AUC by patient."""
    n_patients = int(demo_setting("PHANTOM_OPTIONS")[1])
    data = write_phantom(folder / "phantom", n_patients=n_patients, effect=effect, seed=seed)
    words = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(BUNDLES / "t1w.json"),
             "--dataset_dir", str(data), "--output_dir", str(folder / "runs"), "--seed", str(seed),
             *demo_setting("DEMO_OVERRIDES")]  # fmt: skip
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    metrics = json.loads((newest_run(folder / "runs") / "metrics.json").read_text())
    return metrics["fine_tune"]["test"]["patient"]["auc"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("effect", "found"), [(3.0, True), (0.0, False)], ids=["effect-3", "effect-0"])
def test_interval_tells_a_planted_effect_from_none(effect, found, seed, tmp_path, capsys):
    auc = patient_auc(effect, seed, tmp_path)
    with capsys.disabled():
        sys.stdout.write(
            f"\neffect {effect:g}, seed {seed}: test AUC {auc['value']:.2f} "
            f"(95 % interval {auc['low']:.2f}-{auc['high']:.2f}, {auc['n']} patients)\n"
        )
    if found:
        assert auc["low"] > 0.5
    else:
        assert auc["low"] <= 0.5 <= auc["high"]
