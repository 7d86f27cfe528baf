"""MGMT promoter methylation of glioblastoma from multi-parametric brain MRI, as a MONAI bundle.

What a notebook needs is here, and is imported when it is first named:

- `write_phantom`: a made cohort to try it on; `config_path`: the packaged configs.
- `open_cohort`: the patients of one modality, split; `read_manifest`: the list of patients that it rests on.
- `slice_transforms`: from a patient to the slices of a training; `transforms`: each step.
- `SliceDataset`: the slices, one item a slice; `MGMTClassifier`: the network.
- `train`: both stages, and the test; `export_run`: the trained model as a bundle; `predict`: a study.
- `evaluate`: what a table of predictions is worth; `judge`: whether there is a signal, beside negative controls.
- `MgmtMonaiError`: what you can mend.

Each one's example goes on from those before it, in an empty folder. Of `judge`, `transforms` and `MgmtMonaiError`:

Example:
    >>> import torch
    >>> import mgmt_monai as mgmt
    >>> mgmt.judge([0, 1] * 20, [0.2, 0.8] * 20, {"header_tags": [0.3, 0.7] * 20}).state
    'contaminated'
    >>> mgmt.transforms.PadToSquare()(torch.zeros(1, 2, 4)).shape
    torch.Size([1, 4, 4])
    >>> try:
    ...     mgmt.slice_transforms(image_sise=128)
    ... except mgmt.MgmtMonaiError as error:
    ...     print(str(error).partition("?")[0])
    config key 'image_sise': unknown; did you mean 'image_size'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgmt_monai import transforms
    from mgmt_monai.cohort.manifest import read_manifest
    from mgmt_monai.errors import MgmtMonaiError
    from mgmt_monai.evaluation.models import evaluate
    from mgmt_monai.evaluation.verdict import judge
    from mgmt_monai.exchange.export import export_run
    from mgmt_monai.inference.predict import predict
    from mgmt_monai.networks.classifier import MGMTClassifier
    from mgmt_monai.packaged_configs import config_path
    from mgmt_monai.phantom.made_cohort import write_phantom
    from mgmt_monai.slices.dataset import SliceDataset
    from mgmt_monai.training.parts import open_cohort, slice_transforms
    from mgmt_monai.training.start import train

__version__ = "0.1.0"

__all__ = [
    "MGMTClassifier", "MgmtMonaiError", "SliceDataset", "__version__", "config_path", "evaluate", "export_run", "judge",
    "open_cohort", "predict", "read_manifest", "slice_transforms", "train", "transforms", "write_phantom",
]  # fmt: skip

# Without the package's name: code that is carried with a bundle is found by whole names, and would follow these.
_HOMES = {
    "MGMTClassifier": "networks.classifier",
    "MgmtMonaiError": "errors",
    "SliceDataset": "slices.dataset",
    "config_path": "packaged_configs",
    "evaluate": "evaluation.models",
    "export_run": "exchange.export",
    "judge": "evaluation.verdict",
    "open_cohort": "training.parts",
    "predict": "inference.predict",
    "read_manifest": "cohort.manifest",
    "slice_transforms": "training.parts",
    "train": "training.start",
    "write_phantom": "phantom.made_cohort",
}


def __getattr__(name: str) -> Any:
    """One of `__all__`, imported now.

    Raises:
        AttributeError: No such name.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import os

    from mgmt_monai.own_process import name_user

    environment = dict(os.environ)
    name_user()  # MONAI asks for it; what a caller's process has stays as it was
    try:
        if name == "transforms":
            return import_module(f"{__name__}.transforms")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    finally:
        for lent in {*os.environ} - {*environment}:
            del os.environ[lent]


def __dir__() -> list[str]:
    """The names that are handed out, also before they are imported."""
    return sorted(__all__)
