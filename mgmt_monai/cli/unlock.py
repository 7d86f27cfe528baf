"""``mgmt-monai unlock``: locks that outlived their process, on storage that has none of its own."""

import re
from pathlib import Path

import click


@click.command("unlock")
@click.argument("files", metavar="OWNER_FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(files: tuple[Path, ...]) -> None:
    """Free what a job held that was killed on another machine, where the storage has no locks of its own.

    OWNER_FILE is the file .owner (or .NAME.owner) that the refused command names. Make sure that the job is gone: a
    process that is seen to be running keeps its lock.
    """
    for file in files:
        click.echo(f"{file}: was held{unlock(file)}, is free now")


def unlock(owner_file: Path) -> str:
    """Free what a process holds by a file that outlived it, as where it was killed on another machine.

    Args:
        owner_file: The file that says who holds it, as `HeldError.file` names it.

    Returns:
        Who held it, in words.

    Raises:
        MgmtMonaiError: There is no such file, or the process is seen to be running.
    """
    import fcntl

    from mgmt_monai.errors import MgmtMonaiError
    from mgmt_monai.json_file import JsonFileError, read_json
    from mgmt_monai.locked_folder import NO_LOCKS, holder_in_words, is_dead, is_near

    try:
        owner, found = read_json(owner_file), "another"
    except JsonFileError as error:
        owner, found = None, f"none ({error})"
    words = holder_in_words(owner) if isinstance(owner, dict) else ""
    if not words or not re.fullmatch(r"\..*owner", owner_file.name):
        raise MgmtMonaiError(
            f"{owner_file}: expected the file that says who holds a lock, found {found}. Name the one that the refused "
            "command names."
        )
    with owner_file.with_name(f"{owner_file.name.removesuffix('owner')}lock").open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = False
        except OSError as error:
            is_held = error.errno not in NO_LOCKS
        if is_held or (is_near(owner) and not is_dead(owner)):
            raise MgmtMonaiError(f"{owner_file}: its process{words} is still running. End it first.")
        owner_file.unlink()
    return words
