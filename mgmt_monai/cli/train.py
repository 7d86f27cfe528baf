"""``mgmt-monai train``: the main command, with mistyped settings refused."""

import logging
import os
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click

from mgmt_monai.cli.overrides import overrides
from mgmt_monai.packaged_configs import config_path


@click.command("train", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("config", required=False)
@click.option("--config_file", "--config-file", "config_file", multiple=True, hidden=True)
@click.option("--quiet", is_flag=True, help="Say warnings alone, and at the end the run's folder on stdout.")
@click.pass_context
def command(context: click.Context, config: str | None, config_file: tuple[str, ...], quiet: bool) -> None:
    """Train on CONFIG, a modality (t1w, t1wce, t2w, flair) or a config file; any key of it is set with --KEY VALUE.

    The same run as 'python -m monai.bundle run training --config_file "$(mgmt-monai config CONFIG)"', but a key that
    the config does not have is refused before anything is read.

    Example: mgmt-monai train t1w --dataset_dir data/phantom --seed 1
    """
    named, *others = [*config_file, *([config] if config else [])] or [""]
    if not named:
        raise click.UsageError("name a config: t1w, t1wce, t2w, flair or a file")
    config_path(named)  # a mistyped one is told before anything heavy is imported
    settings = overrides([*others, *context.args])

    if quiet:
        from mgmt_monai.training.start import train

        logging.basicConfig(level="WARNING", format="%(levelname)s %(message)s", stream=sys.stderr)
        for talkative in ("ignite", "monai.bundle.workflows"):
            logging.getLogger(talkative).setLevel("CRITICAL")
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere), redirect_stdout(nowhere):  # bars
            folder = train(named, **settings)
        click.echo(folder)
        return
    import monai.bundle

    from mgmt_monai.training.start import training_config

    path, settings = training_config(named, settings)
    # Whoever names a config here trusts it; MONAI warns on every run that it is code.
    warnings.filterwarnings("ignore", message="parsing config_file", category=UserWarning)
    monai.bundle.run(run_id="training", config_file=str(path), **settings)
