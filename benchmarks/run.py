"""Measure everything that docs/performance.md speaks of, ours beside the stock way, and write the figures down.

    python benchmarks/run.py

Each measure runs in a fresh process, its ways in turns. The figures go into benchmarks/results.json, the table into
benchmarks/results.md, the picture into docs/images/performance.png and .svg. Other work on the machine changes the
figures: run it on a quiet one.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from machine import describe
from measurement import Measure, Size, measure
from report import write_report

from mgmt_monai.atomic import write_text

MEASURES = (
    "cold_read",
    "augmentation",
    "transfer_epoch",
    "fine_tune_epoch",
    "training_settings",
    "overhead",
    "memory",
    "predict_study",
    "engines",
    "processes",
)
"""In the order in which they are told; a module each."""

RESULTS = Path(__file__).parent / "results.json"
IMAGES = Path(__file__).parents[1] / "docs" / "images"


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that everything runs, no figure is worth anything.")
@click.option("--only", multiple=True, type=click.Choice(MEASURES), help="This measure; may be given again.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each way is measured.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The figures, instead of results.json; "
              "the table and the picture go beside it.")  # fmt: skip
@click.option("--keep", is_flag=True, help="With --only: keep the other measures' figures that --out holds.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the made data here, for the next "
              "time; a temporary folder otherwise.")  # fmt: skip
@click.option("--child", is_flag=True, hidden=True)
def main(
    quick: bool, only: tuple[str, ...], rounds: int, out: Path | None, keep: bool, data: Path | None, child: bool
) -> None:
    """Measure, write, print; as a child, measure one and print its figures as JSON."""
    size, path = "quick" if quick else "full", out or RESULTS
    if child and data is not None:
        click.echo(json.dumps(measured(only[0], Size.of(size, data), rounds)))
        return
    results: dict[str, Any] = {"made": f"{datetime.now(UTC):%Y-%m-%d}", "size": size, "machine": describe()}
    found = {one["measure"]["name"]: one for one in _kept(path, results)} if keep else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        for name in only or MEASURES:
            found[name] = _in_new_process(name, size, rounds, (data or Path(temporary)).resolve())
    results["measures"] = [found[name] for name in MEASURES if name in found]
    write_text(path, json.dumps(results, indent=2) + "\n")
    images = IMAGES if out is None else path.parent
    write_report(results, path.with_suffix(".md"), images)
    click.echo(path.with_suffix(".md").read_text(encoding="utf-8"))
    if any("error" in one for one in results["measures"]):
        sys.exit(1)


def measured(name: str, size: Size, rounds: int) -> dict[str, Any]:
    """One measure in this process.

    Args:
        name: Of its module.
        size: Of the work.
        rounds: How often each way is measured; fewer where the measure says so.

    Returns:
        ``measure`` (its description), ``figures`` (by way, one a round) and ``seconds`` that all of it took.
    """
    module = importlib.import_module(name)
    about: Measure = module.MEASURE
    started = time.perf_counter()
    with module.ways(size) as ways:
        figures = measure(ways, min(rounds, about.rounds or rounds))
    return {"measure": about.as_dict(), "figures": figures, "seconds": round(time.perf_counter() - started, 1)}


def _kept(path: Path, results: dict[str, Any]) -> list[dict[str, Any]]:
    """The measures that a file holds, if new ones may stand beside them."""
    before = json.loads(path.read_text(encoding="utf-8"))
    for what in ("size", "machine"):
        if before[what] != results[what]:
            raise click.UsageError(f"--keep: {path} was made with another {what}. Measure everything again.")
    return before["measures"]


def _in_new_process(name: str, size: str, rounds: int, data: Path) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__)), "--child", "--only", name, "--rounds", str(rounds)]
    command += ["--data", str(data), *(["--quick"] if size == "quick" else [])]
    click.echo(f"{name} ...", nl=False, err=True)
    started = time.perf_counter()
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    click.echo(f" {time.perf_counter() - started:.0f} s", err=True)
    try:
        return json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        click.echo(child.stderr, err=True)
        about = importlib.import_module(name).MEASURE.as_dict()
        words = child.stderr.strip().splitlines() or ["it ended without a word"]
        return {"measure": about, "figures": {}, "seconds": 0.0, "error": words[-1]}


if __name__ == "__main__":
    main()
