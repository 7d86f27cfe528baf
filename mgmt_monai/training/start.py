"""A training from Python: the main command's run, in this process."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from mgmt_monai.errors import one_line
from mgmt_monai.host_state import as_it_was
from mgmt_monai.packaged_configs import config_path
from mgmt_monai.training.config import read_config
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.overrides import check_overrides
from mgmt_monai.training.settings import TEXTS, check_settings
from mgmt_monai.training.typed import check_unharmed, for_monai, plain


def train(config: str | Path = "t1w", **settings: Any) -> Path:
    """Train one modality's classifier, both stages, and score the test patients: what ``mgmt-monai train`` runs.

    Say ``logging.basicConfig(level="INFO")`` before to see how it goes.

    Args:
        config: A packaged config (``t1w``, ``t1wce``, ``t2w``, ``flair``), or the path of one.
        settings: Any key of it (docs/reference/config.md): ``dataset_dir``, ``seed``, ... A path may be a `Path`.

    Returns:
        The run's folder, with ``metrics.json``, ``predictions.csv`` and ``figures``.

    Raises:
        MgmtMonaiError: A config or a setting that does not exist, a cohort that cannot be trained on, a folder that
            cannot be written: whatever the command would tell in one line.

    Example:
        >>> import mgmt_monai as mgmt
        >>> short = {"image_size": 48, "transfer_epochs": 1, "fine_tune_epochs": 1}
        >>> run = mgmt.train("t1w", dataset_dir="data/phantom", seed=1, **short)  # doctest: +SKIP
    """
    path, settings = training_config(config, settings)
    with as_it_was(), own_error():
        with warnings.catch_warnings():
            # Whoever names a config here trusts it; MONAI warns on every run that it is code.
            warnings.filterwarnings("ignore", message="parsing config_file", category=UserWarning)
            workflow = ConfigWorkflow(
                str(path), logging_file=False, run_id="training", workflow_type="train", **settings
            )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
        return Path(workflow.parser.get_parsed_content("run_directory").path)


def training_config(config: str | Path, settings: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """The config file of a training and its overrides as MONAI hands them on unharmed, checked before anything is read.

    Args:
        config: A packaged config's name, or a path.
        settings: Overrides by key.

    Raises:
        ConfigError: No such config.
        TrainingError: It is no training's, does not have a key of ``settings``, or a value is of another type or out
            of range.
    """
    path = config_path(config)
    content = read_config(path)
    if "training" not in content:
        raise TrainingError(f"{config}: expected the config of a training, found another. Name one, such as t1w.")
    check_overrides(content, settings)
    texts = {key: content[key] for key in TEXTS if key in content and plain(content[key]) == content[key]}
    made = for_monai({**texts, **settings})
    check_unharmed(made)
    check_settings({**content, **{key: plain(value) for key, value in made.items()}})
    return path, {key: value for key, value in made.items() if key in settings or value != content[key]}


@contextmanager
def own_error() -> Iterator[None]:
    """Raise what a component raised as a `TrainingError` with its line, not wrapped in MONAI's RuntimeError.

    Yields:
        Nothing; errors that nobody foresaw pass.
    """
    try:
        yield
    except RuntimeError as error:
        message = one_line(error)
        if message is None:
            raise
        raise TrainingError(message) from error
