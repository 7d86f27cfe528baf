"""``mgmt-monai phantom``: write the made cohort."""

from pathlib import Path

import click
from click.core import ParameterSource


def _by_modality(context: click.Context, parameter: click.Parameter, text: str | None) -> dict[str, str] | None:
    """``T1w=1,FLAIR=0.5`` as a dictionary."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    found = {name.strip(): value.strip() for name, _, value in pairs}
    if len(found) < len(pairs) or not all(value for value in found.values()):
        raise click.BadParameter(f"expected MODALITY=NUMBER, separated by commas, each once; found {text!r}")
    return found


def _numbers(texts: dict[str, str], option: str) -> dict[str, list[float]]:
    try:
        return {name: [float(one) for one in text.split("/")] for name, text in texts.items()}
    except ValueError as error:
        raise click.UsageError(f"{option}: expected numbers, found {', '.join(texts.values())}.") from error


@click.command(name="phantom")
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--patients", default=100, show_default=True, help="How many; half of them methylated.")
@click.option(
    "--effect",
    default=3.0,
    show_default=True,
    help="Distance between the classes in standard deviations; the best reachable AUC is Phi(effect / sqrt 2).",
)
@click.option(
    "--effects",
    callback=_by_modality,
    help="In place of --effect: T1w=1,T1wCE=1,T2w=0,FLAIR=0. Each modality then has a latent value of its own.",
)
@click.option(
    "--shared", type=float, help="With --effects: how the latent values correlate, 0 to below 1.  [default: 0]"
)
@click.option(
    "--missing",
    callback=_by_modality,
    help="Share of the patients without a series: FLAIR=0.3, or FLAIR=0.1/0.5 for unmethylated and methylated ones.",
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
    effects: dict[str, str] | None,
    shared: float | None,
    missing: dict[str, str] | None,
    seed: int,
    workers: int | None,
    raw: bool,
    moves: float | None,
    montage: Path | None,
) -> None:
    """Write a made cohort of head MRI as DICOM to OUT_DIR, with a planted effect of known size.

    OUT_DIR must be new or empty. It gets train/ID/MODALITY/Image-N.dcm, train_labels.csv and truth.json.
    """
    from mgmt_monai.json_file import read_json
    from mgmt_monai.phantom import PhantomError, write_phantom

    if montage is not None and montage.exists():
        raise PhantomError(f"phantom: {montage}: expected nothing there, found a file. Name another picture.")
    if moves is not None and not raw:
        raise click.UsageError("--moves is of raw heads: give --raw too.")
    if (
        effects is not None
        and click.get_current_context().get_parameter_source("effect") is not ParameterSource.DEFAULT
    ):
        raise click.UsageError("--effect and --effects are two ways to say one thing: give one of them.")
    if shared is not None and effects is None:
        raise click.UsageError("--shared is of several latent values: give --effects too.")
    by_modality = None if effects is None else _numbers(effects, "--effects")
    shares = _numbers(missing or {}, "--missing")
    if any(len(one) > 1 for one in (by_modality or {}).values()) or any(len(one) > 2 for one in shares.values()):
        raise click.UsageError("expected one number by modality, or two of --missing, such as 0.1/0.5; found more.")
    write_phantom(
        out_dir,
        patients,
        effect,
        seed,
        workers,
        (10.0 if moves is None else moves) if raw else None,
        None if by_modality is None else {name: one[0] for name, one in by_modality.items()},
        shared or 0.0,
        {name: (one[0], one[-1]) for name, one in shares.items()},
    )
    truth = read_json(out_dir / "truth.json")
    told = ", ".join(f"{name} {auc:.3f}" for name, auc in truth.get("reachable_auc_of", {}).items())
    click.echo(
        f"{out_dir}: {patients} patients, effect {truth['effect']:g}, reachable AUC {truth['reachable_auc']:.3f}"
        f"{f' ({told})' if told else ''}"
    )
    if montage is not None:
        from mgmt_monai.phantom.montage import save_montage

        try:
            save_montage(out_dir, montage)
        except (OSError, ValueError) as error:
            raise PhantomError(f"phantom: {montage}: cannot save the picture ({error}); name a PNG file") from error
