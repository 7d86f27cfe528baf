"""Nobody's code is run but our own, unless the user says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.trust import foreign_code


@pytest.fixture
def copied(exported_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_bundle, tmp_path / "copied"))


def found(bundle: Path) -> str:
    with open_bundle(bundle) as opened:
        return foreign_code(opened)


def change(path: Path, *keys: str, value: object) -> None:
    config = json.loads(path.read_text())
    inner = config
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(config))


def test_foreign_code_of_an_export_is_none(copied: Path) -> None:
    assert found(copied) == ""


def test_foreign_code_is_not_what_ordinary_use_leaves(copied: Path) -> None:
    for name in (
        "eval/prediction.json", "eval/mlruns.db", "scripts/__pycache__/errors.cpython-311.pyc", "models/model_final.pt",
        "models/verify_model.ts", "runs/mlartifacts/1/models/m-1/artifacts/code/served_model.py", "mlruns.db",
        "train_data_stats.yaml", "fl_runs/t1w/run-1/run.json", ".DS_Store", "large_files.yml",
    ):  # fmt: skip
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_bytes(b"left")
    assert found(copied) == ""


def test_foreign_code_names_a_changed_script(copied: Path) -> None:
    with (copied / "scripts" / "errors.py").open("a") as script:
        script.write("import os\n")
    assert found(copied) == "scripts/errors.py"


def test_foreign_code_names_a_script_that_the_package_lacks(copied: Path) -> None:
    (copied / "scripts" / "slices" / "more.py").write_text("")
    assert found(copied) == "scripts/slices/more.py"


@pytest.mark.parametrize("name", ["sitecustomize.py", "monai/__init__.py", "torch.so", "runpy.pyc", "docs/x.py"])
def test_foreign_code_names_a_module_beside_scripts(copied: Path, name: str) -> None:
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_text("")
    assert found(copied) == name


def test_foreign_code_names_a_link_in_scripts(copied: Path) -> None:
    script = copied / "scripts" / "errors.py"
    moved = script.rename(copied.parent / "errors.py")
    script.symlink_to(moved)
    assert found(copied) == "scripts/errors.py"


@pytest.mark.parametrize("config", ["train", "evaluate", "multi_gpu_train", "inference"])
def test_foreign_code_names_an_expression(copied: Path, config: str) -> None:
    change(copied / "configs" / f"{config}.json", "device", value="$__import__('os').system('true')")
    assert found(copied) == f"configs/{config}.json: $__import__('os').system('true')"


def test_foreign_code_names_another_logging_config(copied: Path) -> None:
    with (copied / "configs" / "logging.conf").open("a") as file:
        file.write("[handler_other]\nclass=FileHandler\nargs=('/tmp/other',)\n")
    assert found(copied) == "configs/logging.conf"


def test_foreign_code_names_a_component(copied: Path) -> None:
    change(copied / "configs" / "train.json", "loss", "_target_", value="os.system")
    assert found(copied) == "configs/train.json: os.system"


def test_foreign_code_leaves_settings_free(copied: Path) -> None:
    change(copied / "configs" / "train.json", "transfer_epochs", value=3)
    assert found(copied) == ""


def test_foreign_code_names_a_linked_folder(copied: Path) -> None:
    (copied / "scripts").rename(copied / "docs" / "s")
    (copied / "scripts").symlink_to("docs/s")
    assert found(copied).startswith("docs/s/")
