"""The configs of a bundle: the packaged templates with a run's settings, and nothing of the run's machine."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from monai.bundle import ConfigParser

from mgmt_monai.cohort.patients import FUSION
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.packaged_configs import packaged_config
from mgmt_monai.training.config import PATHS
from mgmt_monai.training.settings import is_live

PER_RUN = {
    "dataset_dir", "labels_csv", "manifest", "repeat", "fold", "inner_fold", "output_dir", "run_name", "resume",
    "experiment_name", "tracking_uri", "parent_run_id", "device", "num_workers", "bundle_root",
    "slice_store", "segmentations",
}  # fmt: skip
"""Settings that belong to one run, its cohort or its machine: a bundle has the template's."""

#: What a config begins with.
_START = (
    {"_target_": "mgmt_monai.errors.one_line_errors"},
    {"_target_": "mgmt_monai.training.check_values_here"},
    "@begun",
)

#: Beside those, settings that may be a path or one of these words.
_WORDS = {"default", "none", "imagenet"}

#: What stands in a shared config where there was a path.
_LEFT_OUT = "(a path)"


def in_package_names(config: dict[str, Any]) -> dict[str, Any]:
    """A config with the package's own names: that of a run which was trained from a bundle has ``scripts``.

    ``initialize`` is empty where its steps were made part of ``training``.
    """
    if "$import scripts" not in config.get("imports", ()):
        return config
    renamed = re.sub(r"(?<![\w.])scripts\b(?=[.\"])", "mgmt_monai", json.dumps(config))
    return {"initialize": [], **json.loads(renamed)}


#: What opened the cohort, with the same settings, before a function did.
_OLD_COHORT = "mgmt_monai.cohort.modality.ModalityCohort"


def train_config(executed: Mapping[str, Any]) -> dict[str, Any]:
    """What trains such a model again, on anyone's cohort.

    Returns:
        The run's config ``executed``, with every setting of `PER_RUN`, and every path at any depth, as the modality's
        template has it. A config of an older version, which lacks a section of the template or trains on cached views,
        lends the template its settings.

    Raises:
        ExchangeError: A modality that is none, or a path in a place that the template does not have.
    """
    modality = executed.get("modality")
    if modality not in (known := (*MODALITIES, FUSION)):
        raise ExchangeError(f"modality: expected one of {', '.join(known)}, found {modality!r}. Name another run.")
    ours = packaged_config(modality.lower())
    lacking = set(ours) - set(executed)
    older = lacking or "transfer_views" in executed or executed["cohort"]["_target_"] == _OLD_COHORT
    made = {key: executed[key] for key in ours if key in executed and not isinstance(executed[key], dict | list)}
    # What every training did before there was a choice.
    before = {"weigh": "slice", "aspect": "squash", "transfer_least_steps": 0}
    made = {**ours, **before, **made} if older else dict(executed)
    for key in PER_RUN & set(ours):
        made[key] = ours[key]
    for key in PATHS - PER_RUN:
        if made[key] not in _WORDS:
            made[key] = ours[key]
    portable = {key: _portable(value, ours.get(key), key) for key, value in made.items()}
    return _started_late({**portable, "run": ours["run"]}, "training")


def inference_config(executed: Mapping[str, Any]) -> dict[str, Any]:
    """What predicts a study with the run's model, by the run's own chain.

    Returns:
        The inference template with the run's settings; its components are the run's where they were changed.

    Raises:
        ExchangeError: A path in a component, or a setting that is no plain value.
    """
    made = packaged_config("fusion_inference" if executed.get("modality") == FUSION else "inference")
    training = train_config(executed)
    for key, ours in list(made.items()):
        if key in training and key not in PER_RUN and not is_live(ours) and not isinstance(ours, dict | list):
            made[key] = _plain(key, training)
    steps = training["train"]["deterministic_transforms"]
    # Parts of negative controls are not exported.
    chain = [step for step in steps if "@control" not in str(step.get("_disabled_", ""))]
    made["preprocessing"] = {**made["preprocessing"], "transforms": chain}
    network = {key: value for key, value in training["network_def"].items() if key not in ("dropout", "_requires_")}
    made["network_def"] = network
    referred = {name for text in texts_in([chain, network]) for name in re.findall(r"[@%](\w+)", text)}
    for key in sorted(referred - set(made)):
        made[key] = training[key]
    return made


def evaluate_config(stage: str) -> dict[str, Any]:
    """What scores the model on a manifest's test patients; read after the training config."""
    return _started_late({**packaged_config("evaluate"), "stage": stage}, "run")


def multi_gpu_config(executed: Mapping[str, Any]) -> dict[str, Any]:
    """What trains on several GPUs; read after the training config."""
    steps = packaged_config(str(executed["modality"]).lower())["training"]
    return _started_late({**packaged_config("multi_gpu_train"), "training": steps}, "training")


def texts_in(value: Any) -> Iterator[str]:
    """Every text of a config or a part of it, at any depth; keys are none."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part)
    elif isinstance(value, str):
        yield value


def write_config(config: Mapping[str, Any]) -> str:
    """A config as it stands in its file."""
    return json.dumps(config, indent=4, allow_nan=False) + "\n"


def _plain(key: str, config: Mapping[str, Any]) -> Any:
    value = config[key]
    if is_live(value):
        value = ConfigParser(json.loads(json.dumps(config))).get_parsed_content(key)
    if not isinstance(value, str | int | float | bool):
        raise ExchangeError(f"{key}: expected a number or a word, found {type(value).__name__}. Train with one.")
    return value


def _started_late(config: dict[str, Any], run: str) -> dict[str, Any]:
    """The config without ``initialize``: what has to come first is begun by ``run`` and by whatever is built.

    MONAI lets ``scripts`` be found only when it runs: what a config imports before is not there.
    """
    steps = [*_START, *(step for step in config[run] if step not in _START)]
    return {key: steps if key == run else value for key, value in config.items() if key != "initialize"}


def _portable(value: Any, ours: Any, place: str) -> Any:
    """The value without paths: the template's in their place."""
    if isinstance(value, Mapping):
        known = ours if isinstance(ours, Mapping) else {}
        return {key: _portable(part, known.get(key), f"{place}::{key}") for key, part in value.items()}
    if isinstance(value, list):
        listed = ours if isinstance(ours, list) else []
        return [
            _portable(part, listed[index] if index < len(listed) else None, f"{place}::{index}")
            for index, part in enumerate(value)
        ]
    if value == ours or not isinstance(value, str) or not _holds_path(value):
        return value
    if ours is None or isinstance(ours, Mapping | list):
        raise ExchangeError(
            f"{place}: expected nothing of the machine that the run was trained on, found a path. Train without this "
            "override, or give it as a top-level setting."
        )
    return ours


def _holds_path(text: str) -> bool:
    if text.startswith("$"):
        return re.search(r"""['"](?:/|~|[A-Za-z]:[\\/]|\w+://)""", text) is not None
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return absolute or text.startswith("~") or "://" in text or text == _LEFT_OUT
