"""What the figures were measured on: everything that matters to them, nothing that names the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("mgmt_monai", "torch", "monai", "pytorch-ignite", "numpy", "SimpleITK", "itk", "pydicom", "onnxruntime",
            "openvino")  # fmt: skip


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
    if not cpuinfo.is_file():
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    lines = {name.strip(): value.strip() for name, _, value in pairs}
    flags = lines.get("flags", "").split()
    widest = next((word for flag, word in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return ", ".join(part for part in (lines.get("model name", platform.machine()), widest) if part)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
