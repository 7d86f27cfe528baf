"""Where the time of an epoch goes: the operations of our training that take most of it.

    python benchmarks/profile_epoch.py --stage fine_tune

Prints a table of the operations by the processor time that they take themselves, in the second epoch of a stage of
bundles/t1w.json, validation included.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from measurement import Size
from ours import epochs


@click.command(help=__doc__)
@click.option("--stage", default="fine_tune", show_default=True, type=click.Choice(["transfer", "fine_tune"]))
@click.option("--rows", default=15, show_default=True, help="Operations that are shown.")
@click.option("--quick", is_flag=True, help="Tiny sizes.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the made data here.")
def main(stage: str, rows: int, quick: bool, data: Path | None) -> None:
    """Train an epoch to warm up, then profile one."""
    from torch.profiler import ProfilerActivity, profile

    profiler = profile(activities=[ProfilerActivity.CPU])

    def turn(figure: float | None) -> str:
        if figure is None:
            profiler.start()
            return ""
        profiler.stop()
        raise SystemExit

    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        size = Size.of("quick" if quick else "full", data or Path(temporary))
        with suppress(SystemExit):
            epochs(turn, size, stage, size.patients)
    click.echo(table(profiler.key_averages(), rows))


def table(operations: Any, rows: int) -> str:
    """The operations that take most processor time themselves, as a Markdown table."""
    own = sorted(operations, key=lambda one: -one.self_cpu_time_total)
    total = sum(one.self_cpu_time_total for one in own)
    lines = ["| operation | calls | share of processor time |", "|---|---|---|"]
    lines += [f"| `{one.key}` | {one.count} | {one.self_cpu_time_total / total:.1%} |" for one in own[:rows]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
