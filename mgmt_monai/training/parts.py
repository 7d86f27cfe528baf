"""Parts of a training from Python, made as its config makes them, so that they are the same here and there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.transforms import Compose

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.training.start import own_error, training_config


def open_cohort(dataset_dir: str | Path, config: str | Path = "t1w", **settings: Any) -> ModalityCohort:
    """The patients that a training of this config takes; its manifest is built where there is none.

    Args:
        dataset_dir: The cohort's folder, in one of the known layouts.
        config: A packaged config (``t1w``, ``t1wce``, ``t2w``, ``flair``), or the path of one.
        settings: Any key of it: ``labels_csv``, ``exclusions``, ``test_fraction``, ``fold``, ...

    Returns:
        The cohort of that modality. Its ``items("train")``, ``items("validation")`` and ``items("test")`` are what
        `SliceDataset` takes.

    Raises:
        MgmtMonaiError: A setting that does not exist, or a cohort that cannot be trained on.

    Example:
        >>> import mgmt_monai as mgmt
        >>> cohort = mgmt.open_cohort("data/phantom", "t1w")  # doctest: +SKIP
        >>> len(cohort.items("test"))  # doctest: +SKIP
        2
    """
    cohort: ModalityCohort = _part("cohort", config, {"dataset_dir": dataset_dir, **settings})
    return cohort


def slice_transforms(config: str | Path = "t1w", **settings: Any) -> Compose:
    """From a cohort's item to its slices, as a training reads them: the middle slices, scaled, padded, resized.

    Args:
        config: A packaged config, or the path of one.
        settings: Any key of it: ``image_size``, ``slice_fraction``, ``plane``, ...

    Returns:
        The chain. It makes of a cohort's item the same with ``image`` a volume ``(K, image_size, image_size)`` of
        float16, background 0, most of the head in [0, 1]. The random transforms of a training are not among them.

    Raises:
        MgmtMonaiError: A setting that does not exist.

    Example:
        >>> import mgmt_monai as mgmt
        >>> [type(step).__name__ for step in mgmt.slice_transforms(image_size=128).transforms]
        ['CropMiddleSlicesd', 'LoadSeriesd', 'ScaleIntensityRobustd', 'PadToSquared', 'Resized', 'CastToTyped']
    """
    chain: Compose = _part("validate::preprocessing", config, settings)
    return chain


def _part(key: str, config: str | Path, settings: Mapping[str, Any]) -> Any:
    parser = ConfigParser()
    path, given = training_config(config, settings)
    parser.read_config(str(path))
    parser.update(given)
    with own_error():
        return parser.get_parsed_content(key)
