"""A made model that sees the hospital and no tumour, as predictions tables.

    python docs/two_hospitals.py DIR

Two hospitals have as many patients as the two largest of RSNA-MICCAI 2021, and as many of them methylated. DIR gets
``predictions.csv``, ``header_tags.csv`` (a control that knows nothing) and ``sites.csv``: for ``mgmt-monai evaluate``.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
from scipy.special import expit

from mgmt_monai.evaluation.predictions import write_patients

HOSPITALS = {"A": (153, 247), "B": (90, 207)}
"""Methylated patients, and all: ``docs/hospital_alone.py`` counts them."""

SEEN = 2.0
"""By so many standard deviations the model's logits differ between the hospitals, as between two scanners."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seed", default=1, show_default=True)
def main(folder: Path, seed: int) -> None:
    """Write the tables to DIR."""
    random = np.random.default_rng(seed)
    site = np.repeat(list(HOSPITALS), [n for _, n in HOSPITALS.values()])
    label = np.concatenate([(np.arange(n) < m).astype(int) for m, n in HOSPITALS.values()])
    rows = pd.DataFrame({
        "patient_id": [f"{number:05}" for number in random.permutation(len(site))], "modality": "T1w", "split": "test",
        "fold": 0, "seed": 0, "label": label, "n_slices": 20,
    })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    logits = {"predictions": SEEN * (site == "A") - SEEN / 2, "header_tags": np.zeros(len(site))}
    for name, mean in logits.items():
        probability = expit((mean + random.standard_normal(len(site))) / 4)
        write_patients(rows.assign(stage="network", probability=probability), folder / f"{name}.csv")
    pd.DataFrame({"patient_id": rows["patient_id"], "site": site}).to_csv(folder / "sites.csv", index=False)


if __name__ == "__main__":
    main()
