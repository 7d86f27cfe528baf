"""The main job on real slices of RSNA-MICCAI (minutes: ``make test-slow``). It has to run; no figure is expected."""

import json
import subprocess
import sys

import pytest
from phantom_runs import BUNDLES, newest_run


@pytest.mark.slow
def test_main_job_runs_to_the_end_on_real_patients(real_slices, tmp_path, capsys):
    words = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(BUNDLES / "t1wce.json"),
             "--dataset_dir", str(real_slices),
             "--slice_fraction", "1.0", "--image_size", "160", "--output_dir", str(tmp_path / "runs")]  # fmt: skip
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    metrics = json.loads((newest_run(tmp_path / "runs") / "metrics.json").read_text())
    for stage, of_stage in metrics.items():
        auc = of_stage["test"]["patient"]["auc"]
        with capsys.disabled():
            sys.stdout.write(f"\nreal T1wCE, {stage}: test AUC {auc['value']:.2f} ({auc['n']} patients)\n")
        assert 0 <= auc["value"] <= 1
        assert auc["low"] is auc["high"] is None  # three of a label
