"""MONAI's own checks, run for real: a whole bundle passes them all, a broken one fails the one that it breaks."""

from __future__ import annotations

import importlib.util
import json
import marshal
import shutil
from pathlib import Path

import pytest

from mgmt_monai.cli.main import main
from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.verify import _properties, verify_bundle

DOOR_CHECKS = [
    "train.json runs: run", "train.json runs: training", "train.json runs: create_workflow",
    "train.json runs: trainer.run()", "train.json gives the same bytes each time",
    "evaluate.json runs: run", "evaluate.json runs: create_workflow", "evaluate.json gives the same bytes each time",
    "inference.json runs: run", "inference.json runs: create_workflow", "inference.json gives the same bytes each time",
]  # fmt: skip

MONAI_SCHEMA = "schema/meta_schema_20240725.json"


@pytest.fixture
def copied(exported_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_bundle, tmp_path / "copied"))


@pytest.mark.slow
def test_verify_passes_an_export_from_another_folder(
    exported_bundle: Path, phantom_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(path.relative_to(exported_bundle) for path in exported_bundle.rglob("*"))
    study = min((phantom_dir / "train").iterdir())

    assert main(["bundle", "verify", str(exported_bundle), "--study", str(study)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * (7 + len(DOOR_CHECKS) + 1)
    assert [line.split(maxsplit=1)[1] for line in lines[7:-2]] == DOOR_CHECKS
    assert lines[-1] == f"{exported_bundle}: all checks passed"
    assert sorted(path.relative_to(exported_bundle) for path in exported_bundle.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_verify_takes_monais_own_schema(exported_bundle: Path, shared_data: Path) -> None:
    with open_bundle(exported_bundle) as bundle:
        check = next(verify_bundle(bundle, schema=shared_data / MONAI_SCHEMA))
    assert check.fault == ""


@pytest.mark.slow
def test_verify_tells_what_metadata_lacks(copied: Path) -> None:
    path = copied / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["task"]
    path.write_text(json.dumps(metadata))
    with open_bundle(copied) as bundle:
        check = next(verify_bundle(bundle))
    assert not check.passed
    assert "'task' is a required property" in check.fault


def test_verify_runs_no_foreign_code(copied: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with (copied / "scripts" / "__init__.py").open("a") as script:
        script.write(f"\nopen({str(mark)!r}, 'w')\n")
    with open_bundle(copied) as bundle, pytest.raises(ExchangeError, match=r"scripts/__init__.py.*--trust-bundle"):
        next(verify_bundle(bundle))
    assert not mark.exists()


@pytest.mark.slow
def test_verify_runs_no_compiled_code_of_the_bundle(copied: Path, tmp_path: Path) -> None:
    mark, script = tmp_path / "mark", copied / "scripts" / "errors.py"
    code = compile(f"{script.read_text()}\nopen({str(mark)!r}, 'w')\n", str(script), "exec", dont_inherit=True)
    cached = Path(importlib.util.cache_from_source(str(script)))
    cached.parent.mkdir()
    # Unchecked: Python takes it for the script, whatever the script says.
    cached.write_bytes(importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code))
    with open_bundle(copied) as bundle:
        checks = verify_bundle(bundle)
        assert [next(checks).fault, next(checks).fault] == ["", ""]
        checks.close()
    assert not mark.exists()


def test_verify_refuses_a_study_that_is_not_there(exported_bundle: Path, tmp_path: Path) -> None:
    with open_bundle(exported_bundle) as bundle, pytest.raises(ExchangeError, match="no such study"):
        next(verify_bundle(bundle, study=tmp_path / "none"))


@pytest.mark.slow
def test_verify_tells_what_a_config_lacks(copied: Path, phantom_dir: Path) -> None:
    for name, key in (("inference", "inferer"), ("train", "validate")):
        path = copied / "configs" / f"{name}.json"
        config = json.loads(path.read_text())
        del config[key]
        path.write_text(json.dumps(config))
    (copied / "configs" / "evaluate.json").unlink()
    study = min((phantom_dir / "train").iterdir())
    faults = {check.name: check.fault for check in _properties(copied, study, phantom_dir, copied.parent / "out")}
    assert "inferer" in faults["inference.json has MONAI's properties"]
    assert "validate" in faults["train.json has MONAI's properties"]
    assert faults["evaluate.json has MONAI's properties"] == "it is not there"
