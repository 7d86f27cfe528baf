"""``mgmt-monai train``: the main command, with mistyped settings refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from mgmt_monai.cli.overrides import overrides


@click.command("train", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("config_file", required=False, type=click.Path(path_type=Path))
@click.option("--config_file", "--config-file", "named_config_file", type=click.Path(path_type=Path), hidden=True)
@click.pass_context
def command(context: click.Context, config_file: Path | None, named_config_file: Path | None) -> None:
    """Train on CONFIG_FILE, such as bundles/t1w.json; any key of it can be set with --KEY VALUE.

    The same run as 'python -m monai.bundle run training --config_file CONFIG_FILE', but a key that the config does
    not have is refused before anything is read.

    Example: mgmt-monai train bundles/t1w.json --dataset_dir data/phantom --seed 1
    """
    path = named_config_file or config_file
    if path is None:
        raise click.UsageError("name a config file, such as bundles/t1w.json")
    settings = overrides([*([str(config_file)] if named_config_file and config_file else []), *context.args])

    import monai.bundle

    from mgmt_monai.training.config import check_overrides, read_config

    check_overrides(read_config(path), settings)
    # Whoever names a config here trusts it; MONAI warns on every run that it is code.
    warnings.filterwarnings("ignore", message="parsing config_file", category=UserWarning)
    monai.bundle.run(run_id="training", config_file=str(path), **settings)
