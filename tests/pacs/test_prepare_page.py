"""The commands of docs/how-to/prepare.md, run as they stand there; the raw study comes from a real archive. Slow."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
import requests
from made_bundles import write_bundle
from real_orthanc import PASSWORD, USER, Orthanc, run_orthanc

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "prepare.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("training"),
    pytest.mark.skipif(shutil.which("storescu") is None, reason="needs storescu (Debian: dcmtk)"),
]


@pytest.fixture
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Of its own: in the one of the other tests lies the clean phantom's study, which has the same identifiers."""
    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def test_commands_of_the_page_run(orthanc: Orthanc, finished_run: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MGMT_DICOMWEB_USER": USER, "MGMT_DICOMWEB_PASSWORD": PASSWORD}

    def run(line: str) -> str:
        ran = subprocess.run(
            shlex.split(line), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def n_images() -> int:
        told = requests.get(orthanc.url.replace("/dicom-web", "/statistics"), auth=(USER, PASSWORD), timeout=60)
        return int(told.json()["CountInstances"])

    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    phantom, prepare, build, predict = [line for block in blocks for line in block.splitlines()]
    assert "16 patients" in run(phantom)
    for folder in (tmp_path / "data/raw/train").glob("*/T*"):
        shutil.rmtree(folder)  # for the time: FLAIR alone
    assert "16 prepared, 0 of their series refused, 0 refused whole" in run(prepare)
    run(build)
    heads = json.loads((tmp_path / "data/prepared.json").read_text())["heads"]["FLAIR"]
    assert (heads["skull_stripped"], heads["prepared"]) == (16, 16)

    training = {"skull_stripped": True, "prepared": heads["how"]}
    write_bundle(tmp_path / "models/mgmt_flair", finished_run, {"training": training}, modality="FLAIR")
    study = tmp_path / "data/raw/train/90000"
    run(f"storescu --scan-directories --recurse localhost {orthanc.dicom_port} {study}")
    uid = str(pydicom.dcmread(next(study.rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)
    before = n_images()
    predict = predict.replace("https://pacs.example/dicom-web", orthanc.url).replace("1.2.840.113619.2.5", uid)
    run(predict)
    said = json.loads((tmp_path / "answer/prediction.json").read_text())["series"][0]
    assert said["n_slices"] == 155  # of the common space
    assert "not skull-stripped" not in " ".join(said["abstained"])
    assert n_images() == before
    assert "abstains: not skull-stripped: use --prepare" in run(
        predict.replace(" --prepare", "").replace("answer", "other")
    )
