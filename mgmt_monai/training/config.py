"""The bundle config as it is executed: every override in it, and every key known."""

import difflib
import json
import logging
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from monai.bundle import ConfigExpression, ConfigItem, ConfigParser, ConfigWorkflow
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from torch import nn

from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.json_file import read_json
from mgmt_monai.own_process import is_bundle_command
from mgmt_monai.packaged_configs import FOLDER, config_names
from mgmt_monai.tracking.mlflow_store import shown
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.ranks import check_joined
from mgmt_monai.training.settings import SETTINGS, check_settings, is_live
from mgmt_monai.training.typed import OF_THE_COMMAND, check_arrived, check_unharmed, plain

logger = logging.getLogger(__name__)

#: Keys that MONAI reads itself, so that nothing in the config has to refer to them.
_RESERVED = {
    "_meta_", "imports", "bundle_root", "network_def", "train", "fine_tune", "validate", "test",
    "initialize", "training", "run", "finalize", "threshold",
    "transfer_epochs", "fine_tune_epochs",  # MONAI sets max_epochs of the trainers in their place
}  # fmt: skip

#: What a trained model's weights go with: its picture and its network.
_OF_THE_MODEL = (
    "modality", "plane", "slice_fraction", "lower_percentile", "upper_percentile", "aspect", "image_size", "backbone",
    "hidden_units", "modalities", "slice_pool", "backbones", "preprocessing", "network_def", "inferer",
    "dataset::transform", "test::dataset::transform", "train::deterministic_transforms", "validate::preprocessing",
    "evaluation",
)  # fmt: skip

#: Settings that are, or may be, paths of the user's machine.
PATHS = {
    "dataset_dir", "labels_csv", "manifest", "output_dir", "exclusions", "weights", "tracking_uri", "slice_store",
    "segmentations",
}  # fmt: skip

#: What MONAI's ``--tracking`` adds to a config that records nothing.
_OF_TRACKING = ("tracking_uri", "experiment_name", "run_name")

#: What those settings may be instead of a path.
_NO_PATHS = {"default", "none", "imagenet", "auto"}

#: Settings that may differ when a training is resumed: they do not change its result.
FREE_ON_RESUME = {
    "resume", "run_name", "num_workers", "output_dir", "dataset_dir", "labels_csv", "manifest", "parent_run_id",
    "slice_store", "segmentations",
}  # fmt: skip


def executed_config() -> dict[str, Any] | None:
    """The config that is being run, with its overrides, before references are resolved.

    MONAI 1.6 gives an expression no way to see the config it stands in, so this looks among the callers for the
    workflow that evaluates it.

    Returns:
        Every key but MONAI's own metadata; a text or None that had to be an expression to get through MONAI is itself.
        None where no workflow runs it: MONAI's other commands look at parts of a config.
    """
    workflow = _workflow()
    return None if workflow is None else {key: plain(value) for key, value in _of(workflow).items()}


def check_config() -> None:
    """Refuse what MONAI takes silently: a wrong value, one that is not as it was typed, a top-level key without use.

    Raises:
        TrainingError: Names the key, and what was probably meant; or the config is not for several processes.
    """
    workflow = _workflow()
    if workflow is None:  # one of MONAI's other commands looks at a part of it
        return
    check_joined()
    _check_values_of(workflow)
    _check_keys(_of(workflow))


def check_values_here() -> None:
    """Hold the values of the config that is being run, where one is, as `check_values` does.

    Raises:
        TrainingError: As it.
    """
    workflow = _workflow()
    if workflow is not None:
        _check_values_of(workflow)


def _check_values_of(workflow: ConfigWorkflow) -> None:
    is_tracked = _sort_tracking(workflow)
    config = _of(workflow)
    check_values(config)
    if is_tracked:
        what = "predictions and evaluations are not recorded in MLflow"
        if "training" in config and "evaluation" not in config:
            uri = workflow.parser.get_parsed_content("tracking_uri")
            what = f"this training records itself in MLflow, once ({shown(str(uri))})"
        logger.info(f"--tracking: {what}; MONAI's own handlers, which record this machine's paths, are left out")


def _sort_tracking(workflow: ConfigWorkflow) -> bool:
    """Take out what MONAI's ``--tracking`` has added; what its settings name of ours counts, unless the command does.

    Returns:
        Whether there was any.

    Raises:
        TrainingError: The settings name something else.
    """
    config = workflow.parser.get()
    if isinstance(config.get("save_execute_config", False), bool):
        return False
    given = _given()
    of_file = ConfigParser.load_config_files(given.get("args_file") or {})
    given = {**of_file, **{key: value for key, value in given.items() if value is not None}}
    engines, tracking = DEFAULT_MLFLOW_SETTINGS["handlers_id"], given.get("tracking", "mlflow")
    told = {} if tracking == "mlflow" else ConfigParser.load_config_files(tracking)["configs"]
    asked = [(key, value) for key, value in told.items() if key not in engines]
    for part in (config, *(config.get(name, {}) for name in ("train", "fine_tune", "validate"))):
        for handler in [one for one in part.get("handlers", ()) if isinstance(one, Mapping)]:
            if str(handler.get("_target_")).endswith("MLFlowHandler"):
                part["handlers"].remove(handler)
                asked += handler.items()
    own = DEFAULT_MLFLOW_SETTINGS["configs"]
    for key, value in asked:
        is_monais = value in [known.get(key, asked) for known in (own, *(own[engine] for engine in engines))]
        if is_monais or key in ("save_execute_config", "_target_"):
            continue
        if key not in SETTINGS or key not in config:
            raise TrainingError(f"tracking: expected settings of this config, found {key!r}. Leave it out.")
        if key not in given:
            config[key] = value
            is_live = ConfigExpression.is_expression(value)
            item = ConfigExpression(value, key, workflow.parser.globals) if is_live else ConfigItem(value, key)
            workflow.parser.ref_resolver.items[key] = item
    for key in ("save_execute_config", "is_not_rank0", *(() if "training" in config else _OF_TRACKING)):
        config.pop(key, None)
    return True


def check_model_here() -> None:
    """Refuse the weights of the bundle that this code is in where they are not whole, or asked of another picture.

    The network that predicts a study has them from here on: the loader among the handlers may have been taken out.

    Raises:
        TrainingError: Names the setting, the unknown key or the file.
    """
    from mgmt_monai.training.stage import check_whole, load_network  # which import this

    workflow = _workflow()
    if workflow is None:
        return
    config = _of(workflow)
    own = _own("inference") if "evaluator" in config else {**_own("train"), **_own("evaluate")}
    if "training" not in config:
        _check_keys(config, own)
    for key in _OF_THE_MODEL if own else ():
        for place, ours, found in _differing(ConfigParser(own).get(key), ConfigParser(config).get(key), key):
            raise TrainingError(
                f"{place}: expected {ours!r}, with which this bundle's model was trained, found {found!r}. "
                "Leave it out, or train another model."
            )
    if "handlers" in own:
        weights = Path(config["bundle_root"], "models", "model.pt")
        check_whole(weights, "Name a whole bundle with --bundle_root DIR.")
        load_network(workflow.parser.get_parsed_content("network"), weights)


def check_weights(network: nn.Module) -> None:
    """Refuse a prediction by other weights than those of the bundle that this code is in.

    Args:
        network: As it predicts.

    Raises:
        TrainingError: Says so.
    """
    from mgmt_monai.training.stage import digest, read_checkpoint  # which import this

    weights = FOLDER.parents[1] / "models" / "model.pt"
    if _own("inference") and digest(network.state_dict()) != digest(read_checkpoint(weights)):
        raise TrainingError(f"network: expected the weights of this bundle ({weights}), found others. Name no others.")


def _check_keys(config: Mapping[str, Any], own: Iterable[str] = ()) -> None:
    known = _referenced(config) | _RESERVED | set(own)
    for key in config:
        if key not in known:
            raise TrainingError(
                unknown_key(key, known=set(config) - {key})
                + " (Where an override inside a section took the place of this key, set the key instead.)"
            )


def check_values(config: Mapping[str, Any]) -> None:
    """Refuse a setting that is not what was typed, or that is of another type or out of range.

    Raises:
        TrainingError: Names the setting, what was expected and what was found.
    """
    if is_bundle_command():
        check_arrived(config, sys.argv[1:])
    # MONAI's functions leave out what is None before there is a parser: in Python, their own arguments alone tell.
    for key, value in () if is_bundle_command() else _given().items():
        if value is None and key not in OF_THE_COMMAND:
            raise TrainingError(f"{key}: expected a value, found None, which MONAI leaves out. Leave it out.")
    check_unharmed(config)
    check_settings({key: plain(value) for key, value in config.items()})
    for place in _differing(_packaged(str(config.get("modality", "")).lower()), config):
        if "::" in place[0]:
            check_place(*place)


def read_config(path: Path) -> dict[str, Any]:
    """A bundle config as it is in its file.

    Returns:
        Its content, with references and expressions as they are written.

    Raises:
        TrainingError: No JSON.
    """
    try:
        return read_json(path)
    except ValueError as error:
        raise TrainingError(f"{path}: not a JSON config ({error}).") from error


def _differing(own: Any, found: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where a config has something else than its own, as deep inside as both have the place."""
    if isinstance(own, Mapping) and isinstance(found, Mapping) and found:
        for name in [name for name in own if name in found]:
            yield from _differing(own[name], found[name], f"{key}::{name}" if key else name)
        differs = own.keys() != found.keys()
    elif isinstance(own, list) and isinstance(found, list) and len(own) == len(found):
        for n, parts in enumerate(zip(own, found, strict=True)):
            yield from _differing(*parts, f"{key}::{n}")
        differs = False
    else:
        differs = plain(found) != own
    if differs:
        yield key, own, found


def check_place(key: str, own: Any, value: Any) -> None:
    """Refuse a value in the place of what the config has: MONAI would build nothing of it, or take a word for true.

    Args:
        key: ``a::b::c`` or ``a#b#c`` of what is inside.
        own: What the config has there.
        value: What takes its place.

    Raises:
        TrainingError: Names the key.
    """
    found, is_top = plain(value), not re.search("::|#", key)
    if (is_top and key in SETTINGS) or is_live(found):
        return
    if isinstance(own, list | Mapping) or (is_top and is_live(own)):
        if not isinstance(found, list | Mapping) or (not found and (is_top or isinstance(own, Mapping))):
            raise TrainingError(f"{key}: expected a section or an expression, found {found!r}.")
    elif isinstance(own, str) and own[1:] in SETTINGS:
        try:
            check_settings({own[1:]: found})
        except MgmtMonaiError as error:
            raise TrainingError(f"{key}, in the place of {error}") from None
    elif found is None and own is not None:
        raise TrainingError(f"{key}: expected a value, found None. Leave it out for the config's own.")
    elif isinstance(own, bool) != isinstance(found, bool) and not is_live(own):
        kind = "True or False" if isinstance(own, bool) else f"a value such as {own!r}"
        raise TrainingError(f"{key}: expected {kind}, found {found!r}.")
    elif isinstance(found, str) and found.lower() in ("true", "false", "none", "null", "yes", "no"):
        raise TrainingError(f"{key}: expected a value, found the word {found!r}. Write True, False or '$None'.")


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The line that refuses a mistyped key.

    Args:
        key: As it was given; ``a::b::c`` reaches inside.
        known: The keys it may have been meant for.

    Returns:
        One line that names the key and the nearest known one.
    """
    close = difflib.get_close_matches(re.split("::|#", key)[-1], sorted(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else "see docs/reference/config.md for every key."
    return f"config key {key!r}: unknown; {hint}"


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The top-level scalars of a config that a user tunes, but for expressions and for paths, which are not shared."""
    return {
        key: value
        for key, value in config.items()
        if isinstance(value, str | int | float | bool)
        and key not in _RESERVED
        and (key not in PATHS or value in _NO_PATHS)
        and not str(value).startswith(("$", "%"))
    }


def without_paths(config: Any, key: str = "") -> Any:
    """The config as it may be shared: a path given by the user is not in it, at any depth.

    Args:
        config: As it is executed, or a part of it.
        key: The part's name.

    Returns:
        The same with each path replaced by ``(a path)``; expressions stay.
    """
    if isinstance(config, Mapping):
        return {name: without_paths(value, name) for name, value in config.items()}
    if isinstance(config, list):
        return [without_paths(value) for value in config]
    if key in PATHS | {"uri"} and config and config not in _NO_PATHS and not str(config).startswith(("$", "@", "%")):
        return "(a path)"
    return config


def differing_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which keys of two configs differ in a way that would change the result of a resumed training.

    Returns:
        The names, sorted; without those in `FREE_ON_RESUME`, and without `new_settings` wherever they are handed on.
    """
    new = new_settings(before, now)
    now = _without({key: value for key, value in now.items() if key not in new}, [f"@{key}" for key in new])
    keys = sorted((set(before) | set(now)) - FREE_ON_RESUME)
    return [key for key in keys if json.dumps(before.get(key), default=str) != json.dumps(now.get(key), default=str)]


def new_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings, at their defaults, that the config of an earlier version did not have."""
    packaged = _packaged(str(now.get("modality", "")).lower())
    found = SETTINGS & packaged.keys() - before.keys() - FREE_ON_RESUME
    return sorted(key for key in found if now.get(key) == packaged[key])


def _packaged(name: str) -> dict[str, Any]:
    """A modality's packaged config; where this code is carried in a bundle, the bundle's own, as it is in its file."""
    return _content(FOLDER / f"{name}.json") if name in config_names() else _own("train")


def _own(name: str) -> dict[str, Any]:
    """A config of the bundle that this code is carried in, as it is in its file."""
    path = FOLDER.parents[1] / "configs" / f"{name}.json"
    return _content(path) if path.is_file() else {}


@cache
def _content(path: Path) -> dict[str, Any]:
    return read_config(path)


def _without(value: Any, arguments: Collection[str]) -> Any:
    """A config in which components do not get some arguments."""
    if isinstance(value, Mapping):
        return {key: _without(one, arguments) for key, one in value.items() if one not in arguments}
    return [_without(one, arguments) for one in value] if isinstance(value, list) else value


def _of(workflow: ConfigWorkflow) -> dict[str, Any]:
    return {key: value for key, value in workflow.parser.get().items() if key != "_meta_"}


def _workflow() -> ConfigWorkflow | None:
    """The one that evaluates a config, among the callers."""
    found = (frame.f_locals.get("self") for frame in _callers())
    return next((of for of in found if isinstance(of, ConfigWorkflow)), None)


def _given() -> dict[str, Any]:
    """What MONAI's functions were given, where one of them runs the config."""
    given: dict[str, Any] = {}
    for caller in _callers():
        if caller.f_globals.get("__name__") == "monai.bundle.scripts":
            local = caller.f_locals
            given |= {**local.get("override", {}), **local.get("kwargs", {})}
            given |= {key: local[key] for key in ("tracking", "args_file") if local.get(key) is not None}
    return given


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def _referenced(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return set().union(*(_referenced(item) for item in value.values()), set())
    if isinstance(value, list):
        return set().union(*(_referenced(item) for item in value), set())
    if isinstance(value, str):
        return set(re.findall(r"[@%](\w+)", value))
    return set()
