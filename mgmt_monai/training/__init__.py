"""The two training stages, their engines' handlers, and what a bundle config points at."""

from mgmt_monai.training.config import check_config, check_values_here, executed_config
from mgmt_monai.training.experiment import Experiment
from mgmt_monai.training.handlers import EarlyStopping, EpochRecord, Plateau, Publish, ResumePoint, SeedEpoch
from mgmt_monai.training.hardware import PrecisionInferer, check_device, default_device, loader_workers, training_dtype
from mgmt_monai.training.metrics import EpochFigure
from mgmt_monai.training.opening import Opening
from mgmt_monai.training.plain_model import PlainModel
from mgmt_monai.training.prepare_batch import PrepareBatch
from mgmt_monai.training.ranks import is_main_rank
from mgmt_monai.training.reference import Reference
from mgmt_monai.training.rounds import Rounds
from mgmt_monai.training.run_directory import RunDirectory
from mgmt_monai.training.scoring import Scoring
from mgmt_monai.training.stage import Stage, StageProgress

__all__ = [
    "EarlyStopping",
    "EpochFigure",
    "EpochRecord",
    "Experiment",
    "Opening",
    "PlainModel",
    "Plateau",
    "PrecisionInferer",
    "PrepareBatch",
    "Publish",
    "Reference",
    "ResumePoint",
    "Rounds",
    "RunDirectory",
    "Scoring",
    "SeedEpoch",
    "Stage",
    "StageProgress",
    "check_config",
    "check_device",
    "check_values_here",
    "default_device",
    "executed_config",
    "is_main_rank",
    "loader_workers",
    "training_dtype",
]
