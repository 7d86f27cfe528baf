"""The rooms of the package, and which may import which: docs/explanation/architecture.md in words."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mgmt_monai"

WAY = (
    "evaluation",
    "cohort",
    "phantom",
    "transforms",
    "preparation",
    "slices",
    "networks",
    "tracking",
    "training",
    "comparison",
    "exchange",
    "inference",
    "pacs",
    "cli",
)
"""Every room in the data's order: it may import the rooms before it. evaluation is plain figures, open to all."""

FORBIDDEN = {
    "evaluation": {"torch", "monai", "ignite", "mlflow"},
    "cohort": {"torch", "monai", "ignite", "mlflow", "evaluation"},
    "transforms": {"ignite", "mlflow", "evaluation"},
    "preparation": {"ignite", "mlflow", "evaluation", "networks"},
    "slices": {"ignite", "mlflow", "evaluation"},
    "networks": {"mlflow", "evaluation"},
}
"""What a room may not import although it comes before it, or comes from outside."""

COHORT_WAY = (
    "errors", "series", "findings", "records", "manifest", "tables", "files", "layouts", "examination", "duplicates",
    "people", "relations", "splits", "doctor", "describe", "features", "check", "build", "modality", "patients",
    "open_cohort",
)  # fmt: skip
"""The same inside the largest room: a file of `cohort/` imports files and folders before its own."""

HEAVY = {"torch", "monai", "ignite", "mlflow", "SimpleITK", "matplotlib", "sklearn", "scipy", "pandas"}


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """The dotted names a module imports anywhere in it, relative imports resolved against its package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def violations(root: Path) -> list[str]:
    """Each import below the package folder `root` that goes against the way, as 'file imports name'."""
    open_to_all = {path.stem for path in root.glob("*.py")}
    found = []
    for path in sorted(root.rglob("*.py")):
        if path == root / "__init__.py":  # the front door names every room, for type checkers alone: test_front_door
            continue
        parts = path.relative_to(root.parent).with_suffix("").parts
        room = parts[1] if len(parts) > 2 else None
        before = set(WAY[: WAY.index(room)]) if room in WAY else set()
        for name in imported(ast.parse(path.read_text()), ".".join(parts[:-1])):
            top, _, rest = name.partition(".")
            wanted = rest.partition(".")[0] if top == root.name else top
            inside = top == root.name and wanted not in open_to_all and not wanted.startswith("__")
            if wanted in FORBIDDEN.get(room or "", set()) or (inside and wanted not in before | {room}):
                found.append(f"{path.relative_to(root).as_posix()} imports {name}")
    return found


def backward(root: Path, way: tuple[str, ...]) -> list[str]:
    """Each import in the room `root` of a file or folder of its own that is not before the importing one."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parents[1]).with_suffix("").parts
        floor = parts[2]
        before = set(way[: way.index(floor) + 1]) if floor in way else set()
        for name in imported(ast.parse(path.read_text()), ".".join(parts[:-1])):
            own = name.removeprefix(f"{parts[0]}.{parts[1]}.").partition(".")[0]
            if name.startswith(f"{parts[0]}.{parts[1]}.") and own not in before:
                found.append(f"{path.relative_to(root).as_posix()} imports {name}")
    return found


def test_imports_inside_cohort_go_one_way() -> None:
    assert backward(PACKAGE / "cohort", COHORT_WAY) == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        pytest.param("tables/a.py", "from mgmt_monai.cohort.errors import E", [], id="before"),
        pytest.param("tables/a.py", "from mgmt_monai.cohort.tables import b", [], id="own folder"),
        pytest.param("tables/a.py", "from mgmt_monai.atomic import b", [], id="another room"),
        pytest.param("errors.py", "from .tables import t", ["mgmt_monai.cohort.tables.t"], id="behind, relative"),
        pytest.param(
            "errors.py",
            "def f():\n    from mgmt_monai.cohort import tables",
            ["mgmt_monai.cohort.tables"],
            id="behind, in function",
        ),
        pytest.param("attic.py", "import mgmt_monai.cohort.errors", ["mgmt_monai.cohort.errors"], id="unknown file"),
    ],
)
def test_backward_imports_of_one_file(tmp_path: Path, module: str, source: str, expected: list[str]) -> None:
    path = tmp_path / "mgmt_monai/cohort" / module
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert backward(tmp_path / "mgmt_monai/cohort", ("errors", "tables")) == [f"{module} imports {n}" for n in expected]


def test_package_imports_go_one_way() -> None:
    assert violations(PACKAGE) == []


def test_package_rooms_are_all_on_the_way() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms
    assert rooms <= set(WAY)


def test_commands_import_heavy_libraries_only_inside_functions() -> None:
    found = []
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                names = {name.split(".")[0] for name in imported(statement, "mgmt_monai.cli")}
                found += [f"{path.name} imports {name}" for name in sorted(names & HEAVY)]
    assert found == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        pytest.param("slices/a.py", "from mgmt_monai.cohort.series import Series", [], id="earlier room"),
        pytest.param("slices/a.py", "from mgmt_monai.slices import b", [], id="own room"),
        pytest.param("slices/a.py", "from mgmt_monai import __version__, errors", [], id="open to all"),
        pytest.param("slices/a.py", "import numpy, torch", [], id="library"),
        pytest.param(
            "slices/a.py",
            "def f():\n    import mgmt_monai.cli.main",
            ["mgmt_monai.cli.main"],
            id="later, in function",
        ),
        pytest.param("slices/a.py", "from ..networks import head", ["mgmt_monai.networks.head"], id="later, relative"),
        pytest.param("slices/a.py", "from .networks import head", [], id="own module, relative"),
        pytest.param("slices/a.py", "from mgmt_monai import training", ["mgmt_monai.training"], id="later, by name"),
        pytest.param("cohort/a/b.py", "import torch.nn as nn", ["torch.nn"], id="forbidden library"),
        pytest.param(
            "cohort/a/b.py", "from mgmt_monai.evaluation import x", ["mgmt_monai.evaluation.x"], id="forbidden room"
        ),
        pytest.param("errors.py", "import mgmt_monai.cohort", ["mgmt_monai.cohort"], id="room in a module open to all"),
        pytest.param("attic/a.py", "import mgmt_monai.cohort", ["mgmt_monai.cohort"], id="unknown room"),
    ],
)
def test_violations_of_one_import(tmp_path: Path, module: str, source: str, expected: list[str]) -> None:
    path = tmp_path / "mgmt_monai" / module
    path.parent.mkdir(parents=True)
    path.write_text(source)
    (tmp_path / "mgmt_monai/errors.py").touch()
    assert violations(tmp_path / "mgmt_monai") == [f"{module} imports {name}" for name in expected]


@pytest.mark.parametrize(
    ("call", "where"),
    [
        ("ImageFileReader(", ["cohort/files/pixels.py"]),
        ("ImageSeriesReader", []),
        ("sitk.ReadImage", []),
        (".pixel_array", []),
        (".dataobj", []),
        ("get_fdata", []),
        ("np.memmap(", ["cohort/files/nifti.py"]),
        ("gzip.open(", ["cohort/files/nifti.py"]),
        ("zlib.decompressobj(", ["cohort/files/tags.py"]),
    ],
)
def test_pixels_are_decoded_in_one_place(call: str, where: list[str]) -> None:
    lines = [(path, line) for path in sorted(PACKAGE.rglob("*.py")) for line in path.read_text().splitlines()]
    assert [path.relative_to(PACKAGE).as_posix() for path, line in lines if call in line] == where
