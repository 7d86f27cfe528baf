"""The `mgmt-monai` command: it finds its subcommands by name and imports only the one that is called."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import StringIO

import click

from mgmt_monai import __version__
from mgmt_monai.errors import one_line, printable, printable_console, shortened
from mgmt_monai.interruption import interruptible
from mgmt_monai.own_process import prepare

COMMANDS = {
    "phantom": "Write a made cohort of head MRI with a planted effect.",
    "doctor": "Look for faults in a data directory: files, geometry, pixels, duplicates, confounders.",
    "manifest": "Build, check, split and show the list of patients, labels and series that a training reads.",
    "config": "Print where the packaged configs are, for MONAI's own command.",
    "train": "Train one modality's classifier, both stages; refuse a mistyped setting.",
    "compare": "Train the paper's networks and modalities, with negative controls; say what the result is worth.",
    "fuse": "One answer a patient from trainings of several modalities, and whether that adds anything.",
    "evaluate": "Judge a table of predictions, whoever made it: figures with intervals, pictures.",
    "prepare": "Bring raw series into one space, the brain alone, with a picture of every step.",
    "predict": "Ask trained models about a study, or about many; a model abstains where it should.",
    "report": "Write the report of a comparison, from MLflow.",
    "explain": "Show where trained models look in a study, and whether that is to be believed.",
    "bundle": "Export a trained model as a MONAI bundle that runs without this package.",
    "record": "Record trainings in MLflow afterwards, from their folders.",
    "unlock": "Free a folder that a job held which was killed on another machine.",
    "ui": "Open the MLflow UI on the recorded runs.",
}
"""Each subcommand and its one-line help; ``mgmt_monai/cli/<name>.py`` defines it as ``command``."""

RENAMED = {"study": "compare"}
"""Commands of earlier versions, and what they are called now."""

INTERRUPTED = 130
"""The exit code of a run ended by Ctrl-C: 128 + SIGINT, as shells count."""


class LazyGroup(click.Group):
    """A click group whose subcommands are imported when they are called, so that ``--help`` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in `COMMANDS`, in its order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand ``cmd_name``, imported now; None where there is none of that name.

        Raises:
            UsageError: The command has another name now.
        """
        if cmd_name in RENAMED:
            raise click.UsageError(f"{cmd_name!r} is called {RENAMED[cmd_name]!r} now: mgmt-monai {RENAMED[cmd_name]}")
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"mgmt_monai.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands from `COMMANDS` alone, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """MGMT promoter methylation of glioblastoma from brain MRI, as a MONAI bundle."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and tell what a user can mend in one line.

    Args:
        args: The words after the program's name; those of this process where None.

    Returns:
        The exit code: 0 done, 1 an error the user can mend (one line on stderr) or a reader that went away, 2 wrong
        usage, 130 ended by Ctrl-C. A subcommand that returns an int sets the code itself.

    Raises:
        Exception: Anything else, with its traceback: a fault of the program.
    """
    prepare()  # first: what wraps a closed stream hides that it is none
    with printable_console():
        return _ran(args)


def _ran(args: Sequence[str] | None) -> int:
    interrupted = False
    try:
        with interruptible():
            outcome = cli.main(args=args, prog_name="mgmt-monai", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        told = StringIO()
        error.show(told)
        click.echo(shortened(told.getvalue()), err=True, nl=False)
        return error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        interrupted = True  # told below: first, what holds a progress bar is let go of, and ends its line
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except Exception as error:
        message = one_line(error)
        if message is None:
            raise
        for line in getattr(error, "faults", (message,)):  # a command's user sees every fault of a cohort
            click.echo(f"Error: {printable(line)}", err=True)
        return 1
    if interrupted:
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    return outcome if isinstance(outcome, int) else 0


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere: whoever read the output has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
