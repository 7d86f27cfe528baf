"""The bundle configs that come with the package: where each is, by its name."""

import json
from pathlib import Path
from typing import Any

from mgmt_monai.errors import MgmtMonaiError

FOLDER = Path(__file__).with_name("bundles")
"""Where they are: in a checkout a link to its ``bundles``, in an installed package a folder."""


class ConfigError(MgmtMonaiError):
    """No such config."""


def config_names() -> list[str]:
    """What `config_path` takes, sorted: the modalities, and the configs that are read on top of one of them."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def config_path(name: str | Path) -> Path:
    """The file of a bundle config.

    Args:
        name: A packaged config's name, such as ``t1w`` (or ``T1w``) or ``evaluate``; or the path of a config, which
            ends in ``.json``, has a ``/`` or is a `Path`.

    Raises:
        ConfigError: Neither a packaged config nor a file.

    Example:
        >>> import mgmt_monai as mgmt
        >>> mgmt.config_path("T1w").name
        't1w.json'
    """
    packaged = isinstance(name, str) and name.lower() in config_names()
    path = FOLDER / f"{str(name).lower()}.json" if packaged else Path(name)
    if not path.is_file():
        raise ConfigError(
            f"{name}: expected the name of a packaged config ({', '.join(config_names())}) or the path of a config "
            "file, found no such file. Name one, such as t1w."
        )
    return path


def packaged_config(name: str) -> dict[str, Any]:
    """The content of a packaged config, in the package's names.

    Args:
        name: One of `config_names`.
    """
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))
