"""``mgmt-monai unlock``: locks that outlived their process, on storage that has none of its own."""

from pathlib import Path

import click


@click.command("unlock")
@click.argument("files", metavar="OWNER_FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(files: tuple[Path, ...]) -> None:
    """Free what a job held that was killed on another machine, where the storage has no locks of its own.

    OWNER_FILE is the file .owner (or .NAME.owner) that the refused command names. Make sure that the job is gone: a
    process that is seen to be running keeps its lock.
    """
    from mgmt_monai.locked_folder import unlock

    for file in files:
        click.echo(f"{file}: was held{unlock(file)}, is free now")
