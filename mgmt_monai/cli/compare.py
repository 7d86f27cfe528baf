"""``mgmt-monai compare``: the paper's tables, with the evidence."""

from pathlib import Path

import click

from mgmt_monai.cli.overrides import overrides
from mgmt_monai.cli.report import tell_verdict
from mgmt_monai.comparison.paper import MODALITIES, MODALITY, NETWORK, NETWORKS


@click.command("compare", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--networks", default=",".join(NETWORKS), show_default=True, help="On one modality: Table I.")
@click.option(
    "--modalities",
    default=",".join(MODALITIES),
    show_default=True,
    help="By one network: Table II; also fusion-late, fusion.",
)
@click.option("--reference-network", help="Of Table II  [efficientnet-b0, or the first of --networks]")
@click.option("--reference-modality", help="Of Table I  [T1w, or the first of --modalities]")
@click.option("--folds", type=click.IntRange(min=3), help="Cross-validate on this many folds  [the hold-out split]")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Of the folds.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings of each.")
@click.option("--weights", multiple=True, metavar="NETWORK=FILE", help="Weights of a network; may be repeated.")
@click.option("--bound", type=click.FloatRange(0.5, 1, True, True), default=0.6, show_default=True,
              help="The smallest AUC that would matter, set beforehand.")  # fmt: skip
@click.option("--clinical", default="", metavar="COLUMNS", help="What imaging adds to these  [age, sex, gender]")
@click.option("--site", default="", metavar="COLUMN",
              help="Of the manifest, that tells the site  [one called site, centre, hospital...]")  # fmt: skip
@click.option("--name", default="", help="Of the comparison  [made from all that it is about]")
@click.option(
    "--bundles", type=click.Path(path_type=Path), help="Folder of the modalities' configs  [those of the package]"
)
@click.option("--workers", type=click.IntRange(min=1), help="Trainings side by side  [a core each; 1 with a GPU]")
@click.option("--ray", "ray_address", metavar="ADDRESS", help="Run on this Ray cluster ('auto', 'local', HOST:PORT).")
@click.pass_context
def command(
    context: click.Context,
    networks: str,
    modalities: str,
    reference_network: str | None,
    reference_modality: str | None,
    folds: int | None,
    repeats: int,
    seeds: int,
    weights: tuple[str, ...],
    bound: float,
    clinical: str,
    site: str,
    name: str,
    bundles: Path | None,
    workers: int | None,
    ray_address: str | None,
) -> None:
    """Train the paper's networks and modalities, their negative controls, and say what the result is worth.

    Every training is an MLflow run under one parent. Any key of the bundle config can be set for all of them with
    --KEY VALUE. The same command goes on with a comparison that was stopped; what is done is not done again.

    Example: mgmt-monai compare --networks efficientnet-b0,resnet-10 --folds 5 --dataset_dir my_cohort
    """
    settings = overrides(context.args)
    named = _listed(networks), _listed(modalities)
    files = _weights(weights)

    import logging
    from functools import partial

    from mgmt_monai.comparison.jobs import default_workers, run_local, run_on_ray
    from mgmt_monai.comparison.kept_results import REPORT, stored_record
    from mgmt_monai.comparison.plan import FUSIONS, ComparisonPlan
    from mgmt_monai.comparison.report.files import write_report
    from mgmt_monai.comparison.sweep import Comparison
    from mgmt_monai.ray_cluster import check_reachable

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    plan = ComparisonPlan(
        networks=named[0],
        modalities=named[1],
        reference_network=reference_network or _reference(NETWORK, named[0]),
        reference_modality=reference_modality or _reference(MODALITY, tuple(m for m in named[1] if m not in FUSIONS)),
        folds=folds,
        repeats=repeats,
        seeds=seeds,
        weights=files,
        settings=settings,
        bound=bound,
        clinical=_listed(clinical),
        site=site,
    )
    if ray_address:
        check_reachable(ray_address)
        execute = partial(run_on_ray, address=ray_address)
    else:
        execute = partial(run_local, workers=workers or default_workers())
    comparison = Comparison(plan, bundles, name, execute)

    def report(of: Comparison) -> None:
        folder = of.folder.path / "report"
        written = write_report(stored_record(of.tracking.uri, str(of.tracking.run_id)), folder, overwrite=True)
        of.log_files(folder, REPORT)
        tell_verdict(written["verdict"])
        click.echo(f"{folder / 'report.html'}")

    comparison.run(report)


def _reference(papers: str, named: tuple[str, ...]) -> str:
    """The paper's where it is in the comparison, else the first."""
    return papers if papers in named or not named else named[0]


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _weights(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        network, equals, path = pair.partition("=")
        if not equals or not network or not path:
            raise click.UsageError(f"--weights: expected NETWORK=FILE, found {pair!r}")
        path = str(overrides(["--weights", path])["weights"])
        found[network] = path if path in ("imagenet", "none") else str(Path(path).absolute())
    return found
