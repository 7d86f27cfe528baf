"""The code that goes along with a bundle: those of our own modules that its configs need, and no other."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.templates import in_bundle_names, texts_in

OURS = "mgmt_monai"
"""The package whose modules are followed; in a bundle its name is ``scripts``."""

#: What every bundle is run by: a config names it nowhere.
_RUNNER = "fire"

#: In metadata.json these have keys of their own.
_BASE = {"monai", "torch", "numpy"}


@dataclass(frozen=True)
class Code:
    """What of the package a bundle needs.

    Args:
        files: Python files and data files, relative to the package's folder, sorted.
        imports: Top-level names of the libraries that these files and the configs use, sorted.
    """

    files: tuple[Path, ...]
    imports: tuple[str, ...]


def needed_code(configs: Mapping[str, Any], package: Path | None = None) -> Code:
    """Follow the imports from what configs name.

    Imports inside functions count, those for type checkers alone do not. A text that is the dotted name of a module
    (for ``importlib.resources``, or a process to be started with it) counts as an import; a text that is the name of
    a Python file beside the module, or of a file in a room's ``data``, as a use of it: that file, and others of its
    stem, such as the card of weights.

    Args:
        configs: Content of each, in the package's own names.
        package: The package's folder; None for this one.

    Raises:
        ExchangeError: A config names what is not in the package.
    """
    root = Path(__file__).parents[1] if package is None else package
    names = set(texts_in(configs))
    libraries = {_RUNNER, *_config_libraries(configs)}
    texts: set[str] = set()
    done: set[Path] = set()
    waiting = [path for name in sorted(_own_names(names)) for path in _files_of(name, root, strict=True)]
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = _module_name(path, root)
        for name in _imported(tree, module if path.name == "__init__.py" else module.rpartition(".")[0]):
            top = name.partition(".")[0]
            if top == OURS:
                waiting += _files_of(name, root)
            else:
                libraries.add(top)
        for text in _texts(tree):
            texts.add(text)
            if re.fullmatch(rf"{OURS}(\.\w+)+", text):
                waiting += _files_of(text, root)
            elif re.fullmatch(r"\w+\.py", text) and path.with_name(text).is_file():
                waiting.append(path.with_name(text))
    data = {file for folder in {path.parent / "data" for path in done} for file in _named_data(folder, texts)}
    files = sorted(path.relative_to(root) for path in done | data)
    return Code(tuple(files), tuple(sorted(libraries - set(sys.stdlib_module_names) - {OURS})))


def write_code(code: Code, folder: Path, package: Path | None = None) -> None:
    """Copy the files, under the name that the package has in a bundle.

    Args:
        code: What to copy.
        folder: The bundle's ``scripts``; made.
        package: The package's folder; None for this one.
    """
    root = Path(__file__).parents[1] if package is None else package
    for file in code.files:
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        content = (root / file).read_bytes()
        target.write_bytes(in_bundle_names(content.decode()).encode() if file.suffix == ".py" else content)


def distributions(imports: tuple[str, ...]) -> list[str]:
    """The distributions that top-level names come from, as a package index names them.

    Args:
        imports: Such as ``("ignite", "sklearn")``.

    Returns:
        Sorted, without those that metadata.json has keys of their own for.

    Raises:
        ExchangeError: A name is of no installed distribution.
    """
    known = packages_distributions()
    found = set()
    for name in imports:
        if name not in known:
            raise ExchangeError(
                f"the bundle's code imports {name}, which is not installed. Install it and export again."
            )
        # Several may share a name, as mlflow and mlflow-skinny do: the one that is called so brings the others.
        candidates = sorted(set(known[name]), key=lambda each: (each.lower().replace("-", "_") != name.lower(), each))
        found.add(candidates[0])
    return sorted((each for each in found if each.lower() not in _BASE), key=str.lower)


def _own_names(texts: set[str]) -> set[str]:
    return {name for text in texts for name in re.findall(rf"(?<![\w.]){OURS}(?:\.\w+)*", text)}


def _config_libraries(value: Any) -> set[str]:
    """The libraries of a config's targets and of the modules that its expressions import."""
    found = set()
    if isinstance(value, Mapping):
        target = value.get("_target_")
        if isinstance(target, str):
            found.add(target.partition(".")[0] if "." in target else "monai")
        for key, part in value.items():
            if key.endswith("::_target_") and isinstance(part, str):  # an override of what is in another config
                found.add(part.partition(".")[0])
            found |= _config_libraries(part)
    elif isinstance(value, list):
        for part in value:
            found |= _config_libraries(part)
    elif isinstance(value, str) and value.startswith("$import "):
        found.add(value.removeprefix("$import ").split()[0].partition(".")[0])
    return found


def _files_of(name: str, root: Path, strict: bool = False) -> list[Path]:
    """The file of the longest module in a dotted name, and the ``__init__`` of every package on the way to it."""
    files, folder = [root / "__init__.py"], root
    parts = name.split(".")[1:]
    for index, part in enumerate(parts):
        if (folder / part / "__init__.py").is_file():
            folder = folder / part
            files.append(folder / "__init__.py")
            continue
        if (folder / f"{part}.py").is_file():
            files.append(folder / f"{part}.py")
        elif strict and index == 0:
            raise ExchangeError(f"a config names {name}, which mgmt_monai does not have. Export a run of this version.")
        break
    return files


def _named_data(folder: Path, texts: set[str]) -> list[Path]:
    """The files of a ``data`` folder that a text names, bare or as ``data/NAME``, and others of the same stem."""
    files = [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    stems = {file.stem for file in files if {file.name, f"data/{file.name}"} & texts}
    return [file for file in files if file.stem in stems]


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join([OURS, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
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
