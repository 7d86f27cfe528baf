"""RSNA-MICCAI 2021 as Kaggle gives it: ``train/<patient>/<modality>/*.dcm``."""

from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.layouts.found import HOW_TO_GET_DATA, Found, FoundSeries, check_data_dir
from mgmt_monai.cohort.layouts.passed_over import is_passed_over
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.machine import check_machine

NAME = "rsna-miccai-2021"
EXPECTS = f"train/<patient>/<modality>/*.dcm, modality one of {', '.join(MODALITIES)}"


def recognises(data_dir: Path) -> bool:
    """Whether there is a folder ``train/<patient>/<modality>``."""
    try:
        return any(_modalities(patient_dir) for patient_dir in patient_folders(data_dir))
    except CohortError:
        return False
    except OSError as error:
        check_machine(error, data_dir)
        return False


def labels_file(data_dir: Path) -> Path:
    """Kaggle's ``train_labels.csv``."""
    return data_dir / "train_labels.csv"


def patient_folders(data_dir: Path) -> list[Path]:
    """The patients' folders, ``train/<patient>``, sorted; hidden ones are passed over.

    Args:
        data_dir: The cohort's folder, which holds ``train``.

    Raises:
        CohortError: No such folder, or no ``train`` in it.
    """
    data_dir = Path(data_dir)
    check_data_dir(data_dir)
    train_dir = data_dir / "train"
    if not train_dir.is_dir():
        raise CohortError(f"{data_dir}: expected a folder 'train' in it, found none. {HOW_TO_GET_DATA}")
    return sorted(path for path in train_dir.iterdir() if path.is_dir() and not is_passed_over(path.name))


def find(data_dir: Path) -> Found:
    """Series folders ``train/<patient>/<modality>``, sorted.

    Args:
        data_dir: The cohort's folder, which holds ``train``.

    Returns:
        The series, and every patient's folder seen.

    Raises:
        CohortError: No such folder, no ``train`` in it, or no series in that.
    """
    patient_dirs = patient_folders(data_dir)
    series = [
        FoundSeries(patient_dir.name, modality, patient_dir / modality, None, f"folder {modality}")
        for patient_dir in patient_dirs
        for modality in _modalities(patient_dir)
    ]
    if not series:
        raise CohortError(
            f"{Path(data_dir) / 'train'}: expected <patient>/<modality> folders with modality one of "
            f"{', '.join(MODALITIES)}, found none. {HOW_TO_GET_DATA}"
        )
    return Found(series, {patient_dir.name for patient_dir in patient_dirs})


def _modalities(patient_dir: Path) -> list[str]:
    # a broken link is a fault of the series, not its absence; nor is a folder absent that the machine does not give
    return [modality for modality in MODALITIES if _is_there(patient_dir / modality)]


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except OSError as error:
        check_machine(error, path)
        return False
    return True
