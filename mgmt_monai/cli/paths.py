"""Mistyped paths, told before anything heavy is imported."""

from collections.abc import Iterable
from pathlib import Path

import click


def check_study(study_dir: Path, named: bool) -> None:
    """Refuse a study that is a file, or is not there although its series are not ``named``.

    Raises:
        ClickException: Says what to name.
    """
    if study_dir.is_file():
        raise click.ClickException(
            f"{study_dir}: expected a study's folder, found a file. Name the folder that holds it, and the file as a "
            f"series: {study_dir.parent} --series T1w={study_dir}"
        )
    if not named and not study_dir.is_dir():
        raise click.ClickException(f"{study_dir}: no such study. Name the folder that holds its series.")


def check_bundles(bundles: Iterable[Path]) -> None:
    """Refuse a bundle that is not there, or is a training's folder.

    Raises:
        ClickException: Says what to name, or how to export.
    """
    for bundle in bundles:
        if not bundle.exists():
            raise click.ClickException(f"{bundle}: expected a bundle's folder or zip file, found none. Check the path.")
        if (bundle / "run.json").is_file() and not (bundle / "configs").is_dir():
            raise click.ClickException(
                f"{bundle}: expected a bundle, found a training's folder. Export it with 'mgmt-monai bundle export "
                f"{bundle} --out models', then name the bundle in models."
            )
