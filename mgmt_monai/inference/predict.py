"""One study and the bundles that are asked about it, from Python."""

from collections.abc import Mapping
from pathlib import Path

from mgmt_monai.host_state import as_it_was
from mgmt_monai.inference.engines.engine import PyTorchEngine
from mgmt_monai.inference.model import open_models
from mgmt_monai.inference.predict_study import predict_study
from mgmt_monai.inference.prediction import StudyPrediction


def predict(
    study_dir: str | Path,
    *bundles: str | Path,
    named: Mapping[str, Path] | None = None,
    trust: bool = False,
    engine: str = PyTorchEngine.name,
) -> StudyPrediction:
    """Ask trained models about a study; nothing is written.

    Args:
        study_dir: Folder of the study's images, DICOM or NIfTI.
        bundles: One or more bundles, folders or zip files.
        named: Folder or file by modality, for series that are not found by themselves.
        trust: Run a bundle's code that is not this version's. Read it first.
        engine: ``pytorch`` or ``onnxruntime``.

    Returns:
        ``probability``, the mean of those that answer, and in ``series`` one answer a model with what it rests on. A
        model that abstains says why; its probability is None.

    Raises:
        MgmtMonaiError: No study, no bundle, or one whose code is not to be trusted.

    Example:
        >>> import mgmt_monai as mgmt
        >>> said = mgmt.predict("data/phantom/train/90000", bundle)  # doctest: +SKIP
        >>> 0 < said.probability < 1  # doctest: +SKIP
        True
    """
    with as_it_was(), open_models([Path(bundle) for bundle in bundles], trust, engine) as models:
        return predict_study(Path(study_dir), models, named, progress_bar=False).prediction
