"""What happens around an epoch, as handlers of the stage's trainer, in the order the config lists them."""

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.slices import EpochBatches
from mgmt_monai.tracking import TrackedRun
from mgmt_monai.training.divergence import check_course
from mgmt_monai.training.ranks import from_main_rank, is_main_rank
from mgmt_monai.training.run_log import duration, epoch_line
from mgmt_monai.training.stage import StageProgress, digest, read_checkpoint, save_state

logger = logging.getLogger(__name__)

#: The validation figures that early stopping, plateau and checkpoint watch; the second where the start may be kept.
WATCHED = "val_loss"
OF_PATIENTS = "val_patient_log_loss"


class _EpochHandler:
    """Called at some events of the engine that it is attached to."""

    events: ClassVar[tuple[Events, ...]] = (Events.EPOCH_COMPLETED,)

    def attach(self, engine: Engine) -> None:
        """Be called by ``engine``."""
        for event in self.events:
            engine.add_event_handler(event, self)


@dataclass(eq=False)
class SeedEpoch(_EpochHandler):
    """Before each epoch: seeds augmentation, batch order and dropout from seed and epoch, counted over both stages.

    So no epoch repeats another, and one that is done again after a stop is the same.
    """

    events: ClassVar = (Events.EPOCH_STARTED,)

    progress: StageProgress
    batches: EpochBatches
    seed: int

    def __call__(self, engine: Engine) -> None:
        """Seed the coming epoch."""
        epoch = self.progress.first_epoch + engine.state.epoch
        self.batches.set_epoch(epoch)
        torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))


@dataclass(eq=False)
class EpochRecord(_EpochHandler):
    """After each validation: notes the epoch's figures, both stages on one axis, and whether it is the best so far.

    Where the start may be kept, it is epoch 0, and the best until the loss of the validation patients is lower by more
    than chance gains.

    Args:
        progress: Of the stage.
        validator: The evaluator.
        optimizer: Whose learning rate is noted.
    """

    progress: StageProgress
    validator: Evaluator
    optimizer: Optimizer

    def attach(self, engine: Engine) -> None:
        """Be called by ``engine``, before its first epoch too."""
        super().attach(engine)
        engine.add_event_handler(Events.STARTED, self.begin)

    def begin(self, engine: Engine) -> None:
        """Take a stage's start for the best so far, where it may be kept."""
        progress = self.progress
        is_new = engine.state.epoch == 0 and not progress.last_checkpoint.is_file()
        if is_new and from_main_rank(lambda: progress.may_keep_start):
            self.validator.run()
            progress.start_loss = self.validator.state.metrics[OF_PATIENTS]

    def __call__(self, engine: Engine) -> None:
        """Note this epoch.

        Raises:
            DivergedError: Its losses are those of no network that learns; no checkpoint has this epoch then.
        """
        progress, loss = self.progress, self.validator.state.metrics[WATCHED]
        learns = (progress.run_directory.config or {}).get("control", "none") in ("none", "permuted_labels")
        check_course(progress.stage, engine.state.epoch, engine.state.metrics.get("train_loss"), loss, learns)
        progress.epochs = engine.state.epoch
        of_patients = self.validator.state.metrics[OF_PATIENTS]
        if loss < progress.best_loss if progress.best_epoch else of_patients < progress.loss_to_beat:
            progress.best_loss, progress.best_epoch = loss, progress.epochs
            progress.epochs_without_improvement = 0
        else:
            progress.epochs_without_improvement += 1
        figures = {**engine.state.metrics, **self.validator.state.metrics}
        figures["train_learning_rate"] = self.optimizer.param_groups[0]["lr"]
        for name, value in figures.items():
            split, _, metric = name.partition("_")
            progress.rows.append(
                {
                    "stage": progress.stage,
                    "epoch": progress.first_epoch + progress.epochs,
                    "split": _SPLITS[split],
                    "metric": metric,
                    "value": float(value),
                }
            )


@dataclass(eq=False)
class Plateau(_EpochHandler):
    """After `EpochRecord`: lowers the learning rate on a plateau of the validation loss."""

    progress: StageProgress
    validator: Evaluator
    lr_scheduler: ReduceLROnPlateau

    def __call__(self, engine: Engine) -> None:
        """Tell the scheduler this epoch's loss."""
        self.lr_scheduler.step(self.validator.state.metrics[WATCHED])


class ResumePoint:
    """After `EpochRecord`: one checkpoint with all that is needed to go on from this epoch, and the best network.

    Of an engine that scales its gradients (float16), the scaler is part of it.

    Args:
        progress: Of the stage.
        network: What is trained.
        optimizer: Its optimizer.
        lr_scheduler: Of the optimizer; it has made its step by now.
    """

    def __init__(
        self, progress: StageProgress, network: MGMTClassifier, optimizer: Optimizer, lr_scheduler: LRScheduler
    ) -> None:
        self.progress = progress
        self.network = network
        self._parts: dict[str, Any] = {
            "network": network,
            "optimizer": optimizer,
            "lr_scheduler": lr_scheduler,
            "progress": progress,
        }

    def attach(self, engine: Engine) -> None:
        """Load when ``engine`` starts, save at the end of each epoch and of the stage."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def load(self, engine: Engine) -> None:
        """Bring everything to the last finished epoch; where there is none, keep the start that is the best so far.

        Raises:
            TrainingError: The best network's checkpoint, which is of an epoch before, is gone or another's.
        """
        is_further_round = engine.state.epoch > 0  # of this process, perhaps with weights from elsewhere: they stay
        if is_further_round:
            return
        if not self.progress.last_checkpoint.is_file():
            self._keep_best()
            return
        state = read_checkpoint(self.progress.last_checkpoint)
        for name, part in self._all_parts(engine).items():
            part.load_state_dict(state[name])
        engine.state.epoch = self.progress.epochs
        engine.state.iteration = self.progress.epochs * engine.state.epoch_length
        self._keep_best()
        if self.progress.best_epoch < self.progress.epochs:
            self.progress.check_best()

    def save(self, engine: Engine) -> None:
        """Write the checkpoints, each whole or not at all; the best network last, so that it never runs ahead."""
        if not is_main_rank():
            return
        if self._is_best:
            self.progress.best_digest = digest(self.network.state_dict())
        state = {name: part.state_dict() for name, part in self._all_parts(engine).items()}
        save_state(state, self.progress.last_checkpoint)
        self._keep_best()

    def finish(self, engine: Engine) -> None:
        """Note that the stage has run to its end, unless that was noted before the next one trained."""
        if self.progress.finished:
            return
        self.progress.finished = True
        self.save(engine)

    def _all_parts(self, engine: Engine) -> dict[str, Any]:
        scaler = getattr(engine, "scaler", None)
        return self._parts if scaler is None else {**self._parts, "scaler": scaler}

    @property
    def _is_best(self) -> bool:
        progress = self.progress
        return progress.best_epoch == progress.epochs and (progress.epochs > 0 or math.isfinite(progress.start_loss))

    def _keep_best(self) -> None:
        if self._is_best and is_main_rank():
            state = self.network.state_dict()
            self.progress.best_digest = digest(state)
            save_state(state, self.progress.best_checkpoint)


@dataclass(eq=False)
class EarlyStopping(_EpochHandler):
    """After `ResumePoint`: ends the stage when the validation loss has not improved for ``patience`` epochs."""

    events: ClassVar = (Events.STARTED, Events.EPOCH_COMPLETED)  # the first: it may have been killed just here

    progress: StageProgress
    patience: int

    def __call__(self, engine: Engine) -> None:
        """Stop or let go on."""
        if self.progress.epochs_without_improvement >= self.patience:
            engine.terminate()


@dataclass(eq=False)
class Publish(_EpochHandler):
    """After `ResumePoint`, so that only what is saved is told: a line an epoch, all into ``epochs.csv`` and MLflow."""

    events: ClassVar = (Events.STARTED, Events.EPOCH_COMPLETED)  # the first: for what is missing then

    progress: StageProgress
    tracking: TrackedRun
    _began: tuple[float, int] = field(default=(0.0, 0), init=False)  # when, and after how many epochs

    def __call__(self, engine: Engine) -> None:
        """Tell of every epoch that is finished and was not told of."""
        is_over = engine.state.epoch > self.progress.epochs  # the next stage has told more since
        if is_over or not is_main_rank():
            return
        self.progress.write_epochs()
        figures: dict[int, dict[str, float]] = {}
        for row in self.progress.all_rows():
            figures.setdefault(row["epoch"], {})[f"{row['split']}/{row['metric']}"] = row["value"]
        for epoch, of_epoch in figures.items():
            self.tracking.log_metrics(of_epoch, step=epoch)
        self.tracking.retry()
        progress, last = self.progress, engine.state.max_epochs or 0
        if engine.last_event_name != Events.EPOCH_COMPLETED:
            self._began = time.monotonic(), progress.epochs
            return
        line = epoch_line(figures[max(figures)], progress.stage, progress.epochs, last, progress.n_validation)
        each = (time.monotonic() - self._began[0]) / max(1, progress.epochs - self._began[1])
        left = duration(each * (last - progress.epochs))
        logger.info(f"{line}{f', at most {left} left' if progress.epochs < last else ''}")


_SPLITS = {"train": "train", "val": "validation"}
