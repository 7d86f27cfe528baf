"""``mgmt-monai phantom``: write the made cohort."""

from pathlib import Path

import click


@click.command(name="phantom")
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--patients", default=100, show_default=True, help="How many; half of them methylated.")
@click.option(
    "--effect",
    default=3.0,
    show_default=True,
    help="Distance between the classes in standard deviations; the best reachable AUC is Phi(effect / sqrt 2).",
)
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same cohort.")
@click.option("--workers", type=int, default=None, help="Processes.  [default: all cores]")
@click.option("--raw", is_flag=True, help="Heads with skull, eyes and neck, which move between series.")
@click.option("--moves", type=float, help="With --raw: by how many mm and degrees at most.  [default: 10]")
@click.option(
    "--montage", type=click.Path(path_type=Path, dir_okay=False), help="Also save a picture of some patients, PNG."
)
def command(
    out_dir: Path,
    patients: int,
    effect: float,
    seed: int,
    workers: int | None,
    raw: bool,
    moves: float | None,
    montage: Path | None,
) -> None:
    """Write a made cohort of head MRI as DICOM to OUT_DIR, with a planted effect of known size.

    OUT_DIR must be new or empty. It gets train/ID/MODALITY/Image-N.dcm, train_labels.csv and truth.json.
    """
    from mgmt_monai.phantom import PhantomError, write_phantom
    from mgmt_monai.phantom.effect import reachable_auc

    if montage is not None and montage.exists():
        raise PhantomError(f"phantom: {montage}: expected nothing there, found a file. Name another picture.")
    if moves is not None and not raw:
        raise click.UsageError("--moves is of raw heads: give --raw too.")
    write_phantom(out_dir, patients, effect, seed, workers, (10.0 if moves is None else moves) if raw else None)
    click.echo(f"{out_dir}: {patients} patients, effect {effect:g}, reachable AUC {reachable_auc(effect):.3f}")
    if montage is not None:
        from mgmt_monai.phantom.montage import save_montage

        try:
            save_montage(out_dir, montage)
        except (OSError, ValueError) as error:
            raise PhantomError(f"phantom: {montage}: cannot save the picture ({error}); name a PNG file") from error
