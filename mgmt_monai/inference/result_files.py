"""A study's result on disk: ``prediction.json`` and ``prediction.html`` in a folder of its own."""

from dataclasses import replace
from pathlib import Path

from mgmt_monai.atomic import write_text
from mgmt_monai.errors import why
from mgmt_monai.html_page import write_page
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.predict_study import PredictedStudy
from mgmt_monai.inference.prediction import StudyPrediction, prediction_from_json
from mgmt_monai.inference.prediction_page import prediction_page

RESULT, PAGE = "prediction.json", "prediction.html"
"""What the two are called."""


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that cannot take a result, before the work; one that is not there yet can.

    Raises:
        InferenceError: There is a result already and no ``overwrite``, or something that is no folder in its place.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise InferenceError(
            f"{folder}: cannot be a folder for the result ({place} is a file). Name another with --out."
        )
    there = [name for name in (RESULT, PAGE) if (folder / name).exists()]
    if there and not overwrite:
        raise InferenceError(
            f"{folder / there[0]}: there is another result already. Name another folder with --out, or say --overwrite."
        )


def write_result(predicted: PredictedStudy, folder: Path) -> None:
    """Write the page and the result, each whole or not at all, the result last; older ones are replaced.

    Raises:
        InferenceError: It cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_page(folder / PAGE, prediction_page(predicted))
        write_text(folder / RESULT, predicted.prediction.to_json())
    except OSError as error:
        reason = why(error)
        raise InferenceError(
            f"{folder}: cannot write the result ({reason}). Name another folder with --out."
        ) from error


def is_result(there: StudyPrediction, made: StudyPrediction) -> bool:
    """Whether a result says what another one says, whenever it was made, in a batch or alone."""
    return replace(there, created=made.created, images=made.images) == prediction_from_json(made.to_json())


def read_result(folder: Path) -> StudyPrediction | None:
    """The result that `write_result` left in a folder; None where there is none, or one that cannot be read."""
    try:
        if not (folder / PAGE).is_file():
            return None
        return prediction_from_json((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InferenceError):
        return None
