"""The modules that go along with a bundle: all that its configs need, and no more."""

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from mgmt_monai.carried_code import write_code
from mgmt_monai.exchange.bundle_code import distributions, needed_code
from mgmt_monai.exchange.errors import ExchangeError

PACKAGE = Path(__file__).parents[2] / "mgmt_monai"

pytestmark = pytest.mark.xdist_group("training")

#: Before code, so that the model zoo's formatters leave it as it is.
AS_IT_IS = "# fmt: off\n# isort: skip_file\n# flake8: noqa: B008, B042, B950\n"

NOT_NEEDED = (
    "comparison", "cli", "pacs", "exchange", "phantom", "cohort/doctor", "inference/explain", "inference/engines",
    "inference/prediction_page.py", "evaluation/models.py", "evaluation/subgroups.py", "evaluation/plots/forest.py",
    "evaluation/plots/controls.py", "evaluation/plots/candidates.py",
)  # fmt: skip


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of the real one's name, with one way to need something in each of its files."""
    files = {
        "__init__.py": "",
        "plain.py": "import mgmt_monai.room.a\nimport torch\n",
        "room/__init__.py": "from mgmt_monai import corridor\n",
        "room/a.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    import typed_only\n    from mgmt_monai.unused import x\n"
            "def f():\n    from mgmt_monai.lazy import late\n    import sklearn.metrics as m\n"
            "PRELOAD = ['mgmt_monai.room.worker']\n"
            "SERVED = 'served.py'\n"
            "TABLE = 'data/table.csv'\n"
        ),
        "room/worker.py": "",
        "room/served.py": "from ..relative import y\n",
        "room/other.py": "",
        "room/data/table.csv": "mgmt_monai",
        "room/data/table.md": "card",
        "room/data/unused.csv": "",
        "relative.py": "y = 1\n",
        "corridor.py": "",
        "lazy/__init__.py": "late = 1\n",
        "unused.py": "x = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "mgmt_monai" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "mgmt_monai"


def found(code) -> list[str]:
    return [path.as_posix() for path in code.files]


def test_everything_that_is_reached_goes_along(package):
    config = {"imports": ["$import os", "$import mgmt_monai.plain"], "net": {"_target_": "ignite.X"}}

    code = needed_code(config, package)

    assert found(code) == [
        "__init__.py", "corridor.py", "lazy/__init__.py", "plain.py", "relative.py", "room/__init__.py", "room/a.py",
        "room/data/table.csv", "room/data/table.md", "room/served.py", "room/worker.py",
    ]  # fmt: skip
    assert code.imports == ("fire", "ignite", "sklearn", "torch")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({"a": {"_target_": "mgmt_monai.lazy.late"}}, "lazy/__init__.py", id="target"),
        pytest.param({"a": [{"b": "$@x + mgmt_monai.relative.y"}]}, "relative.py", id="expression"),
        pytest.param({"a::_target_": "mgmt_monai.lazy.late"}, "lazy/__init__.py", id="override"),
    ],
)
def test_config_names_what_it_needs(package, config, expected):
    assert found(needed_code(config, package)) == ["__init__.py", expected]


def test_name_that_the_package_does_not_have_is_refused(package):
    with pytest.raises(ExchangeError, match=r"mgmt_monai\.gone\.x"):
        needed_code({"a": "$mgmt_monai.gone.x()"}, package)


def test_code_is_written_under_its_name_in_a_bundle(package, tmp_path):
    write_code(needed_code({"a": "$mgmt_monai.plain.x"}, package).files, tmp_path / "scripts", package)

    assert (tmp_path / "scripts/plain.py").read_text() == AS_IT_IS + "import scripts.room.a\nimport torch\n"
    assert "PRELOAD = ['scripts.room.worker']" in (tmp_path / "scripts/room/a.py").read_text()
    assert (tmp_path / "scripts/room/data/table.csv").read_text() == "mgmt_monai"


def test_bundle_has_no_room_that_it_does_not_need(exported_bundle):
    scripts = exported_bundle / "scripts"

    assert [name for name in NOT_NEEDED if not (PACKAGE / name).exists()] == []  # else nothing is held here
    assert [name for name in NOT_NEEDED if (scripts / name).exists()] == []
    assert (scripts / "training" / "evaluation_run.py").is_file()


def test_bundle_code_imports_nothing_of_the_package_and_only_modules_that_are_there(exported_bundle):
    scripts = exported_bundle / "scripts"
    checked, missing = 0, []
    for path in scripts.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert [name for name in names if name.partition(".")[0] == "mgmt_monai"] == [], path
            for name in names:
                if name.partition(".")[0] == "scripts" and "TYPE_CHECKING" not in path.read_text():
                    module = exported_bundle / name.replace(".", "/")
                    checked += 1
                    if not (module.with_suffix(".py").is_file() or (module / "__init__.py").is_file()):
                        missing.append((path, name))
    assert checked > 100
    assert missing == []


def test_every_module_of_a_bundle_is_imported_where_the_package_is_not(exported_bundle, tmp_path):
    names = [
        ".".join(path.relative_to(exported_bundle).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((exported_bundle / "scripts").rglob("*.py"))
        if path.name != "served_model.py"  # MLflow runs it as a file
    ]
    code = (
        "import importlib, sys\nsys.modules['mgmt_monai'] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported_bundle, env={**os.environ, "PYTHONPATH": "", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_bundle_code_is_small(exported_bundle):
    files = [path for path in (exported_bundle / "scripts").rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files if path.suffix != ".safetensors") < 1_300_000
    assert [
        path.name for path in files if path.suffix not in (".py", ".csv", ".json", ".md", ".safetensors", ".j2", ".css")
    ] == []


def test_packaged_weights_go_along_with_their_card(exported_bundle):
    data = exported_bundle / "scripts" / "networks" / "data"

    assert sorted(path.suffix for path in data.iterdir()) == [".md", ".safetensors"]


def test_distributions_are_named_as_an_index_names_them():
    assert distributions(("fire", "ignite", "mlflow", "numpy", "sklearn", "torch")) == [
        "fire", "mlflow", "pytorch-ignite", "scikit-learn",
    ]  # fmt: skip
    assert version("pytorch-ignite")


def test_library_that_is_not_installed_is_told():
    with pytest.raises(ExchangeError, match="not_a_library"):
        distributions(("not_a_library",))
