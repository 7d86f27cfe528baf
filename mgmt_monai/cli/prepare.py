"""``mgmt-monai prepare``: raw series in one space, the brain alone."""

import json
from pathlib import Path

import click

from mgmt_monai.cli.paths import check_study
from mgmt_monai.cli.predict import named_series

FILE = click.Path(path_type=Path)

SHOWN_FAULTS = 10
"""Of what was refused, on the screen; all is on the page."""


@click.command("prepare")
@click.argument("study_or_cohort", type=FILE)
@click.option("--out", type=FILE, required=True, help="Folder that gets a folder for each patient, and report.html.")
@click.option(
    "--series", "named", multiple=True, metavar="MODALITY=PATH", help="A series by name; only those named are read."
)
@click.option(
    "--batch", is_flag=True, help="STUDY_OR_COHORT is a cohort, or holds one folder a study: prepare them all."
)
@click.option("--layout", help="The cohort's layout, with --batch; found where it is not named.")
@click.option("--mask", type=FILE, help="Your own brain mask of the study, in its reference's space.")
@click.option(
    "--brain", type=click.Choice(("deepbet", "hd-bet")), default="deepbet", show_default=True, help="What finds it."
)
@click.option("--template", type=FILE, help="A NIfTI atlas: all get its space and grid, affinely.")
@click.option("--spacing", type=float, help="Side of the voxels, in mm.  [default: 1.0, or the template's]")
@click.option("--n4", is_flag=True, help="Take the coil's shading out.")
@click.option("--workers", type=click.IntRange(1), help="Patients at a time.  [default: one a core]")
@click.option("--ray", "ray_address", metavar="ADDRESS",
              help="With --batch: on this Ray cluster ('auto', 'local', HOST:PORT).")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a patient who was prepared otherwise.")
def command(
    study_or_cohort: Path,
    out: Path,
    named: tuple[str, ...],
    batch: bool,
    layout: str | None,
    mask: Path | None,
    brain: str,
    template: Path | None,
    spacing: float | None,
    n4: bool,
    workers: int | None,
    ray_address: str | None,
    overwrite: bool,
) -> int:
    """Bring the series of each patient into one space, keep the brain alone, and show how well it went.

    Writes OUT/PATIENT/PATIENT_{t1,t1ce,t2,flair}.nii.gz, a brain mask, transforms, prepare.json and report.html. A
    series that cannot be registered is refused; exit code 1 then, the rest is written. What is there is kept.
    """
    if batch and mask is not None:
        raise click.UsageError("--mask is of one study: with --batch, write masks into OUT/review.csv.")
    if batch and named:
        raise click.UsageError("--series is of one study: leave out --batch.")
    if layout and not batch:
        raise click.UsageError("--layout is of a cohort: give --batch too.")
    if ray_address and (workers or not batch):
        raise click.UsageError("--ray is of a cohort, and takes a core a patient: give --batch, and no --workers.")
    if template and spacing is not None:
        raise click.UsageError("--spacing is the template's own: leave out one of the two.")
    if ray_address:  # other machines have another working folder
        from mgmt_monai.ray_cluster import check_reachable

        check_reachable(ray_address)
        study_or_cohort, out, template = study_or_cohort.absolute(), out.absolute(), template and template.absolute()
    series = named_series(named)
    check_study(study_or_cohort, bool(series))
    from mgmt_monai.atomic import write_text
    from mgmt_monai.cohort.manifest import TRUTH, phantom_truth
    from mgmt_monai.inference.prepare_studies import prepare_studies
    from mgmt_monai.inference.studies import AskedStudy, studies_in
    from mgmt_monai.inference.study import find_study, study_path
    from mgmt_monai.preparation.prepare import settings_with
    from mgmt_monai.preparation.template import read_template

    atlas = read_template(template) if template else None
    settings = settings_with(atlas, 1.0 if spacing is None else spacing, n4, "" if brain == "deepbet" else brain)
    if batch:
        studies = studies_in(study_or_cohort, out, layout)
    else:
        path = study_path(study_or_cohort)
        studies = [AskedStudy(path.name, path, find_study(path, series) if series else None)]
    masks = {studies[0].name: mask} if mask else None
    made = phantom_truth(study_or_cohort) if batch else {}
    outcome = prepare_studies(studies, out, settings, masks, workers, overwrite, template, ray_address)
    if made:  # what is made of a phantom is one
        write_text(out / TRUTH, json.dumps(made))
    told = [f"Error: {patient}: {reason}" for patient, reason in outcome.refused.items()]
    told += [f"{p}: {m} refused: {reason}" for p, one in outcome.prepared.items() for m, reason in one.refused.items()]
    for line in told[:SHOWN_FAULTS]:
        click.echo(line, err=True)
    if len(told) > SHOWN_FAULTS:
        click.echo(f"... and {len(told) - SHOWN_FAULTS} more, all on the page", err=True)
    n_kept = sum(one.kept for one in outcome.prepared.values())
    n_series = sum(len(one.refused) for one in outcome.prepared.values())
    click.echo(
        f"{len(studies)} {'patient' if len(studies) == 1 else 'patients'}: {len(outcome.prepared)} prepared"
        f"{f' ({n_kept} of them before)' if n_kept else ''}, {n_series} of their series refused, "
        f"{len(outcome.refused)} refused whole"
    )
    click.echo(f"{outcome.page}")
    return 1 if told else 0
