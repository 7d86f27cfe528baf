"""The settings' ranges, checked before anything is read: a mistake must not show after hours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.machine import PRECISIONS
from mgmt_monai.transforms.reformat import PLANES

#: Whole numbers: the least and the greatest allowed.
WHOLE: dict[str, tuple[float, float]] = {
    "split_seed": (0, 2**32 - 1),
    "repeat": (0, math.inf),
    "fold": (0, math.inf),
    "inner_fold": (0, math.inf),
    "seed": (0, 2**32 - 1),
    "num_workers": (0, math.inf),
    "image_size": (32, math.inf),
    "hidden_units": (1, math.inf),
    "transfer_epochs": (1, math.inf),
    "transfer_batch_size": (2, math.inf),
    "fine_tune_epochs": (1, math.inf),
    "fine_tune_batch_size": (2, math.inf),
    "early_stopping_patience": (1, math.inf),
    "plateau_patience": (0, math.inf),
    "evaluation_batch_size": (1, math.inf),
    "bootstrap_resamples": (1, math.inf),
    "reference_slices": (3, math.inf),
}

#: May be null as well.
OPTIONAL = ("fold", "inner_fold")

#: Numbers: both bounds are allowed, for they are the smallest and greatest float inside where a bound itself is not.
NUMBERS: dict[str, tuple[float, float]] = {
    "test_fraction": (math.ulp(0.0), 1 - 2**-53),
    "train_fraction": (math.ulp(0.0), 1 - 2**-53),
    "slice_fraction": (math.ulp(0.0), 1),
    "lower_percentile": (0, 100),
    "upper_percentile": (0, 100),
    "zoom_min": (math.ulp(0.0), math.inf),
    "zoom_max": (math.ulp(0.0), math.inf),
    "rotation_deg": (0, 180),
    "shift_fraction": (0, 1),
    "flip_prob": (0, 1),
    "brightness_min": (0, math.inf),
    "brightness_max": (0, math.inf),
    "dropout": (0, 1 - 2**-53),
    "transfer_learning_rate": (math.ulp(0.0), math.inf),
    "fine_tune_learning_rate": (math.ulp(0.0), math.inf),
    "plateau_factor": (math.ulp(0.0), 1 - 2**-53),
    "threshold": (0, 1),
    "confidence_level": (math.ulp(0.0), 1 - 2**-53),
    "abstain_quantile": (math.ulp(0.0), 1 - 2**-53),
}

#: True or false; on a command line they come as words.
BOOLEANS = ("resume", "compile")

#: Words: those allowed. Only where nothing else would refuse another before anything is read.
WORDS: dict[str, tuple[str, ...]] = {
    "augment_on": ("device", "loader"),
    "precision": PRECISIONS,
    "plane": ("native", *PLANES),
    "control": ("none", "background", "blank", "permuted_labels"),
}


def check_settings(config: Mapping[str, Any]) -> None:
    """Refuse a setting of another kind or out of range; expressions and references are left to MONAI.

    Args:
        config: A bundle config; settings that it lacks are not missed.

    Raises:
        TrainingError: Names the setting, what was expected and what was found.
        NetworkError: The backbone is unknown.
    """
    for name, bounds in {**WHOLE, **NUMBERS}.items():
        value = config.get(name, bounds[0])
        if (value is None and name in OPTIONAL) or str(value).startswith(("$", "@", "%")):
            continue
        kinds = int if name in WHOLE else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not bounds[0] <= value <= bounds[1]:
            kind = "a whole number" if name in WHOLE else "a number"
            raise TrainingError(f"{name}: expected {kind} {_range(*bounds)}, found {value!r}.")
    for name in BOOLEANS:
        value = config.get(name, False)
        if not str(value).startswith(("$", "@", "%")):
            as_boolean(name, value)
    _check_backbone(config)
    for name, words in WORDS.items():
        value = config.get(name, words[0])
        if value not in words and not str(value).startswith(("$", "@", "%")):
            raise TrainingError(f"{name}: expected one of {', '.join(words)}, found {value!r}.")


def as_boolean(name: str, value: bool | str) -> bool:
    """What a setting says.

    Args:
        name: Of the setting.
        value: True, false, or one of these words: a command line hands on ``false`` as a word, which is true to Python.

    Raises:
        TrainingError: Anything else.
    """
    word = str(value).lower()
    if word not in ("true", "false"):
        raise TrainingError(f"{name}: expected true or false, found {value!r}.")
    return word == "true"


def _check_backbone(config: Mapping[str, Any]) -> None:
    name, size = config.get("backbone"), config.get("image_size")
    if not isinstance(name, str) or name.startswith(("$", "@", "%")):
        return
    least = get_backbone(name).min_size
    if isinstance(size, int) and size < least:
        raise TrainingError(f"image_size: expected {least} or more for {name}, found {size}.")


def _range(low: float, high: float) -> str:
    start = f"from {low:g}" if low != math.ulp(0.0) else "above 0"
    if math.isinf(high):
        return start
    return f"{start} {'to' if high in (1, 100, 180) or high > 1e6 else 'below'} {round(high, 9):g}"
