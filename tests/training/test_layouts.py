"""A training has the same outcome in whichever layout its heads lie."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from phantom_runs import train
from written_layouts import LAYOUTS, write_layout

TABLES = ("predictions.csv", "slice_predictions.csv", "epochs.csv")


def table(path: Path) -> pd.DataFrame:
    """Without the patients' names, which each layout has its own way, and what is measured of the machine."""
    rows = pd.read_csv(path)
    rows = rows.drop(columns=[name for name in rows if name == "patient_id" or "seconds" in name])
    return rows.sort_values(list(rows)).reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_training_is_that_of_kaggles_layout_to_the_bit(layout, finished_run, phantom_dir, tmp_path):
    with (phantom_dir / "train_labels.csv").open(newline="") as file:
        labels = {row["BraTS21ID"]: int(row["MGMT_value"]) for row in csv.DictReader(file)}
    write_layout(layout, phantom_dir, labels, tmp_path / "data")
    run = train(tmp_path / "data", tmp_path / "runs", seed=3)
    for name in TABLES:
        pd.testing.assert_frame_equal(table(run / name), table(finished_run / name), check_exact=True)
