"""One stage of the training: what it starts from, how far it is, what it leaves behind."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from monai.engines import SupervisedTrainer
from torch import nn

from mgmt_monai.atomic import atomic_file, write_text
from mgmt_monai.csv_file import csv_text
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.learnt import chance_gain
from mgmt_monai.training.ranks import is_main_rank, wait_for_all
from mgmt_monai.training.run_directory import RunDirectory, check_whole
from mgmt_monai.training.settings import as_boolean

logger = logging.getLogger(__name__)


@dataclass
class StageProgress:
    """How far a stage is. The stage's handlers read and write it; it is part of every checkpoint.

    Args:
        stage: ``transfer`` or ``fine_tune``.
        run_directory: Of the training.
        after: The stage before, whose epochs come first on the common axis.
        n_validation: Validation patients, whom the epochs' figures are of.
        start_loss: Of the validation patients, as `learning_of` has it, where the start may be kept; else infinite.
    """

    stage: str
    run_directory: RunDirectory
    after: StageProgress | None = None
    n_validation: int = 0
    epochs: int = 0
    start_loss: float = math.inf
    best_loss: float = math.inf
    best_epoch: int = 0
    best_digest: str = ""
    epochs_without_improvement: int = 0
    finished: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        """The stage's folder."""
        return self.run_directory.path / self.stage

    @property
    def best_checkpoint(self) -> Path:
        """State of the network after the best epoch; of epoch 0, as the stage began."""
        return self.directory / "best.pt"

    @property
    def last_checkpoint(self) -> Path:
        """All that is needed to go on from the last finished epoch."""
        return self.directory / "last.pt"

    @property
    def first_epoch(self) -> int:
        """How many epochs lie before this stage's first on the common axis of both stages."""
        return 0 if self.after is None else self.after.first_epoch + self.after.epochs

    @property
    def may_keep_start(self) -> bool:
        """Whether the stage's start is epoch 0: where the first stage's head begins as the plain model."""
        return bool(self.run_directory.state["first_stage"]["head_begins_as_plain_model"])

    @property
    def loss_to_beat(self) -> float:
        """Of the validation patients: below it an epoch is better than the start by more than chance gains."""
        return self.start_loss - chance_gain(self.n_validation) if math.isfinite(self.start_loss) else math.inf

    def begin_round(self) -> None:
        """Make the folder; early stopping counts from here."""
        self.directory.mkdir(exist_ok=True)
        self.epochs_without_improvement, self.finished = 0, False

    def all_rows(self) -> list[dict[str, Any]]:
        """The figures of every finished epoch, of the stages before too: stage, epoch, split, metric, value."""
        return [*(self.after.all_rows() if self.after is not None else []), *self.rows]

    def write_epochs(self) -> Path:
        """Write `all_rows` into the run's ``epochs.csv``."""
        path = self.run_directory.path / "epochs.csv"
        write_text(path, csv_text(ROW_COLUMNS, ([row[name] for name in ROW_COLUMNS] for row in self.all_rows())))
        return path

    def check_best(self) -> None:
        """Hold the best network's checkpoint against what was noted of it.

        Raises:
            TrainingError: It is not there, damaged, or another's.
        """
        found = digest(read_checkpoint(self.best_checkpoint))
        if self.best_digest not in ("", found):
            raise TrainingError(
                f"{self.best_checkpoint}: expected this training's network of epoch {self.best_epoch}, found another. "
                f"Delete {self.directory}: with --resume true this stage is trained again, to the same result."
            )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain values."""
        return {name: getattr(self, name) for name in _KEPT}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept.

        Raises:
            TrainingError: It is another stage's.
        """
        if other := {row["stage"] for row in state.get("rows", ())} - {self.stage}:
            raise TrainingError(
                f"{self.last_checkpoint}: expected a checkpoint of the stage {self.stage}, found one of "
                f"{min(other)}. Delete {self.directory}: with --resume true this stage is trained again."
            )
        for name in _KEPT:
            setattr(self, name, state.get(name, getattr(self, name)))


_KEPT = (
    "epochs",
    "start_loss",
    "best_loss",
    "best_epoch",
    "best_digest",
    "epochs_without_improvement",
    "finished",
    "rows",
)

#: Of the table of all epochs.
ROW_COLUMNS = ["stage", "epoch", "split", "metric", "value"]


@dataclass(eq=False)
class Stage:
    """Trains the network through one stage; the handlers of its trainer do the rest.

    Args:
        progress: Of this stage; its ``after`` is the stage whose best checkpoint this one starts from.
        network: What is trained.
        trainer: The stage's engine.
        data_parallel: Makes of the network what the engine trains where several processes share each batch.
        compile: Whether the engine trains a compiled network; it is validated, saved and scored as it is.
    """

    progress: StageProgress
    network: MGMTClassifier
    trainer: SupervisedTrainer
    data_parallel: Callable[[nn.Module], nn.Module] | None = None
    compile: bool | str = False

    def __post_init__(self) -> None:
        self.compile = as_boolean("compile", self.compile)

    def run(self) -> None:
        """Train to the last epoch or to early stopping, from the last finished epoch where there is one.

        Raises:
            TrainingError: The network cannot be compiled here, or a checkpoint is gone or another's.
        """
        progress = self.progress
        wait_for_all()  # the main process may still be writing the checkpoints of the stage before
        if progress.last_checkpoint.is_file():
            progress.load_state_dict(read_checkpoint(progress.last_checkpoint)["progress"])
            if progress.finished:
                progress.check_best()
                logger.info(f"stage {progress.stage}: finished before, {_epochs(progress.epochs)}")
                return
        elif progress.after is not None:
            load_network(self.network, progress.after.best_checkpoint)
        if is_main_rank():
            progress.directory.mkdir(exist_ok=True)
        self.network.set_stage(progress.stage)
        self.trainer.network = self._trained()
        most = self.trainer.state.max_epochs or 0
        if progress.epochs < most:
            logger.info(f"stage {progress.stage}: epoch {progress.epochs + 1} of at most {most}")
        try:
            self.trainer.run()
        except torch._dynamo.exc.BackendCompilerFailed as error:
            raise TrainingError(
                f"compile: the network cannot be compiled on this machine ({str(error).splitlines()[0]}). "
                "Set --compile false."
            ) from error
        self.trainer.network = self.network
        found = f"lowest validation loss {progress.best_loss:.4f} in epoch {progress.best_epoch}"
        if progress.best_epoch == 0:
            found = (
                f"none with a loss of the validation patients below {progress.loss_to_beat:.4f}, that of the start "
                f"({progress.start_loss:.4f}) less what chance gains: the start is kept, as epoch 0"
            )
        logger.info(f"stage {progress.stage}: {_epochs(progress.epochs)}, {found}")

    def go_on(self, n_epochs: int) -> None:
        """Train some epochs more from the weights that the network has: what a federation's round does.

        Args:
            n_epochs: How many; of the stages that ended before, none is asked.
        """
        self.progress.begin_round()
        self.network.set_stage(self.progress.stage)
        self.trainer.state.max_epochs = self.trainer.state.epoch + n_epochs
        self.trainer.run()

    def _trained(self) -> nn.Module:
        """The network as the engine trains it: the same parameters, under other names in what is wrapped around it."""
        trained: nn.Module = self.network
        if self.compile:
            # What is random is drawn as without it, so that results differ by rounding alone.
            trained = cast(nn.Module, torch.compile(trained, options={"fallback_random": True}))
        return trained if self.data_parallel is None else self.data_parallel(trained)


def _epochs(n: int) -> str:
    return f"{n} epoch" if n == 1 else f"{n} epochs"


def load_network(network: MGMTClassifier, checkpoint: Path) -> None:
    """Load a network's state strictly, without unpickling.

    Args:
        network: Takes the state.
        checkpoint: A ``best.pt``.

    Raises:
        RuntimeError: The state is another network's.
        TrainingError: The file is damaged.
    """
    network.load_state_dict(read_checkpoint(checkpoint))


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        state: What `torch.load` gives back without unpickling.
        path: Of the file.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as stream:  # of a path, torch hides that a disk is full
        torch.save(state, stream)


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """Of a network's weights, SHA-256.

    Args:
        state: Of the network.
    """
    made = hashlib.sha256()
    for tensor in state.values():
        made.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return made.hexdigest()


def read_checkpoint(checkpoint: Path) -> Any:
    """What is in a checkpoint, without unpickling.

    Args:
        checkpoint: A ``best.pt`` or ``last.pt``.

    Raises:
        TrainingError: It is cut off or changed.
    """
    check_whole(checkpoint)
    return torch.load(checkpoint, map_location="cpu", weights_only=True)
