"""A study through MONAI Deploy, where its SDK is installed: `pip install monai-deploy-app-sdk`."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pydicom
import pytest
from sr_content import items

from mgmt_monai.inference.model import open_models
from mgmt_monai.inference.predict_study import predict_study

APP = Path(__file__).parents[2] / "docs" / "how-to" / "deploy_app.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("training"),
    pytest.mark.skipif(find_spec("monai.deploy") is None, reason="needs monai-deploy-app-sdk"),
]


def test_application_writes_the_report_of_the_study(exported_bundle: Path, study_dir: Path, tmp_path: Path) -> None:
    words = ["--input", str(study_dir), "--model", str(exported_bundle), "--output", str(tmp_path)]
    root = {"PYTHONPATH": str(APP.parents[2]), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, APP, *words], cwd=tmp_path, env={**os.environ, **root}, check=True)

    with open_models([exported_bundle]) as models:
        expected = predict_study(study_dir, models).prediction.probability
    [number] = items(pydicom.dcmread(tmp_path / "report.dcm"), "MM010")
    assert expected is not None
    assert float(number.MeasuredValueSequence[0].NumericValue) == pytest.approx(expected, abs=1e-6)
