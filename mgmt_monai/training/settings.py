"""Every setting's type and range, checked before anything is read: a mistake must not show after hours."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import Any

from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.hardware import PRECISIONS
from mgmt_monai.transforms.reformat import PLANES

#: Whole numbers: the least and the greatest allowed.
WHOLE: dict[str, tuple[float, float]] = {
    "split_seed": (0, 2**32 - 1),
    "repeat": (0, math.inf),
    "fold": (0, math.inf),
    "inner_fold": (0, math.inf),
    "seed": (0, 2**32 - 1),
    "num_workers": (0, 1024),
    "image_size": (32, 4096),
    "hidden_units": (1, 65536),
    "transfer_epochs": (1, math.inf),
    "transfer_batch_size": (2, math.inf),
    "transfer_least_steps": (0, math.inf),
    "fine_tune_epochs": (1, math.inf),
    "fine_tune_batch_size": (2, math.inf),
    "val_interval": (1, 1),  # the zoo's name for what its users may set; every epoch is judged
    "early_stopping_patience": (1, math.inf),
    "plateau_patience": (0, math.inf),
    "evaluation_batch_size": (1, math.inf),
    "bootstrap_resamples": (1, 100_000),
    "reference_slices": (3, math.inf),
    "series_slices": (0, math.inf),
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
    "modality_dropout": (0, 1 - 2**-53),
    "transfer_learning_rate": (math.ulp(0.0), math.inf),
    "fine_tune_learning_rate": (math.ulp(0.0), math.inf),
    "plateau_factor": (math.ulp(0.0), 1 - 2**-53),
    "threshold": (0, 1),
    "confidence_level": (math.ulp(0.0), 1 - 2**-53),
    "abstain_quantile": (math.ulp(0.0), 1 - 2**-53),
}

#: True or false; on a command line they come as words.
BOOLEANS = ("resume", "compile", "overwrite")

#: Words: those allowed. Only where nothing else would refuse another before anything is read.
WORDS: dict[str, tuple[str, ...]] = {
    "augment_on": ("device", "loader"),
    "precision": PRECISIONS,
    "plane": ("native", *PLANES),
    "slices": ("middle", "tumour"),
    "aspect": ("keep", "squash"),
    "control": ("none", "background", "blank", "permuted_labels", "without_tumour"),
    "modality": (*MODALITIES, "fusion"),
    "stage": ("transfer", "fine_tune"),
    "weigh": ("patient", "slice"),
    "slice_pool": ("mean", "attention"),
    "backbones": ("shared", "each"),
    "augment_by": ("patient", "slice"),
}

#: Other text, and what it is.
TEXTS: dict[str, str] = {
    "bundle_root": "a folder",
    "dataset_dir": "a folder",
    "labels_csv": "a file",
    "manifest": "a file",
    "exclusions": "default, none or a file",
    "output_dir": "a folder",
    "run_name": "a name",
    "experiment_name": "a name",
    "tracking_uri": "an address",
    "parent_run_id": "an MLflow run",
    "device": "a device, such as cpu or cuda:0",
    "weights": "imagenet, none or a file",
    "slice_store": "a folder",
    "segmentations": "auto or a file",
    "backbone": "a network's name",
    "modalities": "modalities with + between",
}

SETTINGS = frozenset({*WHOLE, *NUMBERS, *BOOLEANS, *WORDS, *TEXTS})
"""Every setting's name."""

#: What else a config has at its top: a component, its parts, or the expression that makes it.
SECTIONS = {
    "imports", "run_directory", "tracking", "cohort", "store", "network_def", "network", "loaded_weights", "loss",
    "train", "fine_tune", "validate", "test", "plain_model", "reference", "opening", "experiment", "evaluation",
    "preprocessing", "dataset", "dataloader", "inferer", "handlers", "evaluator", "begun", "initialize", "training",
    "run", "finalize",
}  # fmt: skip

#: Of `TEXTS`: what may be ``""``, which then means something.
MAY_BE_EMPTY = ("labels_csv", "manifest", "run_name", "parent_run_id", "slice_store")

#: Of any number: what a computer counts with. Infinity is no value of a setting.
_MOST = 2.0**63

#: In no run's name: what a file system, a shell or a query of MLflow takes for something else.
_NOT_IN_A_NAME = "/\\:*?\"<>|#%'`$&;"

#: Bytes of a run's name; most file systems have 255, and MLflow's folder of a run puts more beside it.
_LONGEST_NAME = 200


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
        if (value is None and name in OPTIONAL) or is_live(value):
            continue
        kinds = int if name in WHOLE else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not _within(value, bounds):
            kind = "a whole number" if name in WHOLE else "a number"
            raise TrainingError(f"{name}: expected {kind} {_range(*bounds)}, found {_shown(value)}.")
    for name in BOOLEANS:
        value = config.get(name, False)
        if not is_live(value):
            as_boolean(name, value)
    for name in TEXTS:
        if name in config and not is_live(config[name]):
            _check_text(name, config[name])
    for name, value in ((name, value) for name, value in config.items() if name not in SETTINGS):
        # MONAI would build nothing, and run nothing, without a word.
        if not (_is_section(value) if name in SECTIONS else value or value in (0, False) or re.search("::|#", name)):
            raise TrainingError(f"{name}: expected a section or an expression, found {_shown(value)}.")
    _check_backbone(config)
    for name, words in WORDS.items():
        value = config.get(name, words[0])
        if value not in words and not is_live(value):
            raise TrainingError(f"{name}: expected one of {', '.join(words)}, found {_shown(value)}.")


def check_run_name(name: str) -> None:
    """Refuse a run's name that is no folder's on every system, or that MLflow could not be asked for.

    Args:
        name: Not empty.

    Raises:
        TrainingError: Says what is wrong with it.
    """
    strange = sorted({character for character in name if character in _NOT_IN_A_NAME or not character.isprintable()})
    if strange:
        found = " and ".join(map(repr, strange))
    elif name != name.strip() or name[0] in ".-" or name[-1] == ".":
        found = "a space, '.' or '-' at its edge"
    elif re.fullmatch("[0-9a-f]{32}", name):
        found = "the form of an MLflow run's identifier"
    elif len(name.encode()) > _LONGEST_NAME:
        found = f"{len(name.encode())} bytes, more than {_LONGEST_NAME}"
    else:
        return
    raise TrainingError(
        f"run_name: expected the name of a folder, found {found} in {name!r}. Use letters, digits, '.', '_' and '-'."
    )


def is_live(value: object) -> bool:
    """Whether MONAI puts something else in the value's place: an expression, a reference or a macro.

    Args:
        value: Of a config.
    """
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


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


def _check_text(name: str, value: object) -> None:
    kind = f"{TEXTS[name]}, or '' for none" if name in MAY_BE_EMPTY else TEXTS[name]
    if not isinstance(value, str):
        raise TrainingError(f"{name}: expected text, {kind}, found {_shown(value)} ({type(value).__name__}).")
    if (not value.strip() and (value or name not in MAY_BE_EMPTY)) or re.search("[\0\r\n]", value):
        raise TrainingError(f"{name}: expected {kind}, found {value!r}.")
    if name == "run_name" and value:
        check_run_name(value)
    if value != value.strip():
        raise TrainingError(f"{name}: expected {kind}, without blanks at its edges, found {value!r}.")
    if value.startswith("~") and re.search("file|folder", kind):
        raise TrainingError(f"{name}: expected {kind}, found {value!r}: no shell has read the '~'. Write it in full.")


def _is_section(value: object) -> bool:
    """Whether something is built or run of it; of a literal, nothing is."""
    if not isinstance(value, str) or not value.startswith("$"):
        return is_live(value) or (isinstance(value, list | Mapping) and bool(value))
    try:
        ast.literal_eval(value[1:].strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return True
    return False


def _check_backbone(config: Mapping[str, Any]) -> None:
    name, size = config.get("backbone"), config.get("image_size")
    if not isinstance(name, str) or is_live(name):
        return
    try:
        least = get_backbone(name).min_size
    except NetworkError as error:
        raise NetworkError(f"backbone: {error}") from None
    if isinstance(size, int) and size < least:
        raise TrainingError(f"image_size: expected {least} or more for {name}, found {size}.")


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= min(bounds[1], _MOST)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"


def _range(low: float, high: float) -> str:
    start = f"from {low:g}" if low != math.ulp(0.0) else "above 0"
    if math.isinf(high):
        return start
    return f"{start} {'to' if float(high).is_integer() else 'below'} {round(high, 9):.10g}"
