"""An epoch of the fusion beside one of each single modality: processor time, and the most memory.

``python benchmarks/fusion_epoch.py COHORT --image-size 128`` prints the table of ``fusion_epoch.md``. Time is the
processor's, all threads together, which does not depend on what else a machine does; of the second epoch of each stage:
loading, augmentation and steps, without validation.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

ROOT = Path(__file__).parents[1]

SINGLES = ("t1w", "t1wce", "t2w", "flair")

#: A fusion that is shown as many slices as all four together, and one as it is by default.
FUSIONS: dict[str, dict[str, Any]] = {
    "fusion, all slices": {"series_slices": 0, "modality_dropout": 0.0},
    "fusion": {},
}

#: At most, of the four together: in the first stage, and in the second.
LIMITS = {"transfer": 1.1, "fine_tune": 1.3}


def measure(config: str, settings: dict[str, Any]) -> None:
    """Train two epochs of each stage in this process, and print its figures as JSON."""
    from ignite.engine import Engine, Events
    from monai.bundle import ConfigWorkflow

    path = ROOT / "bundles" / f"{config}.json"
    made = ConfigWorkflow(str(path), logging_file=False, run_id="training", workflow_type="train", **settings)
    made.initialize()
    figures: dict[str, list[float]] = {}
    for stage, key in (("transfer", "train"), ("fine_tune", "fine_tune")):
        trainer, found, began = made.parser.get_parsed_content(f"{key}::trainer"), figures.setdefault(stage, []), [0.0]

        def start(engine: Engine, began: list[float] = began) -> None:
            began[0] = time.process_time()

        def stop(engine: Engine, began: list[float] = began, found: list[float] = found) -> None:
            if engine.state.iteration % engine.state.epoch_length == 0:
                found.append(time.process_time() - began[0])

        trainer.add_event_handler(Events.EPOCH_STARTED, start)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, stop)
    made.run()
    made.finalize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(json.dumps({"figures": {stage: of[-1] for stage, of in figures.items()}, "mib": most}))


def main() -> None:
    """Measure each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        config, settings = json.loads(given.one)
        measure(config, settings)
        return
    with TemporaryDirectory() as folder:
        common = {
            "dataset_dir": str(given.cohort), "output_dir": folder, "image_size": given.image_size, "device": "cpu",
            "transfer_epochs": 2, "fine_tune_epochs": 2, "transfer_least_steps": 0, "bootstrap_resamples": 10,
            "transfer_batch_size": 64, "fine_tune_batch_size": 24, "test_fraction": 0.25, "train_fraction": 0.67,
        }  # fmt: skip
        of_patients = {"transfer_batch_size": 3, "fine_tune_batch_size": 2}  # at least as many slices
        ways = {name: (name, common) for name in SINGLES}
        ways |= {name: ("fusion", {**common, **of_patients, **own}) for name, own in FUSIONS.items()}
        found = {}
        for name, way in ways.items():
            words = [sys.executable, __file__, str(given.cohort), "--one", json.dumps(way)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found[name] = json.loads(done.stdout.splitlines()[-1])
    sums = {stage: sum(found[name]["figures"][stage] for name in SINGLES) for stage in LIMITS}
    click.echo(
        "| | stage 1, s | of the four | fine-tuning, s | of the four | most memory, MiB |\n|---|---|---|---|---|---|"
    )
    for name, one in found.items():
        cells = [f"{one['figures'][stage]:.1f} | {one['figures'][stage] / sums[stage]:.2f}" for stage in LIMITS]
        click.echo(f"| {name} | {' | '.join(cells)} | {one['mib']:.0f} |")


if __name__ == "__main__":
    main()
