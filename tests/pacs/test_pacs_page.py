"""The commands of docs/how-to/pacs.md, run by bash as they stand there, with a real archive at the page's address."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from made_bundles import write_bundle
from real_orthanc import PASSWORD, Orthanc, behind_tls

from mgmt_monai.cli.main import COMMANDS
from mgmt_monai.pacs.study_source import SourceSeries

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "pacs.md"

pytestmark = [
    pytest.mark.xdist_group("training"),
    pytest.mark.skipif("predict" not in COMMANDS, reason="needs mgmt-monai predict"),
    pytest.mark.skipif(shutil.which("storescu") is None, reason="needs storescu and dsrdump (Debian: dcmtk)"),
]


@pytest.mark.slow
def test_commands_of_the_page_run(
    orthanc: Orthanc,
    certificate: Path,
    study_dir: Path,
    finished_run: Path,
    sources: list[SourceSeries],
    tmp_path: Path,
) -> None:
    shutil.copytree(study_dir, tmp_path / "CASE")
    write_bundle(tmp_path / "BUNDLE", finished_run, modality="T1w")
    shutil.copy(certificate / "ca.pem", tmp_path / "hospital-ca.pem")
    subprocess.run(
        ["storescu", "--scan-directories", "--recurse", "localhost", str(orthanc.dicom_port), str(study_dir)],
        check=True,
    )
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    with behind_tls(orthanc, certificate / "server.pem") as archive:
        script = "\n".join([blocks[3], *blocks[:3]])  # the authority first
        script = script.replace("https://pacs.example/dicom-web", archive.url)
        script = script.replace("pacs.example 4242", f"localhost {archive.dicom_port}")
        script = script.replace("1.2.840.113619.2.5", str(sources[0].first.StudyInstanceUID))
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            input=f"{PASSWORD}\n",
            capture_output=True,
            text=True,
            check=False,
        )

    assert ran.returncode == 0, ran.stderr
    assert "Enhanced SR Document" in ran.stdout
    assert PASSWORD not in ran.stdout + ran.stderr
    report = pydicom.dcmread(tmp_path / "archived" / "report.dcm")
    assert report.StudyInstanceUID == sources[0].first.StudyInstanceUID
    assert len(list((tmp_path / "archived" / "images").rglob("*.dcm"))) == sum(len(one.headers) for one in sources)
