"""A training's beginning and end: its folder, its record, and what its network begins with."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.interruption import closing, interruptible, is_interruption
from mgmt_monai.networks import MGMTClassifier, WeightsReport, calibrate_batchnorm
from mgmt_monai.networks.efficientnet import PADDINGS
from mgmt_monai.own_process import is_own_process
from mgmt_monai.slices import EpochBatches, SliceDataset
from mgmt_monai.tracking import TrackedRun
from mgmt_monai.tracking.environment import environment_tags
from mgmt_monai.training.config import settings_of, without_paths
from mgmt_monai.training.errors import DivergedError, TrainingError
from mgmt_monai.training.heavy_patients import heavy_patients
from mgmt_monai.training.origin import HEADS, origin_of
from mgmt_monai.training.outcome import small_test
from mgmt_monai.training.plain_model import PLAIN, PlainModel
from mgmt_monai.training.prepare_batch import PrepareBatch
from mgmt_monai.training.pseudonyms import pseudonym
from mgmt_monai.training.ranks import lost_ranks_told, n_ranks
from mgmt_monai.training.run_directory import RunDirectory
from mgmt_monai.training.run_log import run_log
from mgmt_monai.training.stage import StageProgress, digest

logger = logging.getLogger(__name__)

MOST_SLICES = 8
"""Of a patient, that count among an epoch's steps: many thin slices of few patients teach a drawn head no more. With 31
each, 40 to 100 made patients lost 0.03 of the plain model's AUC by it (``benchmarks/first_stage.py --times 5``)."""


@dataclass(eq=False)
class Opening:
    """Opens a training and closes it again, for a whole experiment and for a trainer that is run alone.

    Args:
        run_directory: Where everything is kept.
        tracking: The MLflow run.
        cohort: The patients.
        network: With its weights loaded. Other weights that it was given since, as a federation's server does, stay.
        weights: What was loaded; where nothing was, BatchNorm is calibrated on ``calibration_images`` first.
        calibration_images: Loader of training slices.
        batches: Of the first stage.
        least_steps: The first stage's head begins as the plain model where an epoch's `counted_steps` are fewer; 0:
            never.
        plain: The logistic regression on the same features.
        first: Progress of the first stage.
        training: Training slices.
        validation: Validation slices.
        prepare_batch: Of the first stage's trainer.
        device: That it trains on.
        control: Which negative control this training is, or ``none``.
        dtype: What layers that allow it compute in while training.
        weigh: What weighs the same in the losses: each ``patient`` or each ``slice``.

    ``last_words`` is what the user reads when all is closed.
    """

    run_directory: RunDirectory
    tracking: TrackedRun
    cohort: ModalityCohort
    network: MGMTClassifier
    weights: WeightsReport
    calibration_images: DataLoader
    batches: EpochBatches
    least_steps: int
    plain: PlainModel
    first: StageProgress
    training: SliceDataset
    validation: SliceDataset
    prepare_batch: PrepareBatch
    device: torch.device
    control: str
    dtype: torch.dtype
    weigh: str

    def __post_init__(self) -> None:
        self.is_open = False
        self.last_words = ""
        self._as_built = digest(self.network.state_dict())

    @property
    def plain_checkpoint(self) -> Path:
        """The network with the plain model as its head."""
        return self.run_directory.path / PLAIN / "best.pt"

    @property
    def has_plain(self) -> bool:
        """Whether the plain model could be fitted."""
        return self.run_directory.state.get("plain_sha256") is not None

    @property
    def precision(self) -> str:
        """Name of the data type."""
        return str(self.dtype).removeprefix("torch.")

    @contextmanager
    def held(self, status: str = "finished") -> Iterator[None]:
        """Hold the folder and the MLflow run while the block trains; again, where it was held before.

        A training that diverged is not resumed: it would do the same again.

        Args:
            status: Of the run when the block ends without an error.

        Yields:
            Nothing.
        """
        directory, tracking = self.run_directory, self.tracking
        directory.open(self.cohort.manifest_hash, self.cohort.segmentations_hash)
        self.is_open, mlflow_status = True, "FAILED"
        with run_log(directory.path):
            try:
                with interruptible():
                    try:
                        with lost_ranks_told():
                            self._begin()
                            yield
                        mlflow_status = "FINISHED"
                    except BaseException as error:
                        status, mlflow_status = self._failed(error)
                        raise
                    finally:
                        self.is_open = False
                        with closing():
                            self._close(status, mlflow_status)
                if self.last_words:
                    logger.info(self.last_words)
            finally:
                tracking.say_what_is_missing(f"mgmt-monai record {shlex.quote(str(directory.path))}")

    def _failed(self, error: BaseException) -> tuple[str, str]:
        """What the run and its MLflow run are then."""
        if is_own_process():
            _end_progress_bars()
        if isinstance(error, DivergedError):
            self.tracking.set_tags({"diverged": str(error)})  # MLflow has no such status
            return "diverged", "FAILED"
        if is_interruption(error):
            path = self.run_directory.path
            logger.warning(f"interrupted; go on with the same command and --resume true ({path})")
            return "killed", "KILLED"
        return "failed", "FAILED"

    def _close(self, status: str, mlflow_status: str) -> None:
        directory, tracking = self.run_directory, self.tracking
        try:
            directory.update(status=status)
        finally:  # a full disk here must not leave the run open on a server
            try:
                tracking.finish(mlflow_status)
                directory.update(mlflow_run_id=tracking.run_id or directory.mlflow_run_id)
            finally:
                directory.close()

    def _begin(self) -> None:
        directory, tracking = self.run_directory, self.tracking
        logger.info(f"run {directory.name} in {directory.path}" + (f", {n_ranks()} processes" if n_ranks() > 1 else ""))
        tracking.start(directory.mlflow_run_id, folder=directory.path)
        directory.update(status="running", mlflow_run_id=tracking.run_id or directory.mlflow_run_id)
        is_new = not self.first.last_checkpoint.is_file()  # later, a checkpoint takes their place
        is_given = is_new and digest(self.network.state_dict()) != self._as_built
        if is_new:
            directory.update(weights="given" if is_given else self.weights.source)
            self._begin_first_stage(is_given)
        elif not self.first.epochs:  # in a further round of this process the network is trained already
            self._mend_plain()
        self._note_precision()
        self._name_heavy_patients()
        logger.info(origin_of(self.cohort)["text"])
        if told := small_test(self.cohort):
            logger.warning(told)
        if not directory.state["described"]:
            # Whoever runs it again begins anew, also where this one began with --resume true.
            self._describe({**(directory.config or {}), "resume": False})

    def _begin_first_stage(self, is_given: bool) -> None:
        """Few slices teach a head that is drawn too little: it begins as the plain model."""
        head, steps = self.network.head, len(self.batches)
        drawn = {name: tensor.clone() for name, tensor in head.state_dict().items()}
        counted = counted_steps(self.batches, self.training.slice_counts)
        begins = self._fit_plain(is_given) and counted < self.least_steps and not is_given
        if begins:
            of_few = f", {counted} with {MOST_SLICES} slices a patient" if counted < steps else ""
            logger.info(
                f"few training slices: {steps} step{'' if steps == 1 else 's'} an epoch{of_few}, fewer than "
                f"{self.least_steps}: the head begins as the plain model (transfer_least_steps; 0: as the paper)"
            )
        else:
            head.load_state_dict(drawn)
        state = {"steps": steps, "counted_steps": counted, "head_begins_as_plain_model": begins}
        self.run_directory.update(first_stage=state)

    def _fit_plain(self, is_given: bool) -> bool:
        """Fit the plain model and note what was written, so that a resumed training scores that and no other file."""
        if not is_given and not self.weights.pretrained:
            self._calibrate()
        self.plain_checkpoint.unlink(missing_ok=True)
        is_fitted = self.plain.run(self.plain_checkpoint)
        self.run_directory.update(plain_sha256=self._plain_sha256())
        return is_fitted

    def _mend_plain(self) -> None:
        """Fit a resumed training's plain model again where its file is gone or is another's."""
        written, found = self.run_directory.state.get("plain_sha256"), self._plain_sha256()
        if found == written:
            return
        told = f"{self.plain_checkpoint}: expected SHA-256 {written}, found {found or 'no file'}"
        if self.run_directory.state["weights"] == "given":
            raise TrainingError(f"{told}; it was fitted with weights from elsewhere. Put it back, or start a new run.")
        logger.warning(f"{told}; the plain model is fitted again")
        before = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self._fit_plain(is_given=False)
        self.network.load_state_dict(before)

    def _plain_sha256(self) -> str | None:
        path = self.plain_checkpoint
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None

    def _note_precision(self) -> None:
        """``precision`` may be auto: what that came to is noted, and told where a resumed training has it otherwise."""
        before = self.run_directory.state.get("precision", self.precision)
        if before != self.precision:
            logger.warning(
                f"this training began in {before} and goes on in {self.precision}, on another device: its result is "
                f"not that of a training in one. Set --precision {before} from the start to keep it."
            )
        self.run_directory.update(precision=self.precision)

    def _name_heavy_patients(self) -> None:
        """Under pseudonyms in the log; who they are stands in ``run.json``, which stays in the run's folder."""
        key, found = self.run_directory.pseudonym_key, {}
        weight = "as much as any other" if self.weigh == "patient" else "by its slices (--weigh patient: as any other)"
        for part, slices in (("training", self.training), ("validation", self.validation)):
            for patient, share in heavy_patients(slices).items():
                found[patient] = share
                logger.warning(
                    f"patient {pseudonym(key, patient)} (see heavy_patients in run.json) holds {share:.0%} of the "
                    f"{part} slices, and weighs {weight}"
                )
        self.run_directory.update(heavy_patients=found)

    def _describe(self, config: dict[str, Any]) -> None:
        manifest = self.cohort.manifest
        shared = self.run_directory.path / "shared"
        shared.mkdir(exist_ok=True)
        self.tracking.log_file(self.run_directory.write_json("shared/config.json", without_paths(config)))
        self.tracking.log_params({**settings_of(config), "manifest_hash": self.cohort.manifest_hash})
        environment, origin = environment_tags(), origin_of(self.cohort)
        self.tracking.set_tags(
            {
                **environment,
                "weights": self.weights.source,
                "control": self.control,
                "precision": self.precision,
                "paddings": PADDINGS,
                "first_stage": json.dumps(self.run_directory.state.get("first_stage")),
                "cohort": origin["text"],
                "heads": json.dumps({name: origin[name] for name in HEADS}),
            }
        )
        counts = {split: {"unmethylated": n[0], "methylated": n[1]} for split, n in manifest.counts().items()}
        self.tracking.log_dataset(f"{self.cohort.modality} cohort", self.cohort.manifest_hash, manifest.split, counts)
        self.run_directory.update(
            described=True,
            counts=counts,
            origin=origin,
            paddings=PADDINGS,
            software={
                tag.removeprefix("version."): text for tag, text in environment.items() if tag.startswith("version.")
            },
        )

    def _calibrate(self) -> None:
        batches = tqdm(self.calibration_images, desc="Calibrating BatchNorm")
        images = (self.prepare_batch(batch, self.device, False)[0] for batch in batches)
        calibrate_batchnorm(self.network, images)


def counted_steps(batches: EpochBatches, slice_counts: Iterable[int]) -> int:
    """How many steps an epoch would have with at most `MOST_SLICES` slices of each patient.

    Args:
        batches: Of the epoch.
        slice_counts: Of each patient.

    Example:
        >>> counted_steps(EpochBatches(range(36 * 31), 128, seed=0), [31] * 36)
        3
    """
    return min(len(batches), math.ceil(sum(min(n, MOST_SLICES) for n in slice_counts) / batches.batch_size))


def _end_progress_bars() -> None:
    """What is said next begins a line of its own.

    Those that stand open are known to tqdm alone, and ignite's does not end with an error.
    """
    for bar in list(tqdm._instances):
        bar.close()
