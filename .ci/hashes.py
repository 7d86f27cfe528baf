"""Write requirements.txt and requirements-cuda.txt: the wheels that constraints.txt pins, with their SHA-256.

Run it when setup.cfg or constraints.txt change: ``python .ci/hashes.py``. Linux on x86-64. pip names the wheels that it
would install from PyPI for each Python, and those of torch's CPU build from PyTorch's own index; where that cannot be
reached, the digests that are in requirements.txt stay.
"""

import configparser
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
PYPI, PYTORCH = "https://pypi.org/simple", "https://download.pytorch.org/whl/cpu"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)] + [
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
]

#: What PyPI's torch needs and the CPU build does not.
CUDA = ("nvidia-", "cuda-", "triton")


def wheels(python: str, index: str, *words: str) -> dict[str, tuple[str, str]]:
    """Version and digest of each wheel that pip would install, by name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--quiet", "--only-binary=:all:", "--target", folder]
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        subprocess.run(
            [sys.executable, "-m", "pip", "install", *options, *platforms, "--python-version", python,
             "--index-url", index, "--report", str(report), *words],
            check=True,
        )  # fmt: skip
        found = json.loads(report.read_text())["install"]
    return {
        re.sub("[-_.]+", "-", one["metadata"]["name"]).lower(): (
            one["metadata"]["version"].partition("+")[0],
            one["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for one in found
    }


def main() -> None:
    """Ask pip, and write both files."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    direct = [line for line in config["options"]["install_requires"].split("\n") if line and line[0] != "#"]
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    found: dict[str, tuple[str, set[str]]] = {}
    for python in PYTHONS:
        for name, (version, digest) in wheels(python, PYPI, *pins, *direct, "setuptools").items():
            found.setdefault(name, (version, set()))[1].add(digest)
    before = ROOT / "requirements.txt"
    try:
        for python in PYTHONS:
            found["torch"][1].add(wheels(python, PYTORCH, "--no-deps", f"torch=={found['torch'][0]}")["torch"][1])
    except subprocess.CalledProcessError:
        kept = re.search(r"^torch==(\S+)(( \\\n.*)+)", before.read_text(), re.MULTILINE) if before.exists() else None
        if kept is None or kept[1] != found["torch"][0]:
            raise
        found["torch"][1].update(re.findall("[0-9a-f]{64}", kept[2]))
    head = "# The wheels of constraints.txt for Linux on x86-64, Python " + ", ".join(PYTHONS)
    for path, of_cuda in ((before, False), (ROOT / "requirements-cuda.txt", True)):
        lines = [f"{head}{', that PyPI' + chr(39) + 's torch needs beside requirements.txt' if of_cuda else ''}; "
                 "made by .ci/hashes.py"]  # fmt: skip
        for name in sorted(name for name in found if name.startswith(CUDA) is of_cuda):
            version, digests = found[name]
            lines.append(" \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{of}" for of in sorted(digests))]))
        path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
