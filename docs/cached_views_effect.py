"""What cached views do to the AUC, and what they save: the table of docs/explanation/cached-views.md.

    python docs/cached_views_effect.py

Makes a phantom with a weak effect, so that a loss would show, and trains T1w on it with small pictures: with every
number of views, and with several seeds, each of which is another split of the patients and another training. On two
idle cores it takes about ten minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from json import loads
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
import numpy as np

# What is heavy is imported where it is used: the processes that write the phantom import this file too.

ROOT = Path(__file__).parents[1]

TRAINING = {
    "image_size": 96,
    "transfer_batch_size": 16,
    "fine_tune_batch_size": 16,
    "transfer_learning_rate": 0.001,
    "fine_tune_learning_rate": 0.0001,
    "fine_tune_epochs": 2,
    "test_fraction": 0.3,
    "bootstrap_resamples": 50,
}
"""As ``make demo`` has them, but for the epochs; the figures' own intervals are not used here."""

STAGES = ("transfer", "fine_tune")

COLUMNS = (
    "views", "epochs", "stage 1, seconds", "of them validation", "AUC after stage 1", "against exact", "AUC in the end",
    "against exact",
)  # fmt: skip


@dataclass
class Trained:
    """One training.

    Args:
        epochs: Of stage ``transfer``.
        seconds: That it took.
        validation: The validation's part of them.
        auc: By stage; over the test patients.
    """

    epochs: int
    seconds: float
    validation: float
    auc: dict[str, float]


class Stopwatch:
    """The seconds between an engine's start and end, of all its runs until it is read.

    Args:
        engine: Of Ignite.
    """

    def __init__(self, engine: Any) -> None:
        from ignite.engine import Events

        self.seconds = 0.0
        self._started = 0.0
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._stop)

    def _start(self) -> None:
        self._started = perf_counter()

    def _stop(self) -> None:
        self.seconds += perf_counter() - self._started


@click.command()
@click.option("--patients", default=80, show_default=True, help="Of the phantom.")
@click.option("--effect", default=1.5, show_default=True, help="Of the phantom.")
@click.option(
    "--seeds", "n_seeds", default=5, show_default=True, help="Trainings with each number of views, 2 or more."
)
@click.option("--views", "views", multiple=True, default=(0, 1, 2, 4), show_default=True, help="0 first: the exact.")
@click.option("--epochs", default=12, show_default=True, help="Of stage transfer, at most.")
@click.option("--config", default=ROOT / "bundles" / "t1w.json", type=click.Path(path_type=Path), help="To train with.")
@click.option("--work", type=click.Path(path_type=Path), help="Where to work and leave everything  [nowhere]")
def main(
    patients: int, effect: float, n_seeds: int, views: tuple[int, ...], epochs: int, config: Path, work: Path | None
) -> None:
    """Print a row a number of views."""
    from mgmt_monai.phantom import write_phantom

    with TemporaryDirectory() as temporary:
        place = work or Path(temporary)
        data = place / "phantom"
        if not data.exists():
            write_phantom(data, n_patients=patients, effect=effect, seed=0)
        trained: dict[int, list[Trained]] = {n_views: [] for n_views in views}
        for seed in range(n_seeds):
            settings = {"seed": seed, "split_seed": seed, "manifest": str(place / f"manifest-{seed}.json")}
            for n_views, trainings in trained.items():
                trainings.append(train(config, data, place / "runs", {**settings, "transfer_views": n_views}, epochs))
        for line in table(trained):
            click.echo(line)


def train(config: Path, data: Path, output_dir: Path, settings: dict[str, Any], epochs: int) -> Trained:
    """Train once.

    Args:
        config: Of T1w.
        data: The phantom.
        output_dir: Of all trainings.
        settings: Of this one.
        epochs: Of stage ``transfer``, at most.

    Returns:
        What came of it.
    """
    from ignite.engine import Events
    from monai.bundle import ConfigWorkflow

    name = f"views-{settings['transfer_views']}-seed-{settings['seed']}"
    overrides = {
        **TRAINING,
        **settings,
        "transfer_epochs": epochs,
        "dataset_dir": str(data),
        "output_dir": str(output_dir),
        "run_name": name,
    }
    with redirect_stdout(sys.stderr):
        made = ConfigWorkflow(str(config), logging_file=False, run_id="training", workflow_type="train", **overrides)
        made.initialize()
        stage = made.parser.get_parsed_content("train::stage")
        whole = Stopwatch(stage.trainer)
        validation = Stopwatch(made.parser.get_parsed_content("validate::evaluator"))
        of_transfer: list[float] = []
        stage.trainer.add_event_handler(Events.COMPLETED, lambda: of_transfer.append(validation.seconds))
        made.run()
    metrics = loads((output_dir / "t1w" / name / "metrics.json").read_text(encoding="utf-8"))
    auc = {stage_name: float(metrics[stage_name]["test"]["patient"]["auc"]["value"]) for stage_name in STAGES}
    return Trained(stage.progress.epochs, whole.seconds, of_transfer[0], auc)


def table(trained: Mapping[int, Sequence[Trained]]) -> Iterator[str]:
    """The Markdown table.

    Args:
        trained: By number of views, the exact trainings first; one a seed, in the same order.

    Yields:
        Its lines.
    """
    exact, *_ = trained.values()
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---" * len(COLUMNS) + "|"
    for n_views, trainings in trained.items():
        cells = [
            "0 (exact)" if n_views == 0 else str(n_views),
            f"{np.mean([one.epochs for one in trainings]):.1f}",
            f"{np.mean([one.seconds for one in trainings]):.1f}",
            f"{np.mean([one.validation for one in trainings]):.1f}",
        ]
        for stage in STAGES:
            values = np.array([one.auc[stage] for one in trainings])
            change = values - np.array([one.auc[stage] for one in exact])
            cells += [with_interval(values, ".3f"), "-" if trainings is exact else with_interval(change, "+.3f")]
        yield "| " + " | ".join(cells) + " |"


def with_interval(values: np.ndarray, form: str) -> str:
    """The mean over seeds, with the 95 % interval of Student's t.

    Args:
        values: One a seed, 2 or more.
        form: Of a number.

    Returns:
        ``mean (low to high)``.
    """
    from scipy import stats

    mean, half = values.mean(), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{mean:{form}} ({mean - half:{form}} to {mean + half:{form}})"


if __name__ == "__main__":
    main()
