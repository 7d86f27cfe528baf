"""Our own modules in somebody else's hands: those that are needed and no other, under another name of the package.

A bundle carries them as ``scripts``; a model in MLflow carries them under a name that tells their content.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

OURS = __name__.partition(".")[0]
"""The package's name here: another where it is itself carried."""

PACKAGE = Path(__file__).parent
"""Its folder."""

SCRIPTS = "scripts"
"""Its name in a bundle, where its rooms lie in a folder of this name."""


@dataclass(frozen=True)
class Code:
    """What of the package is needed.

    Args:
        files: Python files and data files, relative to the package's folder, sorted.
        imports: Top-level names of the libraries that these files use, sorted; no standard library.
    """

    files: tuple[Path, ...]
    imports: tuple[str, ...]


def reached_code(names: Iterable[str], package: Path = PACKAGE) -> Code:
    """Follow the imports from some of our names.

    Imports inside functions count, those for type checkers alone do not. A text that is the dotted name of a module
    (for ``importlib.resources``, or a process to be started with it) counts as an import; a text that is the name of
    a Python file beside the module, or of a file in a room's ``data``, as a use of it: that file, and others of its
    stem, such as the card of weights.

    Args:
        names: Dotted, of modules or of what is in them; what the package does not have leads nowhere.
        package: The package's folder.
    """
    libraries: set[str] = set()
    texts: set[str] = set()
    done: set[Path] = set()
    waiting = [path for name in sorted(set(names)) for path in files_of(name, package)]
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in _imported(tree, ".".join([OURS, *path.relative_to(package).parent.parts])):
            if name.partition(".")[0] == OURS:
                waiting += files_of(name, package)
            else:
                libraries.add(name.partition(".")[0])
        for text in _texts(tree):
            texts.add(text)
            if re.fullmatch(rf"{OURS}(\.\w+)+", text):
                waiting += files_of(text, package)
            elif re.fullmatch(r"\w+\.py", text) and path.with_name(text).is_file():
                waiting.append(path.with_name(text))
    data = {file for folder in {path.parent / "data" for path in done} for file in _named_data(folder, texts)}
    files = sorted(path.relative_to(package) for path in done | data)
    return Code(tuple(files), tuple(sorted(libraries - set(sys.stdlib_module_names))))


def files_of(name: str, package: Path = PACKAGE) -> list[Path]:
    """The file of the longest module in a dotted name, and the ``__init__`` of every package on the way to it.

    Args:
        name: Such as ``mgmt_monai.slices.SliceDataset``.
        package: The package's folder.

    Returns:
        Paths; the package's own ``__init__.py`` alone where it has no such module.
    """
    files, folder = [package / "__init__.py"], package
    for part in name.split(".")[1:]:
        if not (folder / part / "__init__.py").is_file():
            module = folder / f"{part}.py"
            return [*files, module] if module.is_file() else files
        folder = folder / part
        files.append(folder / "__init__.py")
    return files


def write_code(files: Iterable[Path], folder: Path, package: Path = PACKAGE) -> None:
    """Copy files of the package into a folder, whose name is the package's name there."""
    for file in files:
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(carried(package / file, folder.name))


def carried(path: Path, name: str) -> bytes:
    """A file as it stands where the package has another name; code begins with `_AS_IT_IS`."""
    content = path.read_bytes()
    return (_AS_IT_IS + renamed(content.decode(), name)).encode() if path.suffix == ".py" and content else content


#: The model zoo's formatters leave alone what has this project's format, and another name's line lengths and order.
_AS_IT_IS = "# fmt: off\n# isort: skip_file\n# flake8: noqa: B008, B042, B950\n"


def renamed(value: Any, name: str) -> Any:
    """Code, or a config, with another name of the package.

    Args:
        value: Text, or a config or a part of it.
        name: That the package has there.

    Example:
        >>> renamed({"a": ["$import mgmt_monai", "mgmt_monai.slices.SliceDataset", "my_mgmt_monai.x"]}, "scripts")
        {'a': ['$import scripts', 'scripts.slices.SliceDataset', 'my_mgmt_monai.x']}
    """
    if isinstance(value, dict):
        return {key: renamed(part, name) for key, part in value.items()}
    if isinstance(value, list):
        return [renamed(part, name) for part in value]
    return re.sub(rf"(?<![\w.]){OURS}\b", name, value) if isinstance(value, str) else value


def _named_data(folder: Path, texts: set[str]) -> list[Path]:
    """The files of a ``data`` folder that a text names, bare or as ``data/NAME``, and others of the same stem."""
    files = [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    stems = {file.stem for file in files if {file.name, f"data/{file.name}"} & texts}
    return [file for file in files if file.stem in stems]


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that a module of ``package`` imports."""
    for node in _run_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in _run_nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of the tree that is there when the program runs."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for otherwise in child.orelse:
                yield from _run_nodes(otherwise)
        else:
            yield from _run_nodes(child)
