"""One folder a training: ``<output_dir>/<modality>/<run_name>``, and how to find the one to resume."""

import hashlib
import logging
import os
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from mgmt_monai import __version__
from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.locked_folder import LockedFolder
from mgmt_monai.machine import check_machine, check_readable
from mgmt_monai.tracking import new_run_name
from mgmt_monai.tracking.tracked_run import read_notes
from mgmt_monai.training.config import differing_settings, new_settings
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.ranks import from_main_rank, is_main_rank
from mgmt_monai.training.settings import SETTINGS, as_boolean, check_run_name

logger = logging.getLogger(__name__)


class RunDirectory(LockedFolder):
    """Where a training keeps its checkpoints and results. Nothing is written before `open`.

    Args:
        output_dir: Folder of all trainings.
        modality: Names the folder below it.
        run_name: Of a new run, or of the one to resume; empty for a name no other run has, or for the newest run
            that is not finished.
        resume: Go on with a run that was stopped. One that was stopped while it began, and has nothing yet, begins
            anew, whether this is said or not.

    Raises:
        TrainingError: ``output_dir`` cannot be written to, a new run's name is taken or no folder's name, or there is
            nothing to resume.
    """

    def __init__(self, output_dir: str | Path, modality: str, run_name: str, resume: bool | str) -> None:
        is_asked_to_resume = as_boolean("resume", resume)
        run_name = str(run_name)
        if run_name:
            check_run_name(run_name)
        self.output_dir = Path(output_dir)
        _check_writable(self.output_dir)
        folder = self.output_dir / modality.lower()
        find = _run_to_resume if is_asked_to_resume else _new_run
        path, self.resumes = from_main_rank(lambda: find(folder, run_name))
        super().__init__(path, *_KIND)
        self.config: dict[str, Any] | None = None

    @property
    def mlflow_run_id(self) -> str | None:
        """The MLflow run of a training that is resumed."""
        return self.state["mlflow_run_id"] if self.resumes else None

    def claim(self, config: dict[str, Any] | None) -> None:
        """Note how this process runs; take a run that is resumed for it alone, and compare with how that was started.

        Args:
            config: As it is executed; None where no workflow executes it, which may look at its parts, not train.

        Raises:
            TrainingError: The run is still running, was started with other settings, or has a damaged file.
            TrackingError: What MLflow was told cannot be read.
        """
        self.config = config
        if config is None or not self.resumes or not is_main_rank():
            return
        self.take()
        try:
            before = self.read_json("config.json", "the config of a training")
            for checkpoint in sorted(self.path.glob("*/*.pt")):
                check_whole(checkpoint)
            read_notes(self.path, absent_ok=True)
            self._check_same(before, config)
        except MgmtMonaiError:
            self.close()
            raise

    def _check_same(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """Refuse to go on with other settings, or in a version that may come to another result."""
        differing = differing_settings(before, now)
        if changed := [key for key in differing if key in SETTINGS and key in before and key in now]:
            raise TrainingError(
                f"{self.path}: started with other settings: {', '.join(changed)}. Resume with the same command, or "
                "start a new run without --resume."
            )
        version = self.state.get("software", {}).get("mgmt_monai", __version__)
        if differing or version != __version__:
            what = ", ".join(differing) or f"{version}, here {__version__}"
            raise TrainingError(
                f"{self.path}: started with another version or config of mgmt_monai ({what}), and may come to another "
                "result in this one. Resume it with those that it was started with, or start a new run."
            )
        if new := new_settings(before, now):
            logger.warning(f"{self.path}: started without {', '.join(new)}, which this version has, at the default now")

    def open(self, manifest_hash: str, segmentations_hash: str = "") -> None:
        """Make the folder of a new training, or hold a resumed one against its cohort; after `claim`, or `close`.

        Raises:
            TrainingError: The resumed training was started with another cohort, or another process has made the
                folder meanwhile.
        """
        if self.config is None:
            raise TrainingError(
                "this is part of a bundle config: run it with 'python -m monai.bundle run' or 'mgmt-monai train'."
            )
        if not self.resumes:
            self.take()
            state = {
                "status": "running",
                "mlflow_run_id": None,
                "manifest_hash": manifest_hash,
                "described": False,
            } | ({"segmentations": segmentations_hash} if segmentations_hash else {})
            self.begin(state, config=self.config)
            self.resumes = True
            return
        if not self.is_held:
            self.take()
        if (self.state["manifest_hash"], self.state.get("segmentations", "")) != (manifest_hash, segmentations_hash):
            self.close()
            raise TrainingError(
                f"{self.path}: started with another cohort, split or segmentations. Start a new run without --resume."
            )


_KEYS = {
    "status": str,
    "mlflow_run_id": str | None,
    "manifest_hash": str,
    "described": bool,
}

_KIND = ("training", "run.json", TrainingError, ("config.json",), _KEYS)


#: States that a training does not go on from.
_ENDED = ("finished", "diverged")


_EXPORTED = ("config.json", "metrics.json", "*/best.pt", "*.safetensors")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 by path of what a training is exported from.

    Raises:
        MachineError: The machine does not give a file.
    """
    files = sorted(path for pattern in _EXPORTED for path in folder.glob(pattern))
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        check_machine(error, path)
        raise


def check_whole(checkpoint: Path, remedy: str = "") -> None:
    """Hold a checkpoint against the checksums in it, which ``torch.load`` does not look at.

    Args:
        checkpoint: As ``torch.save`` writes it: a zip file.
        remedy: What to do; that of a stage's without.

    Raises:
        TrainingError: It is not there, cut off or changed.
        MachineError: The machine does not give it.
    """
    try:
        with ZipFile(checkpoint) as parts:
            damaged = parts.testzip()
        if damaged is None:
            return
        found = f"a damaged file ({damaged}: wrong checksum)"
    except FileNotFoundError:
        found = "none"
    except (BadZipFile, EOFError, RuntimeError, ValueError, zlib.error) as error:
        check_readable(checkpoint)  # zipfile calls a file that the system does not give no zip file
        found = f"a damaged file ({error})"
    again = f"Delete {checkpoint.parent}: with --resume true this stage is trained again, to the same result."
    raise TrainingError(f"{checkpoint}: expected a checkpoint, found {found}. {remedy or again}")


def run_in(folder: Path) -> LockedFolder:
    """A training's folder, to see how far it is."""
    return LockedFolder(folder, *_KIND)


def _check_writable(output_dir: Path) -> None:
    place = next(parent for parent in (output_dir.absolute(), *output_dir.absolute().parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise TrainingError(f"{output_dir}: cannot be written to. Name another folder with --output_dir DIR.")


def _new_run(folder: Path, run_name: str) -> tuple[Path, bool]:
    """The folder of a run that has nothing yet, and that it is not gone on with."""
    path = folder / (run_name or new_run_name(folder.name))
    if not run_in(path).is_free:
        raise TrainingError(f"{path}: there is a run of this name already. Take another run_name, or --resume true.")
    return path, False


def _run_to_resume(folder: Path, run_name: str) -> tuple[Path, bool]:
    """The folder of a run that was stopped, and whether it has anything to go on from."""
    path = folder / run_name if run_name else _newest_unfinished(folder)
    run = run_in(path)
    if not run.has_state:
        if path.is_dir() and run.is_free:
            return path, False
        raise TrainingError(f"{path}: no training of this name to resume. Look into {folder} for the names.")
    if run.state["status"] == "finished":
        raise TrainingError(f"{path}: this training is finished: there is nothing to resume.")
    if run.state["status"] == "diverged":
        raise TrainingError(
            f"{path}: this training diverged, and would again: there is nothing to resume. Start a new run with a "
            "lower learning rate."
        )
    return path, True


def _newest_unfinished(folder: Path) -> Path:
    runs = [run_in(path) for path in folder.glob("*") if path.is_dir()]
    unfinished = [run.path for run in runs if run.is_free or (run.has_state and run.state["status"] not in _ENDED)]
    if not unfinished:
        raise TrainingError(f"{folder}: no unfinished training to resume. Start one without --resume.")
    return max(unfinished, key=lambda path: path.stat().st_ctime)
