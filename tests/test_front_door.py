"""`import mgmt_monai` is light, and hands out a dozen names when they are first named."""

from __future__ import annotations

import ast
import doctest
import inspect
import io
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mgmt_monai as mgmt
from mgmt_monai.training.errors import TrainingError

NAMES = sorted(set(mgmt.__all__) - {"__version__"})


def named_for_type_checkers() -> dict[str, str]:
    """The module of each name that the front door imports under TYPE_CHECKING; no other import of ours is there."""
    tree = ast.parse(Path(mgmt.__file__).read_text())
    outside = [node for node in tree.body if isinstance(node, ast.ImportFrom | ast.Import)]
    assert [node.module for node in outside] == ["importlib", "typing"]
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: str(node.module) for node in block.body for alias in node.names}


def test_import_is_light_and_quick() -> None:
    code = (
        "import sys, time; start = time.process_time(); import mgmt_monai; dir(mgmt_monai); "
        "spent = time.process_time() - start; import json; print(json.dumps([spent, sorted(sys.modules)]))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    spent, modules = json.loads(told)
    assert spent < 0.2
    assert {"torch", "monai", "mlflow", "numpy", "ignite", "pandas", "SimpleITK"} & set(modules) == set()
    assert [name for name in modules if name.startswith("mgmt_monai.")] == []


def test_names_are_listed_before_they_are_imported() -> None:
    assert set(NAMES) <= set(dir(mgmt))
    assert 12 <= len(NAMES) <= 15


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_one_that_type_checkers_see(name: str) -> None:
    module = import_module(named_for_type_checkers()[name])

    assert getattr(mgmt, name) is getattr(module, name)


def test_type_checkers_see_no_other_name() -> None:
    assert sorted(named_for_type_checkers()) == NAMES


def told(name: str) -> str:
    """The docstring that has a name's example."""
    return str(
        mgmt.__doc__ if name in ("judge", "transforms", "MgmtMonaiError") else inspect.getdoc(getattr(mgmt, name))
    )


def run_examples(text: str, scope: dict[str, object]) -> str:
    """What differs when the examples of a docstring are run, those too that its own doctest skips; "" where none."""
    examples = doctest.DocTestParser().get_examples(text.replace("# doctest: +SKIP", ""))
    assert examples
    runner, out = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS), io.StringIO()
    test = doctest.DocTest(examples, scope, "front door", None, 0, text)
    runner.run(test, out=out.write, clear_globs=False)
    scope.update(test.globs)
    return out.getvalue()


@pytest.mark.parametrize("name", [name for name in NAMES if "+SKIP" not in told(name)])
def test_example_without_a_training_needs_no_other(name: str) -> None:
    assert f"mgmt.{name}" in told(name)
    assert run_examples(told(name), {}) == ""


@pytest.mark.slow
def test_examples_are_one_story_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MGMT_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    listed = re.findall(r"`(\w+)`", str(mgmt.__doc__).partition("Each one's")[0])
    assert sorted(listed) == NAMES
    scope: dict[str, object] = {}

    assert [differs for name in listed if (differs := run_examples(told(name), scope))] == []


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mgmt_monai' has no attribute 'trian'"):
        _ = mgmt.trian  # type: ignore[attr-defined]


def test_way_from_a_cohort_to_a_verdict(phantom_dir: Path, finished_run: Path, tmp_path: Path) -> None:
    settings = {"output_dir": tmp_path, "test_fraction": 0.25, "train_fraction": 0.67}
    cohort = mgmt.open_cohort(phantom_dir, "flair", **settings)
    slices = mgmt.SliceDataset(cohort.items("test"), mgmt.slice_transforms("flair", image_size=48))
    bundle = mgmt.export_run(finished_run, tmp_path / "models")
    said = mgmt.predict(phantom_dir / "train" / "90000", bundle)
    figures = mgmt.evaluate(finished_run / "predictions.csv")["T1w fine_tune"]

    assert {item["modality"] for item in cohort.items("train")} == {"FLAIR"}
    assert slices[0]["image"].shape == (1, 48, 48)
    assert [answer.modality for answer in said.series] == ["T1w"]
    written = json.loads((finished_run / "metrics.json").read_text())["fine_tune"]["test"]["patient"]
    assert figures["auc"]["value"] == pytest.approx(written["auc"]["value"])


def test_mistyped_setting_is_told_as_the_command_tells_it(tmp_path: Path) -> None:
    for ask in (mgmt.train, mgmt.slice_transforms):
        with pytest.raises(TrainingError, match="config key 'image_sise': unknown; did you mean 'image_size'"):
            ask(image_sise=3)


def test_fault_inside_a_training_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=str(tmp_path / "nowhere")):
        mgmt.train(dataset_dir=tmp_path / "nowhere", output_dir=tmp_path / "runs", device="cpu")


def test_training_gives_its_folder(phantom_dir: Path, tmp_path: Path) -> None:
    from phantom_runs import SMALL

    run = mgmt.train("T1w", **{**SMALL, "dataset_dir": phantom_dir, "output_dir": tmp_path, "fine_tune_epochs": 1})

    assert run.parent == tmp_path / "t1w"
    assert (run / "metrics.json").is_file()
