"""MONAI's own checks, run for real: a whole bundle passes them all, a broken one fails the one that it breaks."""

from __future__ import annotations

import importlib.util
import json
import marshal
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from mgmt_monai.cli.main import main
from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.verify import _DOOR, _WITHOUT_US, _properties, _run, _told, verify_bundle

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


@pytest.mark.parametrize(
    "given",
    [{"handlers::0::_disabled_": True}, {"handlers::0::strict": False, "handlers::0::strict_shape": False}, {}],
    ids=["loader disabled", "loader not strict", "as it is"],
)
def test_bundle_predicts_with_its_weights_whoever_loads_them(
    exported_bundle: Path, finished_run: Path, phantom_dir: Path, tmp_path: Path, given: dict
) -> None:
    table = pd.read_csv(finished_run / "predictions.csv", dtype={"patient_id": str})
    row = table[(table["stage"] == "fine_tune") & (table["split"] == "test")].iloc[0]
    _asked(exported_bundle, phantom_dir / "train" / row["patient_id"], tmp_path / "out", **given)
    written = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert written["probability"] == pytest.approx(row["probability"], abs=1e-6)


def test_network_has_the_weights_where_no_handler_is_left(
    exported_bundle: Path, phantom_dir: Path, tmp_path: Path
) -> None:
    code = f"""{_WITHOUT_US}sys.path.insert(0, sys.argv[0])
import torch
from monai.bundle import ConfigWorkflow
root, study = sys.argv
made = ConfigWorkflow(root + '/configs/inference.json', logging_file=False, workflow_type='infer', bundle_root=root,
                      dataset_dir=study, **{{'evaluator::val_handlers': []}})
made.initialize()
made.evaluator.run()
weights = torch.load(root + '/models/model.pt', weights_only=True)
print('SAME', all(torch.equal(weights[name], tensor) for name, tensor in made.evaluator.network.state_dict().items()))
"""
    done = _run(tmp_path, [code, str(exported_bundle), str(min((phantom_dir / "train").iterdir()))])
    assert "SAME True" in done.stdout, _told(done.stderr)


@pytest.mark.parametrize("content", ["empty", "another training's"])
@pytest.mark.parametrize("way", ["load_path", "bundle_root"])
def test_bundle_predicts_with_no_other_weights(
    exported_bundle: Path, finished_run: Path, phantom_dir: Path, tmp_path: Path, content: str, way: str
) -> None:
    other = tmp_path / "other" / "models" / "model.pt"
    other.parent.mkdir(parents=True)
    other_state = torch.load(finished_run / "transfer" / "best.pt", weights_only=True)
    torch.save(other_state if content != "empty" else {}, other)
    given = {"handlers::0::load_path": str(other), "handlers::0::strict_shape": content != "empty"}
    if way == "bundle_root":
        given = {"handlers::0::_disabled_": True, "bundle_root": str(tmp_path / "other")}
    files = str(exported_bundle / "configs" / "inference.json")
    study = min((phantom_dir / "train").iterdir())
    overrides = {
        "bundle_root": str(exported_bundle),
        "dataset_dir": str(study),
        "output_dir": str(tmp_path / "out"),
        **given,
    }
    code = _DOOR.replace(
        "sys.path.insert(0, overrides['bundle_root'])", f"sys.path.insert(0, {str(exported_bundle)!r})"
    )
    told = _told(_run(tmp_path, [code, json.dumps(["create_workflow", [files], "infer", overrides])]).stderr)
    written = tmp_path / "out" / "prediction.json"
    if content == "empty" and way == "load_path":  # nothing was loaded over its own
        assert written.is_file()
    else:
        assert "expected the weights of this bundle" in told or "Error(s) in loading state_dict" in told
        assert not written.exists()


def _asked(bundle: Path, study: Path, out: Path, parts: tuple[str, ...] = ("inference",), **settings: object) -> str:
    """What a script without this package that runs a bundle's configs is told: the first error, or nothing."""
    files = [str(bundle / "configs" / f"{part}.json") for part in parts]
    overrides = {"bundle_root": str(bundle), "dataset_dir": str(study), "output_dir": str(out), **settings}
    return _told(_run(bundle, [_DOOR, json.dumps(["create_workflow", files, "infer", overrides])]).stderr)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"image_size": 64}, "image_size: expected 48, with which this bundle's model was trained, found 64."),
        ({"modality": "T2w"}, "modality: expected 'T1w', with which this bundle's model was trained, found 'T2w'."),
        ({"imagesize": 48}, "config key 'imagesize': unknown; did you mean 'image_size'?"),
        (
            {"preprocessing::transforms::3::lower_percentile": 20},
            "lower_percentile: expected '@lower_percentile', with",
        ),
        ({"preprocessing#transforms#5#antialias": 1}, "preprocessing::transforms::5: expected {'_target_': 'Resized'"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_weights_of_a_bundle_take_no_other_picture_and_no_unknown_key(
    exported_bundle: Path, phantom_dir: Path, tmp_path: Path, settings: dict, told: str
) -> None:
    study = min((phantom_dir / "train").iterdir())
    assert told in _asked(exported_bundle, study, tmp_path / "out", **settings)
    assert not (tmp_path / "out" / "prediction.json").exists()


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"image_size": 64}, "image_size: expected 48"),
        ({"evaluation::checkpoint": "other.pt"}, "evaluation::checkpoint: expected \"$@bundle_root + '/models/"),
        ({"train::deterministic_transforms::3::upper_percentile": 90}, "deterministic_transforms::3: expected {"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_bundle_scores_its_own_model_on_its_own_pictures(
    exported_bundle: Path, phantom_dir: Path, tmp_path: Path, settings: dict, place: str
) -> None:
    assert place in _asked(exported_bundle, phantom_dir, tmp_path / "out", ("train", "evaluate"), **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["missing", "one bit", "cut off"])
def test_weights_of_a_bundle_that_are_not_whole_are_refused(
    copied: Path, phantom_dir: Path, tmp_path: Path, fault: str
) -> None:
    weights = copied / "models" / "model.pt"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content if fault == "one bit" else content[:1000])
    if fault == "missing":
        weights.unlink()
    told = _asked(copied, min((phantom_dir / "train").iterdir()), tmp_path / "out")
    assert "model.pt: expected a checkpoint, found " in told and "--bundle_root" in told
    assert not (tmp_path / "out").exists()
