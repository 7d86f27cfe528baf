"""A bundle as MONAI's model zoo takes it, where ``MODEL_ZOO`` names a checkout of Project-MONAI/model-zoo."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from isolated_venv import make_venv

ZOO = os.environ.get("MODEL_ZOO", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("training"),
    pytest.mark.skipif(not ZOO, reason="needs MODEL_ZOO, a checkout of Project-MONAI/model-zoo"),
]


@pytest.fixture(scope="module")
def zoo(page_exports, tmp_path_factory) -> Path:
    """The zoo with this bundle as its only one."""
    folder = tmp_path_factory.mktemp("zoo")
    for name in ("ci", "pyproject.toml", "setup.cfg"):
        path = Path(ZOO) / name
        shutil.copytree(path, folder / name) if path.is_dir() else shutil.copyfile(path, folder / name)
    shutil.copytree(page_exports / "exported" / "mgmt_t1w_forms", folder / "models" / "mgmt_t1w")
    (folder / "models" / "model_info.json").write_text("{}")
    return folder


@pytest.mark.parametrize("mode", ["min", "regular", "full"])
def test_the_zoos_own_checks_pass(zoo, shared_data, tmp_path, mode):
    bundle = zoo / "models" / "mgmt_t1w"
    (bundle / "eval").mkdir(exist_ok=True)  # where the zoo downloads the schema to
    shutil.copyfile(shared_data / "schema" / "meta_schema_20240725.json", bundle / "eval" / "schema.json")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    names = ["monai", "torch", "numpy", "jsonschema", "requests", "pyyaml", *metadata["required_packages_version"]]
    python = make_venv(tmp_path / "venv", names)

    done = subprocess.run(
        [python, "ci/verify_bundle.py", "-b", "mgmt_t1w", "-p", "models", "-m", mode],
        cwd=zoo, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    assert "metadata format is verified correctly." in done.stdout
    assert ("Provided TorchScript module is verified correctly." in done.stdout) == (mode == "full")


@pytest.mark.parametrize(
    "words", [["black", "--skip-magic-trailing-comma", "--check"], ["isort", "--check"], ["flake8"]], ids=lambda w: w[0]
)
def test_the_zoos_formatters_have_nothing_to_say(zoo, words):
    if find_spec(words[0]) is None:
        pytest.skip(f"needs {words[0]}")
    done = subprocess.run(
        [sys.executable, "-m", *words, "models"], cwd=zoo, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
