"""What a bundle is made of: a finished run, in its folder or in MLflow."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mgmt_monai.exchange.configs import in_package_names
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.json_file import JsonFileError, parse_json, read_json
from mgmt_monai.locked_folder import KEY
from mgmt_monai.machine import scratch
from mgmt_monai.networks.efficientnet import PADDINGS, has_odd_map
from mgmt_monai.tracking.runs import StoredRun, fetch_run
from mgmt_monai.training.config import PATHS
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.origin import HEADS
from mgmt_monai.training.plain_model import PLAIN
from mgmt_monai.training.run_directory import check_whole, digests

logger = logging.getLogger(__name__)

STAGES = ("transfer", "fine_tune")
"""In the order in which a run goes through them; beside them stands the plain model."""

TEXTS = ("config.json", "metrics.json")
"""Which earlier versions noted no digest of."""

REFERENCES = "reference*.safetensors"
"""What the last stage's features of the training data were like, in the run's folder; of a fusion, by modality."""


@dataclass(frozen=True)
class Source:
    """A finished run, as far as a bundle needs it.

    Args:
        config: As it was executed, in the package's own names.
        metrics: By stage, split and unit: ``metrics.json``.
        stage: Whose best checkpoint is exported.
        checkpoint: The network's state.
        references: How far features lie from the training data; none where that is not known.
        manifest_hash: Of the cohort.
        weights: What the backbone started from: a file's name, or ``none``.
        counts: Patients by split and label; what is not known is not in it.
        software: Versions by package, as it was trained; empty where that is not known.
        origin: Where its patients come from, in a sentence; empty where that is not known.
        heads: ``skull_stripped`` and ``prepared`` of them, as `mgmt_monai.training.origin.origin_of` tells it.
        run_id: In MLflow; None without one.
        secrets: What must not be in a bundle: the run's paths, and the key of its pseudonyms.
    """

    config: dict[str, Any]
    metrics: dict[str, Any]
    stage: str
    checkpoint: Path
    references: tuple[Path, ...]
    manifest_hash: str
    weights: str
    counts: dict[str, dict[str, int]]
    software: dict[str, str]
    origin: str
    heads: dict[str, Any]
    run_id: str | None
    secrets: tuple[str, ...]

    @property
    def modality(self) -> str:
        """Of the training."""
        return str(self.config["modality"])


@contextmanager
def open_source(run: str | Path, uri: str, output_dir: Path) -> Iterator[Source]:
    """Find what is to be exported.

    Args:
        run: A run's folder, a ``best.pt`` in one, or the identifier of a run in MLflow.
        uri: The store that a run's identifier is looked up in.
        output_dir: Where the folder of such a run is looked for first; without one, its artifacts are taken.

    Yields:
        The run; what was fetched for it is there while the block runs.

    Raises:
        ExchangeError: No such run, one that is not finished, a negative control, or a file that is missing or damaged.
        TrackingError: The store cannot be read.
    """
    path = Path(run)
    if path.is_file():
        yield _of_checkpoint(path)
    elif path.is_dir():
        yield _of_folder(path, STAGES[-1])
    elif not re.fullmatch("[0-9a-f]{32}", str(run)):
        raise ExchangeError(
            f"{run}: expected a run's folder, a best.pt in one or the identifier of a run in MLflow, found none of "
            "these. Look into the folder of the trainings, or into 'mgmt-monai ui'."
        )
    elif (folder := _folder_of(str(run), output_dir)) is not None:
        yield _of_folder(folder, STAGES[-1])
    else:
        with scratch(TemporaryDirectory) as temporary:
            yield _of_artifacts(fetch_run(uri, str(run), Path(temporary)))


def _of_checkpoint(path: Path) -> Source:
    stage = path.resolve().parent.name
    if path.name != "best.pt" or stage not in (*STAGES, PLAIN):
        raise ExchangeError(
            f"{path}: expected the best.pt of a stage ({', '.join(STAGES)} or {PLAIN}) in a run's folder, found "
            "another file. Name the run's folder."
        )
    return _of_folder(path.resolve().parents[1], stage)


def _of_folder(folder: Path, stage: str) -> Source:
    state, config, metrics = _json(folder / "run.json"), _config(folder), _json(folder / "metrics.json")
    _check(str(folder), state.get("status"), config.get("control"))
    _warn_of_paddings(str(folder), config, state.get("paddings"))
    checkpoint = _existing(folder / stage / "best.pt")
    files, origin = state.get("files"), state.get("origin") or {}
    known = {path.name for path in folder.glob(REFERENCES)} | {
        name for name in files or () if fnmatch(name, REFERENCES)
    }
    names = sorted(known) if stage == STAGES[-1] else []
    _check_written(folder, [f"{stage}/best.pt", *names], files)
    return Source(
        config=config,
        metrics=metrics,
        stage=stage,
        checkpoint=checkpoint,
        references=tuple(folder / name for name in names),
        manifest_hash=str(state.get("manifest_hash", "")),
        weights=str(state.get("weights", "none")),
        counts=state.get("counts") or {},
        software=state.get("software") or {},
        origin=str(origin.get("text", "")),
        heads={name: origin.get(name) for name in HEADS},
        run_id=state.get("mlflow_run_id"),
        secrets=(str(folder.resolve()), _pseudonym_key(folder, state), *_paths(config)),
    )


def _of_artifacts(run: StoredRun) -> Source:
    _check(f"run {run.run_id}", "finished" if run.status == "FINISHED" else run.status, run.tags.get("control"))
    config = _config(run.folder)
    _warn_of_paddings(f"run {run.run_id}", config, run.tags.get("paddings"))
    versions = {k.removeprefix("version."): v for k, v in run.tags.items() if k.startswith("version.")}
    return Source(
        config=config,
        metrics=_json(run.folder / "metrics.json"),
        stage=STAGES[-1],
        checkpoint=_existing(run.checkpoint),
        references=() if run.reference is None else (run.reference,),
        manifest_hash=run.params.get("manifest_hash", ""),
        weights=run.tags.get("weights", "none"),
        counts=run.counts,
        software=versions,
        origin=run.tags.get("cohort", ""),
        heads=_heads(run),
        run_id=run.run_id,
        secrets=tuple(_paths(config)),
    )


def _heads(run: StoredRun) -> dict[str, Any]:
    """Runs of earlier versions have no such tag."""
    try:
        told = parse_json(run.tags.get("heads", "{}").encode())
        return {name: told.get(name) for name in HEADS}
    except (JsonFileError, AttributeError) as error:
        raise ExchangeError(
            f"run {run.run_id}: tag heads: expected what a training writes, found something else ({error}). Export the "
            "run's folder."
        ) from error


def _folder_of(run_id: str, output_dir: Path) -> Path | None:
    for path in sorted(Path(output_dir).glob("*/*/run.json")):
        if _json(path).get("mlflow_run_id") == run_id:
            return path.parent
    return None


def _check(what: str, status: object, control: object) -> None:
    if status == "diverged":
        raise ExchangeError(
            f"{what}: expected a finished training, found one that diverged. Train again with a lower learning rate."
        )
    if status != "finished":
        raise ExchangeError(
            f"{what}: expected a finished training, found one that is {str(status).lower()}. Go on with it (the same "
            "command and --resume true), then export it."
        )
    if control != "none":
        raise ExchangeError(
            f"{what}: expected a training of a model, found the negative control {control!r}, which is none. Name "
            "another run."
        )


def _config(folder: Path) -> dict[str, Any]:
    config = in_package_names(_json(folder / "config.json"))
    if config.get("slices", "middle") == "tumour":  # the store's section, of an earlier version
        raise ExchangeError(
            f"{folder}: expected a training on the middle slices, found one on those around the tumour, which a study "
            "without a segmentation does not have. Such a model is not exported."
        )
    if config.get("transfer_views"):
        logger.warning(
            f"{folder}: trained on cached views (transfer_views {config['transfer_views']}), which this version does "
            "not have: the bundle's train.json computes every epoch, and will not train the same network again."
        )
    return config


def _warn_of_paddings(what: str, config: Mapping[str, Any], paddings: object) -> None:
    """A checkpoint of an earlier version was trained, and judged, with other borders where a map's size was odd."""
    size = config.get("image_size")
    if paddings == PADDINGS or not str(config.get("backbone")).startswith("efficientnet"):
        return
    if isinstance(size, int) and has_odd_map(size):
        logger.warning(
            f"{what}: trained by an earlier version, whose paddings were not those of image_size {size}. The bundle's "
            "probabilities differ from the run's figures. Train again."
        )


def _paths(config: Mapping[str, Any]) -> list[str]:
    """The user's own paths among the settings: absolute ones tell of the machine."""
    values = [str(config.get(key, "")) for key in sorted(PATHS)]
    return [value for value in values if Path(value).is_absolute() and len(Path(value).parts) > 2]


def _pseudonym_key(folder: Path, state: Mapping[str, Any]) -> str:
    """Also of a run of an earlier version; "" for who may not read it, and so cannot give it away."""
    try:
        return str(state.get("pseudonym_key") or (folder / KEY).read_text(encoding="ascii"))
    except OSError:
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(_existing(path), "mgmt_monai.training", "run.schema.json")
    except JsonFileError as error:
        raise ExchangeError(f"{path}: {error}. Train again.") from error
    return content


def _check_written(folder: Path, names: Sequence[str], written: Mapping[str, str] | None) -> None:
    """Hold files against what the training noted of them; runs of earlier versions noted nothing."""
    if written is None:
        try:
            return check_whole(folder / names[0])
        except TrainingError as error:
            raise _other(folder / names[0], "a damaged one") from error
    there = digests(folder)
    for name in (*names, *(text for text in TEXTS if text in written)):
        if there.get(name) != written.get(name):
            raise _other(folder / name, "another" if name in there else "none")
    return None


def _other(path: Path, found: str) -> ExchangeError:
    return ExchangeError(
        f"{path}: expected the file that the training wrote, found {found}. Put it back from a copy, or train again."
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ExchangeError(f"{path}: expected a file of a finished training, found none. Name a run's folder.")
    return path
