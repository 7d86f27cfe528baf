"""Overrides of a config, before it is run."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mgmt_monai.training.config import check_place, unknown_key
from mgmt_monai.training.errors import TrainingError


def check_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Refuse an override of a key that the config does not have, or that takes no such value.

    Args:
        config: As it is in its file.
        overrides: Values by key; ``train::trainer::max_epochs`` or ``train#trainer#max_epochs`` reach inside.

    Raises:
        TrainingError: Names the key, and the key that was probably meant, or what it takes.
    """
    for name, n in Counter(key.replace("#", "::") for key in overrides).items():
        if n > 1:
            raise TrainingError(f"{name}: expected one value, found {n}, with # and with ::. Give one.")
    for key, value in overrides.items():
        own: Any = config
        for part in re.split("::|#", key):
            if isinstance(own, list) and part.isdigit() and int(part) < len(own):
                own = own[int(part)]
            elif isinstance(own, Mapping) and part in own:
                own = own[part]
            else:
                raise TrainingError(unknown_key(key, known=own if isinstance(own, Mapping) else ()))
        if key == "run":
            raise TrainingError("run: expected the config's own: this runs its section training, and nothing else.")
        check_place(key, own, value)
