"""``mgmt-monai explain``: where trained models look in a study."""

from pathlib import Path

import click

from mgmt_monai.cli.paths import check_bundles, check_study
from mgmt_monai.cli.predict import FILE, named_series


@click.command("explain")
@click.argument("study_dir", type=FILE)
@click.option("--bundle", "bundles", multiple=True, required=True, type=FILE, help="A bundle's folder or zip file.")
@click.option(
    "--out", type=FILE, default="explanation", show_default=True, help="Folder that gets a folder for each study."
)
@click.option(
    "--method",
    type=click.Choice(["gradcam", "occlusion", "both"]),
    default="both",
    show_default=True,
    help="Grad-CAM takes seconds, occlusion minutes.",
)
@click.option("--dicom-seg", is_flag=True, help="Also where each map is strong, as DICOM, for a viewer's overlay.")
@click.option("--segmentation", type=FILE, help="NIfTI of a region, such as the tumour: its share of each map is told.")
@click.option(
    "--series", "named", multiple=True, metavar="MODALITY=PATH", help="A series by name; only those named are read."
)
@click.option("--trust-bundle", is_flag=True, help="Run a bundle's own code. Read it first.")
@click.option("--overwrite", is_flag=True, help="Replace pictures that are there.")
def command(
    study_dir: Path,
    bundles: tuple[Path, ...],
    out: Path,
    method: str,
    dicom_seg: bool,
    segmentation: Path | None,
    named: tuple[str, ...],
    trust_bundle: bool,
    overwrite: bool,
) -> None:
    """Show what in STUDY_DIR raises and lowers each model's logit: pictures, maps as NIfTI, checks of the maps.

    OUT/STUDY/BUNDLE gets a page, a picture of each slice, the map in the series' own space, and explain.json.
    """
    series = named_series(named)
    check_study(study_dir, bool(series))
    check_bundles(bundles)
    from mgmt_monai.atomic import check_replaceable, holds_text
    from mgmt_monai.inference import NOTICE
    from mgmt_monai.inference.abstain import head_reasons, input_reasons
    from mgmt_monai.inference.errors import InferenceError
    from mgmt_monai.inference.explain.explanation import (
        METHODS,
        PAGE,
        RESULT,
        explain_series,
        result_text,
        write_explanation,
    )
    from mgmt_monai.inference.feature_fusion import fusion_of
    from mgmt_monai.inference.model import open_models
    from mgmt_monai.inference.predict_study import predict_study
    from mgmt_monai.inference.study import read_study, study_path

    if dicom_seg:
        from mgmt_monai.pacs.result import write_object
        from mgmt_monai.pacs.segmentation import map_segmentations
        from mgmt_monai.pacs.study_source import read_source

    methods = METHODS if method == "both" else (method,)
    with open_models(bundles, trust_bundle) as models:
        of_study, fusion = out / study_path(study_dir).name, fusion_of(models)
        folders = [of_study / model.bundle.name / ("" if fusion is None else model.modality) for model in models]
        if len(set(folders)) < len(folders):
            raise InferenceError("expected bundles of different names, found one twice. Rename one of them.")
        found = read_study(study_dir, series, [model.modality for model in models])
        studied = {one.modality: one for one in found}
        for model, folder in zip(models, folders, strict=True):
            one = studied.get(model.modality)
            if fusion is not None and (one is None or one.series is None):
                click.echo(f"{model.modality} ({model.bundle.name}): no series that can be used", err=True)
                continue
            if one is None:
                raise InferenceError(
                    f"{study_dir}: expected a {model.modality} series, found none. Name it with --series "
                    f"{model.modality}=PATH."
                )
            if one.series is None:
                raise InferenceError("\n".join(finding.under(study_dir).line for finding in one.errors))
            source = read_source(one.series) if dicom_seg else None
            reasons = input_reasons(model.modality, one, list(studied)) + head_reasons(one, model.bundle.heads)
            explained = explain_series(model, one.series, methods, segmentation, reasons)
            there, text = folder / RESULT, result_text(explained)
            check_replaceable(there, holds_text(there, text), overwrite, InferenceError)
            objects = {} if source is None else map_segmentations(explained, source)
            write_explanation(explained, folder)
            for name, instance in objects.items():
                write_object(instance, folder / f"{name}.dcm", overwrite=True)
            for each in explained.maps:
                click.echo(
                    f"{model.modality} ({model.bundle.name}), {each.method}: {each.sanity.sentence}; "
                    f"{explained.coarseness(each.method)}"
                )
                if each.share is not None:
                    click.echo(f"  {each.share.sentence}")
            for reason in explained.abstained:
                click.echo(f"the model abstains, so the maps mean little: {reason}")
            if explained.seen.geometry_fault:
                click.echo(f"no NIfTI: {explained.seen.geometry_fault}")
            click.echo(f"{folder / PAGE}: the page; beside it pictures, maps, {RESULT}")
        if fusion is not None:
            told = predict_study(study_dir, models, series).prediction.fusion
            for name, without in told["without"].items():
                click.echo(f"{name} adds {told['addends'][name]:+.2f} to the log-odds; without it {without:.3f}")
            answer = told["probability"]
            click.echo("all models abstain" if answer is None else f"together {answer:.3f}")
    click.echo(NOTICE)
