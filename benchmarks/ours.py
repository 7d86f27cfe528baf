"""Our ways, as a user runs them: what a bundle config builds, with its defaults; only sizes and paths are set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from epoch_turns import MANY, EpochTurns, now
from made_series import made_cohort
from measurement import Size
from monai.bundle import ConfigWorkflow
from remote import Turn

from mgmt_monai.training import Stage
from mgmt_monai.training.ranks import is_main_rank, wait_for_all

BUNDLES = Path(__file__).parents[1] / "bundles"
SECTIONS = {"transfer": "train", "fine_tune": "fine_tune"}
"""Of the config, by stage."""


def workflow(size: Size, cohort: Path, output_dir: Path, files: Sequence[str], **settings: Any) -> ConfigWorkflow:
    """A bundle's workflow, initialised, at the benchmark's sizes.

    Args:
        size: Of the work.
        cohort: The data.
        output_dir: Of the run.
        files: Of ``bundles/``, without ending; a later one overrides an earlier one.
        settings: More overrides, by key.
    """
    sizes = {
        "image_size": size.image_size,
        "transfer_batch_size": size.transfer_batch,
        "fine_tune_batch_size": size.fine_tune_batch,
        "transfer_epochs": MANY,
        "fine_tune_epochs": MANY,
        "early_stopping_patience": MANY,
        "dataset_dir": str(cohort),
        "output_dir": str(output_dir),
    }
    made = ConfigWorkflow(
        [str(BUNDLES / f"{name}.json") for name in files],
        logging_file=False,
        run_id="training",
        workflow_type="train",
        **{**sizes, **settings},
    )
    made.initialize()
    return made


def ready_stage(made: ConfigWorkflow, stage: str) -> tuple[Stage, int]:
    """A stage of a training, as if those before it were done, and how many slices an epoch has."""
    parser = made.parser
    built = parser.get_parsed_content(f"{SECTIONS[stage]}::stage")
    if "loaded_weights" in parser:
        parser.get_parsed_content("loaded_weights")
    if is_main_rank():
        before = built.progress.after
        (built.progress if before is None else before).directory.mkdir(parents=True)
        if before is not None:
            torch.save(built.network.state_dict(), before.best_checkpoint)
    wait_for_all()
    return built, len(parser.get_parsed_content("train::dataset"))


def epochs(
    turn: Turn, size: Size, stage: str, n_patients: int, files: Sequence[str] = ("t1w",), **settings: Any
) -> None:
    """Epochs of a stage, a turn each, after one that warms up; the figures are slices a second."""
    with TemporaryDirectory() as folder:
        made = workflow(size, made_cohort(size.data, n_patients), Path(folder) / "runs", files, **settings)
        try:
            built, n_slices = ready_stage(made, stage)
            EpochTurns(turn, n_slices).attach(built.trainer)
            built.run()
        finally:
            made.finalize()


EPOCH, STEPS = "epoch", "steps in place"
"""What `epochs_and_steps` may be asked for."""


def epochs_and_steps(turn: Turn, size: Size, stage: str, n_patients: int) -> None:
    """Epochs of a stage, and the steps of one on batches that are loaded, augmented and on the device already.

    The figures are slices a second. One process does both, so that they differ in nothing else.
    """
    with TemporaryDirectory() as folder:
        made = workflow(size, made_cohort(size.data, n_patients), Path(folder) / "runs", ("t1w",))
        built, n_slices = ready_stage(made, stage)
        trainer = built.trainer
        prepare, batches = trainer.prepare_batch, []

        def kept(*arguments: Any, **options: Any) -> Any:
            batches.append(prepare(*arguments, **options))
            return batches[-1]

        def steps() -> float:
            trainer.prepare_batch = lambda batch, *_, **__: batch
            started = now()
            for batch in batches:
                trainer._iteration(trainer, batch)
            figure = n_slices / (now() - started)
            trainer.prepare_batch = prepare
            return figure

        def answer(figure: float | None) -> str:
            trainer.prepare_batch = prepare
            while (asked := turn(figure)) == STEPS:
                figure = steps()
            return asked

        trainer.prepare_batch = kept  # in the first epoch, which is not measured
        EpochTurns(answer, n_slices).attach(trainer)
        built.run()
