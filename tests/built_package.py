"""The package as it is given away: built from a copy of the checkout, installed beside what it requires."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from isolated_venv import make_venv
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def build_package(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel built from it, as `python -m build` writes them, of a copy of the checkout."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("mgmt_monai", "bundles"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    subprocess.run(command, check=True, capture_output=True, env=outside())
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return sdist, wheel


def required(wheel: Path) -> list[str]:
    """What a wheel says that it requires, without its extras."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    lines = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    return [str(each) for each in lines if each.marker is None]  # the marker of an extra is its name


def install(wheel: Path, folder: Path) -> Path:
    """The ``bin`` of a virtual environment with the wheel, with what it says it requires, and with nothing else."""
    python = make_venv(folder, required(wheel))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, env=outside())
    return python.parent


def outside(**more: str) -> dict[str, str]:
    """The environment of a process that does not see the checkout."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | more
