"""From a study and models to what is said of it."""

import math
import platform
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from torch import Tensor

from mgmt_monai import __version__
from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.records import SeriesRecord
from mgmt_monai.inference.abstain import MIDDLE, head_reasons, input_reasons, network_reasons
from mgmt_monai.inference.engines.engine import Engine
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.feature_fusion import Fusion, fusion_of
from mgmt_monai.inference.identity import Redaction
from mgmt_monai.inference.model import BundleModel
from mgmt_monai.inference.prediction import SeriesPrediction, StudyPrediction
from mgmt_monai.inference.study import FoundStudy, StudySeries, find_study
from mgmt_monai.own_process import processors
from mgmt_monai.transforms.load import itk_warnings_off

PACKAGES = ("monai", "torch", "numpy", "SimpleITK", "nibabel", "pydicom")
"""Whose versions a result tells, beside this package's and Python's."""

#: More series than this are not read at a time, for the memory they take.
_MOST_READERS = 4

_PLANE_LETTERS = {"axial": "SI", "coronal": "AP", "sagittal": "LR"}

#: The slices of a series, ``(K, 1, H, W)``, or None and why a model is not asked about it.
_Reading = tuple[Tensor | None, list[str]]


@dataclass(frozen=True)
class Answer:
    """What one model says, and what it was shown.

    ``series`` is None where the study has none of the model's modality; ``images``, ``(K, 1, H, W)`` in [0, 1], and
    their ``features``, ``(K, D)``, where no slice was read.
    """

    prediction: SeriesPrediction
    series: StudySeries | None
    images: Tensor | None
    features: Tensor | None = None


@dataclass(frozen=True)
class PredictedStudy:
    """A study's prediction, and one answer a model, in the order of ``prediction.series``."""

    prediction: StudyPrediction
    answers: tuple[Answer, ...]


def predict_study(
    study_dir: Path | FoundStudy,
    models: Sequence[BundleModel],
    named: Mapping[str, Path] | None = None,
    progress_bar: bool = True,
    fusion: Fusion | None = None,
) -> PredictedStudy:
    """Find a study's series as `find_study` does, unless they are found already, check them, and ask each model.

    A model that cannot or should not be asked abstains, which is no error; a fusion answers with those that remain.

    Raises:
        InferenceError: No study, or no series of a known modality in it.
    """
    fusion = fusion or fusion_of(models)
    study = study_dir if isinstance(study_dir, FoundStudy) else find_study(study_dir, named)
    wanted = study.of([model.modality for model in models])
    exams: Iterable[SeriesExam] = ()
    if wanted.series:
        exams = scan(
            wanted.series,
            study.path,
            pixels=True,
            identity=False,
            description="Reading the study",
            progress_bar=progress_bar,
        )
    present = [one.modality for one in study.series]
    redact = Redaction(study.series, study.path)
    studied: dict[str, StudySeries] = {}
    readings: dict[tuple[object, ...], Future[_Reading]] = {}
    with _reader_threads() as pool:
        for exam in exams:  # while workers examine the next series, threads read this one's slices
            one = studied[exam.modality] = study.studied(exam)
            for model in models:
                if model.modality == exam.modality and model.slices_key not in readings:
                    readings[model.slices_key] = pool.submit(_read, model, one, present)
        answers = tuple(
            _answer(
                redact,
                studied.get(model.modality),
                model,
                readings[model.slices_key].result() if model.slices_key in readings else _read(model, None, present),
            )
            for model in models
        )
    series = tuple(answer.prediction for answer in answers)
    prediction = StudyPrediction(
        study=study.name,
        series=series,
        software=software([model.engine for model in models]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        fusion={} if fusion is None else fusion.of(series, [answer.features for answer in answers]),
    )
    return PredictedStudy(prediction, answers)


def software(engines: Sequence[Engine] = ()) -> dict[str, str]:
    """Versions by package, of what a prediction is computed with; under ``engine`` the engines' names."""
    versions = {"mgmt_monai": __version__, "python": platform.python_version()}
    versions |= {package: _version(package) for package in (*PACKAGES, *(engine.package for engine in engines))}
    return versions | ({"engine": engine_names(engines)} if engines else {})


def engine_names(engines: Sequence[Engine]) -> str:
    """The names, each once, in alphabetical order, with commas between."""
    return ", ".join(sorted({engine.name for engine in engines}))


@contextmanager
def _reader_threads() -> Iterator[ThreadPoolExecutor]:
    # Readers switch warnings off and on again for the whole process: held off here, their threads cannot interfere.
    with itk_warnings_off(), warnings.catch_warnings():
        pool = ThreadPoolExecutor(min(_MOST_READERS, processors()))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)  # some are left only where something went wrong


def _read(model: BundleModel, studied: StudySeries | None, present: Sequence[str]) -> _Reading:
    reasons = input_reasons(model.modality, studied, present)
    if studied is None or studied.series is None or reasons:
        return None, reasons
    try:
        return model.slices(studied.series), []
    except InferenceError as error:
        return None, [str(error)]


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _answer(redact: Redaction, studied: StudySeries | None, model: BundleModel, reading: _Reading) -> Answer:
    limit = None if model.reference is None else model.reference.threshold
    images, reasons = reading
    if told := head_reasons(studied, model.bundle.heads):
        images, reasons = None, [*reasons, *told]
    distance: float | None = None
    probabilities: list[float] = []
    features = None
    if images is not None:
        features = model.features(images)
        # A series without a slice has no distance; one is asked for to tell features that are not finite.
        distance = model.reference.distance(features) if model.reference is not None and len(features) else None
        n_constant = int((images.amax(dim=(1, 2, 3)) == images.amin(dim=(1, 2, 3))).sum())
        fraction = float(model.settings.get("slice_fraction", MIDDLE))
        reasons = network_reasons(len(images), n_constant, distance, limit, slice_fraction=fraction)
        if not reasons:
            probabilities = model.probabilities(features)
            reasons = network_reasons(len(images), n_constant, distance, limit, probabilities)
    record = None if studied is None else studied.exam.record
    indices, n_slices = _slice_places(record, model, None if images is None else len(images))
    given = not reasons
    prediction = SeriesPrediction(
        modality=model.modality,
        bundle=model.bundle.name,
        bundle_version=model.bundle.version,
        model_sha256=model.bundle.model_sha256,
        probability=math.fsum(probabilities) / len(probabilities) if given else None,
        abstained=tuple(redact(reason) for reason in reasons),
        slice_indices=indices,
        slice_probabilities=tuple(probabilities) if given else (),
        distance=distance if distance is not None and math.isfinite(distance) else None,
        distance_limit=limit,
        findings=tuple(_plain(finding, redact) for finding in _findings(studied, model)),
        n_slices=n_slices,
        threshold=model.threshold,
        evaluation=model.evaluation,
        bundle_sha256=model.bundle.sha256,
    )
    return Answer(prediction, studied, images, features)


def _findings(studied: StudySeries | None, model: BundleModel) -> tuple[Finding, ...]:
    """Also that nobody can tell whether it is a head as those of the training data are."""
    if studied is None:
        return ()
    known, exam = model.bundle.heads["skull_stripped"], studied.exam
    if known is None or studied.series is None or exam.skull_stripped is not None:
        return studied.findings
    expected = "expected a whole brain without its skull" if known else "expected a whole head"
    text = f"{expected}, as the training data have, found a part of one, or geometry missing"
    return (*studied.findings, Finding("D062", exam.patient_id, exam.modality, exam.directory, text))


def _plain(finding: Finding, redact: Redaction) -> dict[str, str]:
    kind = finding.kind
    return {"id": finding.id, "severity": str(kind.severity), "title": kind.title, "text": redact(finding.text)}


def _slice_places(record: SeriesRecord | None, model: BundleModel, n_shown: int | None) -> tuple[tuple[int, ...], int]:
    """Which slices were shown, and of how many: the middle ones, where `middle_slices` places them."""
    if record is None:
        return (), 0
    n_slices = _n_along(record, str(model.settings.get("plane", "native")))
    if n_shown is None:
        return (), n_slices
    start = max(0, (n_slices - n_shown) // 2)
    return tuple(range(start, start + n_shown)), n_slices


def _n_along(record: SeriesRecord, plane: str) -> int:
    """How many slices the series has when it is cut in a plane."""
    letters = _PLANE_LETTERS.get(plane, "")
    sizes = (record.columns, record.rows, record.n_slices)  # along a row of pixels, down a column, from slice to slice
    along = [size for size, letter in zip(sizes, record.orientation, strict=False) if letter in letters]
    return along[0] if len(along) == 1 else record.n_slices
