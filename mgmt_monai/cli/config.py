"""``mgmt-monai config``: where the packaged configs are."""

import click


@click.command("config")
@click.argument("names", nargs=-1, metavar="NAME...")
def command(names: tuple[str, ...]) -> None:
    """Print the path of the packaged config NAME; of several, the list that MONAI's --config_file takes.

    Without a NAME, print the names.

    Example: python -m monai.bundle run training --config_file "$(mgmt-monai config t1w)"
    """
    from mgmt_monai.packaged_configs import config_names, config_path

    paths = [str(config_path(name)) for name in names]
    click.echo("\n".join(config_names()) if not paths else paths[0] if len(paths) == 1 else paths)
