"""Which environment `make` takes; nothing is installed here (`make --dry-run`)."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def python(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho Python {version}\n")
    path.chmod(stat.S_IRWXU)
    return path


@pytest.mark.parametrize(
    ("named", "made_anew"), [("3.13.0", True), ("3.11.7", False), ("", False)], ids=["another", "same", "none"]
)
def test_python_that_is_named_is_the_one_that_is_used(tmp_path: Path, named: str, made_anew: bool) -> None:
    venv = tmp_path / "venv"
    python(venv / "bin/python", "3.11.7")
    (venv / ".ready").write_text("https://download.pytorch.org/whl/cpu\n")
    words = [f"PYTHON={python(tmp_path / 'python', named)}"] if named else []
    ran = subprocess.run(
        ["make", "--dry-run", "lint", f"VENV={venv}", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ("-m venv" in ran.stdout) is made_anew
