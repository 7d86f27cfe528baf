"""``mgmt-monai predict``: what trained models say of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mgmt_monai.cli.json_result import is_asked, result, with_json
from mgmt_monai.cli.paths import check_bundles, check_study

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from mgmt_monai.inference.fused_study import StudyFusion
    from mgmt_monai.inference.model import BundleModel
    from mgmt_monai.inference.predict_study import PredictedStudy
    from mgmt_monai.inference.prediction import SeriesPrediction
    from mgmt_monai.inference.studies import AskedStudy
    from mgmt_monai.inference.study_batch import BatchOutcome

FILE = click.Path(path_type=Path)

SHOWN_FAULTS = 10
"""Of a batch, on the screen; all are in its table."""


@click.command("predict")
@click.argument("study_dir", type=FILE, required=False)
@click.option("--bundle", "bundles", multiple=True, required=True, type=FILE, help="A bundle's folder or zip file.")
@click.option(
    "--out", type=FILE, default="prediction", show_default=True, help="Folder that gets a folder for each study."
)
@click.option(
    "--series", "named", multiple=True, metavar="MODALITY=PATH", help="A series by name; only those named are read."
)
@click.option("--fusion", "fused", type=FILE, help="Of 'mgmt-monai fuse', on the trainings of these bundles.")
@click.option("--batch", is_flag=True, help="STUDY_DIR is a cohort, or holds one folder a study: predict them all.")
@click.option("--layout", help="The cohort's layout, with --batch; found where it is not named.")
@click.option("--prepare", is_flag=True, help="Prepare the raw study first, and predict that.")
@click.option("--template", type=FILE, help="The template that the training data were prepared with.")
@click.option("--dicom-sr", is_flag=True, help="Also as a DICOM structured report.")
@click.option("--dicom-sc", is_flag=True, help="Also pages that show where the models look, as DICOM images.")
@click.option("--dicomweb", metavar="URL", help="Take the study from this archive, and put the report back.")
@click.option("--study", "study_uid", metavar="UID", help="Its StudyInstanceUID there.")
@click.option(
    "--engine",
    type=click.Choice(("auto", "pytorch", "onnxruntime")),
    default="auto",
    show_default=True,
    help="What computes the networks; auto: the fastest for so many studies.",
)
@click.option("--trust-bundle", is_flag=True, help="Run a bundle's own code. Read it first.")
@click.option("--overwrite", is_flag=True, help="Replace a result that is there.")
@with_json
def command(
    study_dir: Path | None,
    bundles: tuple[Path, ...],
    out: Path,
    named: tuple[str, ...],
    fused: Path | None,
    batch: bool,
    layout: str | None,
    prepare: bool,
    template: Path | None,
    dicom_sr: bool,
    dicom_sc: bool,
    dicomweb: str | None,
    study_uid: str | None,
    engine: str,
    trust_bundle: bool,
    overwrite: bool,
) -> int:
    """Predict MGMT promoter methylation of STUDY_DIR with each bundle; write OUT/STUDY/prediction.json and .html.

    A model abstains where the series fails its checks or is unlike its training data: that is an answer, exit code 0.
    With --batch, exit code 1 says that a study could not be predicted.
    """
    if batch and (named or dicom_sr or dicom_sc or dicomweb or is_asked()):
        raise click.UsageError(
            "--series, --dicom-sr, --dicom-sc, --dicomweb and --json are of one study: leave out --batch."
        )
    if layout and not batch:
        raise click.UsageError("--layout is of a cohort: give --batch too.")
    if prepare and (batch or named or dicom_sr or dicom_sc):
        raise click.UsageError(
            "--prepare is of one study, without --series, and its result is no DICOM: of a cohort, run 'mgmt-monai "
            "prepare' first."
        )
    if template and not prepare:
        raise click.UsageError("--template is of a preparation: give --prepare too.")
    if bool(dicomweb) != bool(study_uid):
        raise click.UsageError("--dicomweb and --study belong together.")
    if (study_dir is None) != bool(dicomweb):
        raise click.UsageError("name either STUDY_DIR or --dicomweb and --study.")
    if fused is not None and (prepare or dicomweb):
        raise click.UsageError("--fusion is of studies as they are, in files: leave out --prepare and --dicomweb.")
    series = named_series(named)
    if study_dir is not None:
        check_study(study_dir, bool(series))
    check_bundles(bundles)
    from mgmt_monai.inference.engines.engine_choice import for_studies
    from mgmt_monai.inference.fused_study import read_fusion
    from mgmt_monai.inference.model import open_models
    from mgmt_monai.inference.studies import studies_in
    from mgmt_monai.inference.study import study_path
    from mgmt_monai.inference.study_batch import batch_engine, predict_batch

    studies: Sequence[AskedStudy] = ()
    if batch and study_dir is not None:
        studies = studies_in(study_dir, out, layout)
        engine = batch_engine(engine, studies, out, overwrite)
    else:
        engine = for_studies(engine, 1)
    with open_models(bundles, trust_bundle, engine) as models:
        opened = [model.bundle for model in models], [model.modality for model in models]
        fusion = None if fused is None else read_fusion(fused, *opened)
        if study_dir is None:
            _predict_archived(
                str(dicomweb), str(study_uid), models, out, series, dicom_sc, prepare, template, overwrite
            )
        elif batch:
            return _tell_batch(predict_batch(studies, models, out, overwrite, fusion))
        else:
            folder = out / study_path(study_dir).name
            if prepare:
                study_dir = _prepared(study_dir, folder, models, template, overwrite)
            predicted = _predict(study_dir, models, folder, series, overwrite, fusion)
            if dicom_sr or dicom_sc:
                _write_dicom(predicted, models, folder, dicom_sr, dicom_sc, overwrite)
    return 0


def _prepared(study_dir: Path, folder: Path, models: list[BundleModel], template: Path | None, overwrite: bool) -> Path:
    """The study as the models' training data were prepared, below its result's folder; what was refused is told."""
    from mgmt_monai.inference.errors import InferenceError
    from mgmt_monai.inference.prepare_studies import prepare_studies
    from mgmt_monai.inference.result_files import check_free, read_result
    from mgmt_monai.inference.studies import AskedStudy
    from mgmt_monai.inference.study import study_path
    from mgmt_monai.preparation.patient_folder import settings_of
    from mgmt_monai.preparation.prepare import Settings
    from mgmt_monai.preparation.template import read_template

    check_free(folder, overwrite or read_result(folder) is not None)
    path = study_path(study_dir)
    known = {model.bundle.name: how for model in models if (how := model.bundle.heads["prepared"]) is not None}
    settings = {name: settings_of(how, name) for name, how in known.items()}
    if len({*settings.values()}) > 1:
        raise InferenceError(
            f"expected bundles whose training data were prepared in one way, found {settings}. Predict with one at a "
            "time."
        )
    asked = next(iter(settings.values()), Settings())
    given = read_template(template).sha256 if template else ""
    if given != asked.template:
        expected, found = (f"one with SHA-256 {one[:12]}" if one else "none" for one in (asked.template, given))
        raise InferenceError(
            f"--template: expected that of the training data, {expected}, found {found}. Name the same file."
        )
    study = AskedStudy(path.name, path)
    outcome = prepare_studies([study], folder / "prepared", asked, overwrite=overwrite, template=template)
    for reason in outcome.refused.values():
        raise InferenceError(reason)
    for modality, reason in outcome.prepared[path.name].refused.items():
        click.echo(f"{modality} refused: {reason}", err=True)
    click.echo(f"prepared: {outcome.page}")
    return folder / "prepared" / path.name


def _predict_archived(
    url: str,
    study_uid: str,
    models: list[BundleModel],
    out: Path,
    named: Mapping[str, Path],
    dicom_sc: bool,
    prepare: bool,
    template: Path | None,
    overwrite: bool,
) -> None:
    """Fetch the study, predict it, and put the report, and the pages where they are wanted, back.

    Of a prepared one nothing is put back: a report names the images that were predicted, and the archive has others.
    """
    from mgmt_monai.inference.result_files import check_free
    from mgmt_monai.pacs.dicomweb import fetch_study, open_archive, store

    archive = open_archive(url)
    check_free(out, overwrite)
    study_dir = fetch_study(archive, study_uid, out / "images")
    if prepare:
        _predict(_prepared(study_dir, out, models, template, overwrite), models, out, named, overwrite)
        return
    predicted = _predict(study_dir, models, out, named, overwrite)
    objects = _write_dicom(predicted, models, out, True, dicom_sc, overwrite)
    store(archive, objects)
    click.echo(f"{archive.base_url}: {len(objects)} object{'s' * (len(objects) != 1)} stored")


def _write_dicom(
    predicted: PredictedStudy, models: list[BundleModel], folder: Path, report: bool, pages: bool, overwrite: bool
) -> list[Dataset]:
    from mgmt_monai.inference.explain.explanation import explain_series, sheets
    from mgmt_monai.pacs.delivery import write_results

    shown: list[NDArray[np.uint8]] = []
    if pages:
        for answer, model in zip(predicted.answers, models, strict=True):
            given = answer.prediction.probability is not None  # a picture of an answer that is not given misleads
            if given and answer.series is not None and answer.series.series is not None:
                shown += sheets(explain_series(model, answer.series.series, ["gradcam"])).values()
    return write_results(predicted, models, folder, report=report, pages=shown, overwrite=overwrite)


def _predict(
    study_dir: Path,
    models: list[BundleModel],
    folder: Path,
    named: Mapping[str, Path],
    overwrite: bool,
    fusion: StudyFusion | None = None,
) -> PredictedStudy:
    from mgmt_monai.inference import NOTICE
    from mgmt_monai.inference.predict_study import predict_study
    from mgmt_monai.inference.result_files import PAGE, RESULT, check_free, is_result, read_result, write_result

    there = read_result(folder)
    check_free(folder, overwrite or there is not None)
    predicted = predict_study(study_dir, models, named, fusion=fusion)
    if overwrite or there is None or not is_result(there, predicted.prediction):
        check_free(folder, overwrite)
        write_result(predicted, folder)
    for one in predicted.prediction.series:
        click.echo(_line(one))
    if predicted.prediction.fusion:
        click.echo(_fused(predicted.prediction.fusion))
    elif len(models) > 1:
        mean = predicted.prediction.probability
        click.echo("no mean: all models abstain" if mean is None else f"mean of those that answer: {mean:.3f}")
    click.echo(NOTICE)
    click.echo(f"{folder / PAGE} and {folder / RESULT}")
    result(folder / RESULT)
    return predicted


def _line(one: SeriesPrediction) -> str:
    """One model's answer and what is known of the model."""
    who = f"{one.modality} ({one.bundle})"
    if one.probability is None:
        return f"{who} abstains: {'; '.join(one.abstained)}"
    called = "methylated" if one.probability >= one.threshold else "not methylated"
    return f"{who}: {one.probability:.3f}, {called} at {one.threshold:.2f}; {_known(one.evaluation)}"


def _fused(fusion: Mapping[str, Any]) -> str:
    """The fusion's answer, and what each modality adds to it."""
    kind = fusion.get("kind", "late fusion")
    if fusion["probability"] is None:
        return f"{kind}: no answer, for all models abstain"
    missing = f"; without {', '.join(fusion['missing'])}" if fusion["missing"] else ""
    addends = ", ".join(f"{name} {value:+.2f}" for name, value in fusion["addends"].items())
    known = f"; {_known(fusion['evaluation'])}" if "evaluation" in fusion else ""
    return f"{kind}: {fusion['probability']:.3f}{missing} (log-odds: {addends}){known}"


def _known(evaluation: Mapping[str, Any]) -> str:
    from mgmt_monai.comparison.report.wording import figure

    if "auc" not in evaluation:
        return "the bundle does not say how good its model is"
    patients = f" on {evaluation['n']} test patients" if "n" in evaluation else ""
    made = ", of a made cohort: it says nothing about patients" if evaluation.get("made_cohort") else ""
    return f"the model's AUC: {figure(evaluation['auc'])}{patients}{made}"


def _tell_batch(outcome: BatchOutcome) -> int:
    from mgmt_monai.inference import NOTICE

    faults = list(outcome.faults.items())
    for study, reason in faults[:SHOWN_FAULTS]:
        click.echo(f"Error: {study}: {reason}", err=True)
    if len(faults) > SHOWN_FAULTS:
        click.echo(f"... and {len(faults) - SHOWN_FAULTS} more, all in the table", err=True)
    n_studies = len(outcome.predictions) + len(faults)
    kept = f" ({outcome.n_kept} of them before)" if outcome.n_kept else ""
    click.echo(
        f"{n_studies} {'study' if n_studies == 1 else 'studies'}: {len(outcome.predictions)} read{kept}, "
        f"{outcome.n_abstained} with a model that abstains, {len(faults)} failed"
    )
    click.echo(NOTICE)
    click.echo(f"{outcome.table}")
    return 1 if faults else 0


def named_series(words: tuple[str, ...]) -> dict[str, Path]:
    """The paths that ``--series`` names, by modality."""
    series: dict[str, Path] = {}
    for word in words:
        modality, equals, path = word.partition("=")
        if not equals or not path or modality in series:
            raise click.UsageError(f"--series {word}: expected MODALITY=PATH, each modality once, as T1w=scans/7.")
        series[modality] = Path(path)
    return series
