"""What `pip install` gives is whole: every documented command works from an empty folder, without the checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from built_package import ROOT, build_package, install, outside
from phantom_runs import SMALL, newest_run

CONFIGS = sorted(path.name for path in (ROOT / "bundles").iterdir())
TINY = {**SMALL, "image_size": 32, "transfer_epochs": 1, "fine_tune_epochs": 1}
OPTIONS = [word for key, value in TINY.items() for word in (f"--{key}", str(value))]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    return build_package(tmp_path_factory.mktemp("built"))


def run(words: list[str | Path], cwd: Path, **environment: str) -> str:
    """What a command prints; it must succeed."""
    told = outside(OMP_NUM_THREADS="1", **environment)
    done = subprocess.run(words, cwd=cwd, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout


def test_wheel_has_every_file_of_the_package_as_a_file(built: tuple[Path, Path]) -> None:
    listed = subprocess.run(["git", "ls-files", "mgmt_monai"], cwd=ROOT, check=True, capture_output=True, text=True)
    ours = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}  # the link to bundles is none
    wanted = ours | {f"mgmt_monai/bundles/{name}" for name in CONFIGS}

    with ZipFile(built[1]) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}

    assert set(packed) == wanted
    assert [name for name in wanted if packed[name] != (ROOT / name).read_bytes()] == []


def test_sdist_has_the_configs_as_files(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        packed = {member.name.partition("/")[2]: member for member in sdist.getmembers()}

    assert {name for name, member in packed.items() if name.startswith("mgmt_monai/bundles/") and member.isfile()} == {
        f"mgmt_monai/bundles/{name}" for name in CONFIGS
    }
    assert [name for name, member in packed.items() if member.issym() or member.islnk()] == []


@pytest.mark.slow
def test_unpacked_wheel_runs_without_the_checkout(built: tuple[Path, Path], tmp_path: Path) -> None:
    unpacked, here = tmp_path / "unpacked", tmp_path / "here"
    here.mkdir()
    with ZipFile(built[1]) as wheel:
        wheel.extractall(unpacked)
    command = [sys.executable, "-m", "mgmt_monai.cli.main"]

    told = run([*command, "config", "t1w", "evaluate"], here, PYTHONPATH=str(unpacked))
    run([*command, "phantom", "phantom", "--patients", "16"], here, PYTHONPATH=str(unpacked))
    run([*command, "train", "t1w", "--dataset_dir", "phantom", *OPTIONS], here, PYTHONPATH=str(unpacked))

    packaged = unpacked / "mgmt_monai" / "bundles"
    assert told.strip() == str([str(packaged / "t1w.json"), str(packaged / "evaluate.json")])
    assert (newest_run(here / "runs") / "metrics.json").is_file()


@pytest.mark.slow
def test_installed_wheel_does_all_that_is_documented(built: tuple[Path, Path], tmp_path: Path) -> None:
    installed, here = install(built[1], tmp_path / "venv"), tmp_path / "here"
    here.mkdir()
    ours, monai = installed / "mgmt-monai", [installed / "python", "-m", "monai.bundle", "run", "training"]

    run([ours, "phantom", "data/phantom", "--patients", "16"], here)
    run([ours, "train", "t1w", *OPTIONS], here)
    trained = newest_run(here / "runs")
    run([ours, "bundle", "export", f"runs/t1w/{trained.name}", "--out", "models"], here)
    run([ours, "bundle", "verify", "models/mgmt_t1w"], here)
    run([ours, "predict", "data/phantom/train/90000", "--bundle", "models/mgmt_t1w"], here)
    config = run([ours, "config", "flair"], here).strip()
    run([*monai, "--config_file", config, *OPTIONS], here)
    run([ours, "compare", "--networks", "mobilenet-v2,resnet-10", "--modalities", "T2w",
         "--reference-modality", "T2w", "--name", "tiny", "--weights", "mobilenet-v2=none",
         "--weights", "resnet-10=none", *OPTIONS], here)  # fmt: skip

    assert Path(config).is_relative_to(tmp_path / "venv")
    assert len(list(here.glob("**/prediction.json"))) == 1
    assert [path.name for path in (here / "runs" / "flair").glob("*/metrics.json")] == ["metrics.json"]
    assert (here / "runs" / "comparisons" / "tiny" / "report" / "report.html").is_file()
