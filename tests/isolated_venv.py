"""A virtual environment with some of the installed distributions and what they require, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def make_venv(path: Path, names: Iterable[str]) -> Path:
    """Make it at ``path`` by links to what is installed here; its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    target = path / "lib" / version / "site-packages"
    needed = with_requirements(names)
    tops = {name: {file.parts[0] for file in dist.files or () if _is_library(file)} for name, dist in needed.items()}
    owners = Counter(top for found in tops.values() for top in found)
    for name, dist in needed.items():
        for top in tops[name]:
            if owners[top] == 1:
                (target / top).symlink_to(dist.locate_file(top))
        for file in dist.files or ():  # of a namespace that several share, each its own files
            if _is_library(file) and owners[file.parts[0]] > 1:
                link = target / file
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(dist.locate_file(file))
    return path / "bin" / "python"


def with_requirements(names: Iterable[str]) -> dict[str, Distribution]:
    """The distributions of these names and all that they require here, by canonical name."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(name) for name in names]
    extras: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        asked = {(name, extra) for extra in ("", *requirement.extras)}
        if asked <= extras:
            continue
        extras |= asked
        found[name] = distribution(requirement.name)
        for line in found[name].requires or ():
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for _, extra in asked):
                waiting.append(inner)
    return found


def _is_library(file: Path) -> bool:
    return file.parts[0] not in ("..", "__pycache__") and not Path(file).is_absolute()
