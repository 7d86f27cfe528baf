"""The code that goes along with a bundle: what its configs name, and the libraries that they need together."""

import re
import sys
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from mgmt_monai.carried_code import OURS, PACKAGE, Code, files_of, reached_code
from mgmt_monai.exchange.configs import texts_in
from mgmt_monai.exchange.errors import ExchangeError

#: What every bundle is run by: a config names it nowhere.
_RUNNER = "fire"

#: In metadata.json these have keys of their own.
_BASE = {"monai", "torch", "numpy"}


def needed_code(configs: Mapping[str, Any], package: Path = PACKAGE) -> Code:
    """Our modules that configs, in the package's own names, need, and the libraries that configs and modules do.

    Raises:
        ExchangeError: A config names what is not in the package.
    """
    texts = texts_in(configs)
    names = {name for text in texts for name in re.findall(rf"(?<![\w.]){OURS}(?:\.\w+)*", text)}
    for name in sorted(names - {OURS}):
        if len(files_of(name, package)) == 1:
            raise ExchangeError(f"a config names {name}, which mgmt_monai does not have. Export a run of this version.")
    code = reached_code(names, package)
    libraries = {_RUNNER, *code.imports, *_config_libraries(configs)} - set(sys.stdlib_module_names) - {OURS}
    return Code(code.files, tuple(sorted(libraries)))


def distributions(imports: tuple[str, ...]) -> list[str]:
    """The distributions that top-level names come from, as a package index names them.

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


def _config_libraries(value: Any) -> set[str]:
    """The libraries of a config's targets and of the modules that its expressions import."""
    found = set()
    if isinstance(value, Mapping):
        if isinstance(target := value.get("_target_"), str):
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
