"""The registered model behind ``mlflow models serve``: a real server, asked over HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from phantom_runs import workflow

from mgmt_monai.tracking.logged_model import log_classifier

pytestmark = pytest.mark.xdist_group("training")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "serve.md").read_text()


@pytest.fixture(scope="module")
def model_dir(finished_run) -> Path:
    """The folder of the run's registered model."""
    run_id = json.loads((finished_run / "run.json").read_text())["mlflow_run_id"]
    (output,) = MlflowClient(f"sqlite:///{finished_run.parents[1] / 'mlruns.db'}").get_run(run_id).outputs.model_outputs
    return finished_run.parents[1] / "mlartifacts/models" / output.model_id / "artifacts"


@pytest.fixture(scope="module")
def test_slices(finished_run, phantom_dir, tmp_path_factory) -> list[np.ndarray]:
    """Prepared slices of each test patient, in the order of the tables."""
    dataset = workflow(phantom_dir, tmp_path_factory.mktemp("again")).parser.get_parsed_content("test::dataset")
    return [np.stack([item["image"].numpy() for item in dataset if item["patient_index"] == i]) for i in range(4)]


@pytest.fixture(scope="module")
def expected(finished_run) -> pd.DataFrame:
    """Of the test's slices, what the training found."""
    table = pd.read_csv(finished_run / "slice_predictions.csv", dtype={"patient_id": str})
    return table[(table["stage"] == "fine_tune") & (table["split"] == "test")]


def blocks(language: str = "bash") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def without_package(folder: Path) -> dict[str, str]:
    """The environment of a Python that starts with mgmt_monai out of reach."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['mgmt_monai'] = None\n")
    return {"PYTHONPATH": str(folder)}


@contextmanager
def server(words: str, cwd: Path, **environment: str) -> Iterator[str]:
    """Run a shell command that serves on ``PORT``; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as in an activated environment
    log = (cwd / f"server-{port}.log").open("w+")
    process = subprocess.Popen(
        ["bash", "-ec", words.replace("5001", str(port))],
        cwd=cwd,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 120
        while not answers(address):
            assert process.poll() is None and time.monotonic() < end, Path(log.name).read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/ping", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def ask(address: str, images: Any) -> np.ndarray:
    body = json.dumps({"inputs": images.tolist()}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return np.array(json.load(answer)["predictions"])


def test_registered_model_gives_the_numbers_of_the_training(model_dir, test_slices, expected):
    answered = mlflow.pyfunc.load_model(str(model_dir)).predict(np.concatenate(test_slices))

    np.testing.assert_allclose(answered.ravel(), expected["probability"], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_server_of_the_page_answers_with_the_numbers_of_the_training(
    finished_run, phantom_dir, test_slices, expected, tmp_path
):
    """The page's commands as they stand: started by the registry's name, and asked by the page's script.

    The server has no mgmt_monai: what the model carries must do.
    """
    serve, question = blocks()
    (tmp_path / "runs").symlink_to(finished_run.parents[1])
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    patients = expected.groupby("patient_id", sort=False)
    serve = f"python -c 'import mgmt_monai' 2>/dev/null && exit 1\n{serve}"
    with server(serve, tmp_path, **without_package(tmp_path / "site")) as address:
        answered = [ask(address, slices) for slices in test_slices]
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(address, test_slices[0][..., :-1])

        patient_id, rows = next(iter(patients))
        words = question.replace("http://127.0.0.1:5001", address).replace("NAME", finished_run.name)
        words = words.replace("STUDY", str(phantom_dir / "train" / patient_id)).replace("python", sys.executable)
        printed = subprocess.run(["bash", "-ec", words], cwd=tmp_path, check=True, capture_output=True, text=True)

    assert [answer.shape for answer in answered] == [(len(group), 1) for _, group in patients]
    np.testing.assert_allclose(np.concatenate(answered).ravel(), expected["probability"], atol=1e-6, rtol=0)
    told = [float(number) for number in re.findall(r": ([\d.]+)$", printed.stdout, re.MULTILINE)]
    np.testing.assert_allclose(told, [*rows["probability"], rows["probability"].mean()], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_model_is_served_from_its_folder_too(model_dir, test_slices, expected, tmp_path):
    with server(f"exec mlflow models serve -m {model_dir} --env-manager local -p 5001", tmp_path) as address:
        answered = ask(address, test_slices[0])
    np.testing.assert_allclose(answered.ravel(), expected["probability"][: len(answered)], atol=1e-6, rtol=0)


def test_model_names_no_folder_of_this_machine(finished_run, model_dir):
    texts = {path: path.read_bytes() for path in model_dir.rglob("*") if path.is_file() and path.suffix != ".pt"}
    assert b"model_code_path: served_model.py" in texts[model_dir / "MLmodel"]
    secrets = [
        str(place).encode() for place in (Path.home(), ROOT, Path(tempfile.gettempdir()), finished_run.parents[1])
    ]
    assert [path.name for path, text in texts.items() if any(secret in text for secret in secrets)] == []


def test_model_carries_the_reference_and_no_pickle(finished_run, model_dir):
    files = {path.relative_to(model_dir).as_posix() for path in model_dir.rglob("*") if path.is_file()}
    assert {"artifacts/best.pt", "artifacts/settings.json", "artifacts/reference.safetensors"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]
    kept, logged = finished_run / "reference.safetensors", model_dir / "artifacts/reference.safetensors"
    assert logged.read_bytes() == kept.read_bytes()


def test_requirements_are_all_that_the_model_imports(model_dir):
    """Every top-level import of the carried code is Python's own, its own, or named in requirements.txt."""
    sources = [model_dir / "served_model.py", *model_dir.glob("code/**/*.py")]
    imported = {
        name
        for path in sources
        for name in re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
        if name not in sys.stdlib_module_names
    }
    named = {line.split("==")[0] for line in (model_dir / "requirements.txt").read_text().splitlines()}
    own = {path.name for path in (model_dir / "code").iterdir()}
    assert len(own) == 1 and imported - own <= named


def test_second_training_registers_a_second_version(finished_run, tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlruns.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("mgmt", artifact_location=(tmp_path / "files").as_uri())
    settings = {"network": "efficientnet-b0", "hidden_units": 32, "image_size": 48}
    runs = []
    for _ in range(2):
        run = client.create_run(experiment).info.run_id
        log_classifier(uri, run, finished_run / "fine_tune/best.pt", settings, "mgmt-t1w")
        runs.append(run)
    versions = [client.get_model_version("mgmt-t1w", number) for number in ("1", "2")]
    assert [(version.run_id, version.status) for version in versions] == [(run, "READY") for run in runs]
    assert "MLFLOW_TRACKING_URI" not in os.environ
