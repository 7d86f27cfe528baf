"""What late fusion reaches, and what the fair test says of it: ``python benchmarks/late_fusion.py``.

Scores alone, no images: each modality's model answers with a latent value whose effect is known, on `VALIDATION`
patients that the fusion is fitted on and `TEST` others. **Fixed before the seeds from 1000 on were run**: the rows, the
bound 0.05, the penalty (on seeds 0 to 99), and what is wanted: of four independent effects of 1 "adds" in 19 of 20; of
one effect a fusion that loses at most 0.02, and "adds" in 1 of 20 at most; of none, and of what is missing by the
label, nothing supported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from scipy.special import expit

from mgmt_monai.comparison.fusing import PRESENCE, TABLE, Fused, Training, fair_test, fuse
from mgmt_monai.evaluation.model_rows import pool_models
from mgmt_monai.evaluation.models import judged

MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")
VALIDATION, TEST, BOUND = 70, 300, 0.05

ROWS: Mapping[str, tuple[tuple[float, ...], tuple[float, float]]] = {
    "four independent effects of 1": ((1, 1, 1, 1), (0, 0)),
    "two of them": ((1, 1, 0, 0), (0, 0)),
    "one of them": ((0, 0, 1, 0), (0, 0)),
    "none": ((0, 0, 0, 0), (0, 0)),
    "four, 30 % of all series missing": ((1, 1, 1, 1), (0.3, 0.3)),
    "none, 10 % missing, of the methylated 50 %": ((0, 0, 0, 0), (0.1, 0.5)),
}
"""Effects by modality, and shares of series that unmethylated and methylated patients lack."""


def trainings(
    effects: tuple[float, ...],
    missing: tuple[float, float],
    seed: int,
    n_validation: int,
    n_test: int,
    control: bool = False,
) -> list[Training]:
    """As four trainings would be read, each too sure or not sure enough in its own way."""
    label = np.random.default_rng(seed).permutation(np.arange(n_validation + n_test) % 2)
    random = np.random.default_rng([seed, int(control)])
    split = np.where(np.arange(len(label)) < n_validation, "validation", "test")
    found = []
    for modality, effect in zip(MODALITIES, effects, strict=True):
        logits = ((label - 0.5) * effect + random.standard_normal(len(label))) * np.exp(random.normal(0, 0.4))
        there = random.random(len(label)) >= np.array(missing)[label]
        table = pd.DataFrame(
            {
                "patient_id": [f"{i:05d}" for i in range(len(label))], "modality": modality, "stage": "fine_tune",
                "split": split, "fold": 0, "seed": 0, "label": label, "probability": expit(logits), "n_slices": 6,
            }
        )[there].reset_index(drop=True)  # fmt: skip
        found.append(Training(Path(modality), modality, table, {"status": "finished"}, "none"))
    return found


def verdict(fused: Fused, control: Fused) -> str:
    """What `evaluate` says of the fusion.

    Its negative controls: four trainings that tell nothing, fused, and what is missing, where something is.
    """
    rows = {name: fused.tables[name] for name in (TABLE, PRESENCE) if name in fused.tables}
    rows["control"] = control.tables[TABLE].assign(modality="control")
    controls = [name for name in rows if name != TABLE]
    return str(judged(rows, pool_models(rows), controls=controls)[TABLE]["verdict"]["state"])


@click.command()
@click.option("--draws", default=200, show_default=True)
@click.option("--first-seed", default=1000, show_default=True, help="Tuned on 0 to 99.")
@click.option("--verdicts", default=40, show_default=True, help="Of the draws, those that are judged, too.")
def main(draws: int, first_seed: int, verdicts: int) -> None:
    """Print the table: mean AUCs, and how often the fair test says what."""
    click.echo(
        "| | fusion | best single | adds | does not add | cannot tell | verdicts |\n|---|---|---|---|---|---|---|"
    )
    for name, (effects, missing) in ROWS.items():
        tests: list[dict[str, Any]] = []
        states: Counter[str] = Counter()
        for number in range(draws):
            fused = fuse(trainings(effects, missing, first_seed + number, VALIDATION, TEST))
            tests.append(fair_test(fused, BOUND))
            if number < verdicts:
                nothing = trainings((0, 0, 0, 0), (0, 0), first_seed + number, VALIDATION, TEST, control=True)
                states[verdict(fused, fuse(nothing))] += 1
        means = [np.mean([test[key] for test in tests]) for key in ("fusion", "best_single")]
        shares = [
            np.mean([test["state"] == state for test in tests]) for state in ("adds", "does_not_add", "cannot_tell")
        ]
        told = ", ".join(f"{state} {n}" for state, n in states.most_common())
        click.echo(
            f"| {name} | {means[0]:.3f} | {means[1]:.3f} | " + " | ".join(f"{s:.1%}" for s in shares) + f" | {told} |"
        )


if __name__ == "__main__":
    main()
