"""Whether running a bundle as a whole, configs and scripts, runs anyone's code but this version's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mgmt_monai.carried_code import PACKAGE, SCRIPTS, carried, renamed
from mgmt_monai.exchange.bundle_folder import BundleFolder
from mgmt_monai.json_file import JsonFileError, read_json
from mgmt_monai.packaged_configs import FOLDER, config_names, packaged_config

CACHE = "__pycache__"
"""What a folder of Python files gathers when they are run. Python takes what lies in it for the files themselves. It is
not looked at here, so whoever runs a bundle's code runs a copy without it."""

RESULTS = ("eval", "runs")
"""Where a bundle's configs write by themselves. Nothing in them is run, and no copy that is run has them."""

#: Endings of what Python runs, or finds in a bundle's root: a file with another, such as a store, is data.
_CODE = {".py", ".pyc", ".pyd", ".pyo", ".pyw", ".so"}

#: MONAI applies it, and Python's logging evaluates what it says.
_LOGGING = Path("configs/logging.conf")


def foreign_code(bundle: BundleFolder) -> str:
    """The first thing in a bundle that this version did not write and that would be run.

    A script is ours when the package has the same file, byte for byte, under its own name; what lies in `CACHE` and
    `RESULTS` folders, and what is no code, is passed over. A config is ours when each expression and each component in
    it stands in one of the packaged configs; what settings say is free.

    Returns:
        Its path below the bundle's folder, with the expression or component where it is a config; empty when there is
        none.
    """
    for path in sorted(bundle.path.rglob("*")):
        inside = path.relative_to(bundle.path)
        if path.is_symlink():
            return inside.as_posix()
        if path.is_dir() or CACHE in inside.parts or inside.parts[0] in RESULTS:
            continue
        if inside.parts[0] == SCRIPTS:
            ours = PACKAGE / inside.relative_to(SCRIPTS)
            if not ours.is_file() or path.read_bytes() != carried(ours, SCRIPTS):
                return inside.as_posix()
        elif path.suffix in _CODE or (inside == _LOGGING and path.read_bytes() != (FOLDER / path.name).read_bytes()):
            return inside.as_posix()
    known = {text for name in config_names() for text in _live(renamed(packaged_config(name), SCRIPTS))}
    for path in sorted((bundle.path / "configs").glob("*.json")):
        if path.name == "metadata.json":
            continue
        try:
            config = read_json(path)
        except JsonFileError as error:
            return f"{path.relative_to(bundle.path).as_posix()}: {error}"
        for text in _live(config):
            if text not in known:
                return f"{path.relative_to(bundle.path).as_posix()}: {text}"
    return ""


def _live(value: Any, key: str = "") -> Iterator[str]:
    """Expressions, references and components, at any depth."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _live(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _live(part)
    elif isinstance(value, str) and (value.startswith(("$", "%", "@")) or key == "_target_"):
        yield value
