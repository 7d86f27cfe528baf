"""The names that our own code has in a bundle, and the texts of its configs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def in_bundle_names(value: Any) -> Any:
    """A template as it stands in a bundle, where our rooms lie in ``scripts``.

    Args:
        value: The template or a part of it.

    Example:
        >>> in_bundle_names({"a": ["$import mgmt_monai", "mgmt_monai.slices.SliceDataset", "my_mgmt_monai.x"]})
        {'a': ['$import scripts', 'scripts.slices.SliceDataset', 'my_mgmt_monai.x']}
    """
    if isinstance(value, dict):
        return {key: in_bundle_names(part) for key, part in value.items()}
    if isinstance(value, list):
        return [in_bundle_names(part) for part in value]
    return re.sub(r"(?<![\w.])mgmt_monai\b", "scripts", value) if isinstance(value, str) else value


def texts_in(value: Any) -> Iterator[str]:
    """Every text of a config, at any depth; keys are none.

    Args:
        value: The config or a part of it.
    """
    if isinstance(value, Mapping):
        for part in value.values():
            yield from texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part)
    elif isinstance(value, str):
        yield value
