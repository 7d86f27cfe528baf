"""What the figures were measured on: everything that matters to them, nothing that names the machine."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mgmt_monai.tracking.environment import cpu_name

PACKAGES = ("mgmt_monai", "torch", "monai", "pytorch-ignite", "numpy", "SimpleITK", "itk", "pydicom", "onnxruntime")


def describe() -> dict[str, Any]:
    """The machine that this process runs on.

    Returns:
        ``cpu``, ``cores`` (that this process may use), ``memory_gib``, ``gpu`` ("none" without one), ``system``,
        ``python``, ``packages`` (version by name; those not installed are left out), ``threads`` of torch, and the
        ``environment``: settings in force that change them.
    """
    import torch

    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "threads": {"torch": torch.get_num_threads(), "torch_interop": torch.get_num_interop_threads()},
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_PRELOAD") or name.startswith("MALLOC_")
        },
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, with the widest vector instructions that it has where the system tells them.

    Args:
        cpuinfo: Where Linux tells it.
    """
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    flags = re.search(r"^flags\s*:(.*)", text, re.MULTILINE)
    known = flags[1].split() if flags else []
    widest = next((word for flag, word in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in known), "")
    return ", ".join(part for part in (cpu_name(cpuinfo), widest) if part)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
