"""What a training ran on: code, packages, machine. Nothing here tells who the user or the patients are."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from mgmt_monai import __version__

_PACKAGES = (
    "monai", "torch", "numpy", "pytorch-ignite", "SimpleITK", "nibabel", "pydicom", "mlflow",
    "scikit-learn", "scipy", "statsmodels", "pandas",
)  # fmt: skip


def environment_tags() -> dict[str, str]:
    """The code and the machine as MLflow's tags: ``version.<package>``, ``hardware.<part>``, and the commit."""
    # Our own is not asked of the installed packages: as part of a bundle it is not among them.
    tags = {"version.mgmt_monai": __version__} | {f"version.{package}": _version(package) for package in _PACKAGES}
    tags["version.python"] = platform.python_version()
    tags["mlflow.source.git.commit"] = git_commit()
    tags["hardware.cpu"] = cpu_name()
    tags["hardware.cpu_count"] = str(os.cpu_count())
    tags["hardware.memory_gib"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f}"
    tags["hardware.gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return tags


def git_commit() -> str:
    """The checkout's commit, ``-dirty`` behind it where files differ; ``unknown`` outside a checkout."""
    try:
        question = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.check_output(
            question, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a bundle does without some
        return "not installed"
