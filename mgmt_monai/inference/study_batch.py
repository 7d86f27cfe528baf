"""Many studies, one after the other: what is done is kept, and none stops the others."""

import csv
import errno
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mgmt_monai.atomic import write_text
from mgmt_monai.csv_file import csv_text, plain
from mgmt_monai.errors import one_line, printable, why
from mgmt_monai.inference.engines.engine import PyTorchEngine
from mgmt_monai.inference.engines.engine_choice import AUTO, ENGINES, for_studies
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.feature_fusion import Fusion, fusion_of
from mgmt_monai.inference.fused_study import THRESHOLD
from mgmt_monai.inference.model import BundleModel
from mgmt_monai.inference.predict_study import PredictedStudy, engine_names, predict_study
from mgmt_monai.inference.prediction import StudyPrediction
from mgmt_monai.inference.result_files import read_result, write_result
from mgmt_monai.inference.studies import RESERVED, AskedStudy, studies_in
from mgmt_monai.locked_folder import LockedFolder
from mgmt_monai.machine import MachineError, machine_fault

logger = logging.getLogger(__name__)

TABLE = RESERVED
"""In the batch's folder, beside one folder a study."""

COLUMNS = (
    "patient_id", "modality", "stage", "probability", "n_slices", "threshold", "distance", "distance_limit",
    "abstained", "error", "bundle", "bundle_version", "model_sha256",
)  # fmt: skip
"""Of the table. The first five mean what they mean in a predictions table (docs/reference/predictions.md)."""


WAITS_S: tuple[float, ...] = (1.0, 2.0, 4.0)
"""Before a study that the storage did not give is tried again; once for all until one is read."""

#: What storage says that may give the file a moment later.
_PASSING = {
    errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOTCONN, errno.ECONNRESET,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
}  # fmt: skip


@dataclass(frozen=True)
class BatchOutcome:
    """How a batch went: predictions by study, and why the other studies could not be asked about, one line each.

    ``n_kept`` of the predictions were there before; ``table`` has them all.
    """

    predictions: dict[str, StudyPrediction]
    faults: dict[str, str]
    n_kept: int
    table: Path

    @property
    def n_abstained(self) -> int:
        """Studies about which a model abstained, though perhaps not all of them."""
        return sum(any(one.abstained for one in study.series) for study in self.predictions.values())


def batch_engine(name: str, studies: Sequence[AskedStudy], out_dir: Path, overwrite: bool = False) -> str:
    """The engine to ask for in a batch, of which ``name`` is asked: ``auto`` or a key of `ENGINES`.

    Returns:
        For ``auto``, that of the results which are in ``out_dir`` and stay, so that a batch is of one engine, or what
        `for_studies` says of a new batch; else ``name``.
    """
    if name == AUTO and not overwrite:
        kept = (read_result(Path(out_dir) / study.folder) for study in studies)
        engine = next((_engine_of(done) for done in kept if done is not None), None)
        if engine in ENGINES:
            return engine
    return for_studies(name, len(studies))


def predict_batch(
    root: Path | Sequence[AskedStudy],
    models: Sequence[BundleModel],
    out_dir: Path,
    overwrite: bool = False,
    fusion: Fusion | None = None,
) -> BatchOutcome:
    """Predict every study and write each result as soon as it is known.

    A study whose result is there, and was made of the same images with the same bundles by the same engine, is passed
    over, so that a batch that was stopped goes on where it was. Whatever goes wrong with one study, also what nobody
    foresaw, is its own fault alone; what the storage does not give is tried again after `WAITS_S`.

    Args:
        root: As `mgmt_monai.inference.studies.studies_in` takes it, or what that says.
        models: One or more.
        out_dir: Gets ``<study>/prediction.json``, ``<study>/prediction.html`` and `TABLE`.
        overwrite: Predict also what is there, and replace results of other bundles.
        fusion: Of the models; it has a row of its own in the table.

    Raises:
        InferenceError: No studies, results of other images, bundles, engines or studies that may not be replaced, or
            ``out_dir`` cannot be written to, or another process writes it.
    """
    out_dir, fusion = Path(out_dir), fusion or fusion_of(models)
    studies = studies_in(root, out_dir) if isinstance(root, Path) else root
    with closing(LockedFolder(out_dir, "batch", TABLE, InferenceError)) as held:
        held.take("--out")
        return _predict_all(studies, models, out_dir, overwrite, fusion)


def _predict_all(
    studies: Sequence[AskedStudy],
    models: Sequence[BundleModel],
    out_dir: Path,
    overwrite: bool,
    fusion: Fusion | None,
) -> BatchOutcome:
    if not overwrite:
        _check_table(out_dir / TABLE, {study.name for study in studies})
    kept = {study.folder: read_result(out_dir / study.folder) for study in studies}
    others = [folder for folder, done in kept.items() if done is not None and not _is_of(done, models, fusion)]
    if others and not overwrite:
        raise InferenceError(
            f"{out_dir / others[0]}: there is a result of other bundles, or of another fusion. Name another --out, or "
            "say --overwrite."
        )
    if not overwrite:
        _check_images(out_dir, studies, kept)
    engines = engine_names([model.engine for model in models])
    for folder, done in kept.items():
        if done is not None and (engine := _engine_of(done)) != engines and not overwrite:
            raise InferenceError(
                f"{out_dir / folder}: there is a result by the engine {engine}, not by {engines}. Name it with "
                "--engine, name another --out, or say --overwrite."
            )
    outcome = BatchOutcome({}, {}, 0, out_dir / TABLE)
    n_kept, waits = 0, WAITS_S
    try:
        for asked in tqdm(studies, desc="Predicting", unit="study"):
            study, own = asked.name, out_dir / asked.folder
            done = kept[asked.folder]
            if done is not None and not overwrite:
                outcome.predictions[study] = done
                n_kept += 1
                continue
            try:
                patience, waits = waits, ()  # storage that stays away would cost as much with every study
                predicted = _predicted(asked, models, fusion, patience)
                waits = WAITS_S
                write_result(predicted, own)
                outcome.predictions[study] = predicted.prediction
            except Exception as error:  # the other studies are not to blame
                logger.debug("a study could not be predicted", exc_info=True)
                # What nobody foresaw may quote anything of the files, so its words are not written down.
                fault = machine_fault(error)  # its path is for the console alone
                waits = waits if fault and _is_passing(fault) else WAITS_S
                reason = (
                    fault.reason
                    if fault
                    else one_line(error) or f"unforeseen ({type(error).__name__}): predict this study alone to see it"
                )
                for path in (f"{asked.path}: ", f"{asked.path}/"):  # the table may be passed on
                    reason = reason.replace(path, "")
                outcome.faults[study] = printable(" ".join(reason.split()))
    finally:  # also when it is interrupted
        _write_table(outcome, models, fusion)
    return BatchOutcome(outcome.predictions, outcome.faults, n_kept, outcome.table)


def _predicted(
    asked: AskedStudy, models: Sequence[BundleModel], fusion: Fusion | None, waits: Sequence[float]
) -> PredictedStudy:
    for wait_s in waits:
        try:
            return _predicted(asked, models, fusion, ())
        except Exception as error:
            fault = machine_fault(error)
            if fault is None or not _is_passing(fault):
                raise
            logger.warning(f"{asked.name}: {fault.reason}. Trying again in {wait_s:g} s")
            time.sleep(wait_s)
    series, images = asked.series(), asked.images()
    predicted = predict_study(series, models, progress_bar=False, fusion=fusion)
    return replace(predicted, prediction=replace(predicted.prediction, images=images))


def _is_passing(fault: MachineError) -> bool:
    return fault.errno in _PASSING


def _check_table(table: Path, names: set[str]) -> None:
    """Refuse to replace a table that says more, or that a batch did not write."""
    if not table.is_file():
        return
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            there = {plain(row["patient_id"]) for row in rows} if tuple(rows.fieldnames or ()) == COLUMNS else None
    except (UnicodeDecodeError, csv.Error):
        there = None
    if there is None:
        raise InferenceError(
            f"{table}: expected the table of a batch, found another file, which would be lost. Name another --out."
        )
    if lost := there - names:
        raise InferenceError(
            f"{table}: {len(lost)} of its studies are not among those asked for, and would be lost. Name "
            "another --out, or say --overwrite."
        )


def _check_images(out_dir: Path, studies: Sequence[AskedStudy], kept: dict[str, StudyPrediction | None]) -> None:
    """Refuse results of other images under the same names; what the machine does not give now is asked about again."""
    others = []
    for study in studies:
        done = kept[study.folder]
        try:
            if done is not None and done.images != study.images():
                others.append(study.folder)
        except MachineError:
            kept[study.folder] = None
    if others:
        raise InferenceError(
            f"{out_dir / others[0]}: there is a result of other images, or of an earlier version (so in {len(others)} "
            "of its folders). Name another --out, or say --overwrite."
        )


def _is_of(done: StudyPrediction, models: Sequence[BundleModel], fusion: Fusion | None) -> bool:
    if done.fusion.get("sha256") != (None if fusion is None else fusion.sha256):
        return False
    made_with = [(one.modality, one.bundle, one.bundle_sha256) for one in done.series]
    return made_with == [(model.modality, model.bundle.name, model.bundle.sha256) for model in models]


def _engine_of(done: StudyPrediction) -> str:
    return done.software.get("engine", PyTorchEngine.name)  # which was the only one before results told it


def _write_table(outcome: BatchOutcome, models: Sequence[BundleModel], fusion: Fusion | None) -> None:
    try:
        rows = _rows(outcome, models, fusion)
        write_text(outcome.table, csv_text(COLUMNS, ([row.get(name, "") for name in COLUMNS] for row in rows)))
    except OSError as error:
        reason = why(error)
        raise InferenceError(f"{outcome.table}: cannot be written ({reason}). Name another --out.") from error


def _rows(outcome: BatchOutcome, models: Sequence[BundleModel], fusion: Fusion | None) -> Iterator[Mapping[str, Any]]:
    fused = {} if fusion is None else {"modality": fusion.name, "stage": fusion.stage, "bundle": fusion.name,
                                       "model_sha256": fusion.sha256}  # fmt: skip
    for study in sorted([*outcome.predictions, *outcome.faults]):
        if study in outcome.faults:
            for model in models:
                bundle = model.bundle
                yield {
                    "patient_id": study,
                    "modality": model.modality,
                    "stage": model.evaluation.get("stage", ""),
                    "error": outcome.faults[study],
                    "bundle": bundle.name,
                    "bundle_version": bundle.version,
                    "model_sha256": bundle.model_sha256,
                }
            if fused:
                yield {"patient_id": study, **fused, "error": outcome.faults[study]}
            continue
        for one in outcome.predictions[study].series:
            yield {
                "patient_id": study,
                "modality": one.modality,
                "stage": one.evaluation.get("stage", ""),
                "probability": one.probability,
                "n_slices": len(one.slice_probabilities) or "",
                "threshold": one.threshold,
                "distance": one.distance,
                "distance_limit": one.distance_limit,
                "abstained": "; ".join(one.abstained),
                "bundle": one.bundle,
                "bundle_version": one.bundle_version,
                "model_sha256": one.model_sha256,
            }
        if fused:
            series, found = outcome.predictions[study].series, outcome.predictions[study].fusion
            yield {
                "patient_id": study,
                **fused,
                "probability": found["probability"],
                "n_slices": sum(len(one.slice_probabilities) for one in series) or "",
                "threshold": THRESHOLD,
                "abstained": "" if found["used"] else "all models abstain",
            }
