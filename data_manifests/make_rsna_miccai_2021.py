"""Make the committed split of RSNA-MICCAI 2021 from its label table: python make_rsna_miccai_2021.py LABELS_CSV."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mgmt_monai.cohort.splits.folds import kfold
from mgmt_monai.cohort.splits.holdout import ListedSplit, holdout_split
from mgmt_monai.cohort.splits.split_table import format_split
from mgmt_monai.cohort.tables.exclusions import read_exclusions
from mgmt_monai.cohort.tables.labels import read_labels

OUT = Path(__file__).with_name("rsna_miccai_2021.csv")

TEST_FRACTION = 0.1
TRAIN_FRACTION = 0.85
N_FOLDS = 5


def secret_seed(labels: Mapping[str, int]) -> int:
    """A seed that only who has the labels can know.

    With a seed that anyone knows, a stratified split gives away most of the labels it was stratified by.

    Args:
        labels: ``{patient_id: label}``.
    """
    text = "\n".join(f"{patient},{label}" for patient, label in sorted(labels.items()))
    return int(hashlib.sha256(text.encode("ascii")).hexdigest()[:8], 16)


def split_table(labels_csv: Path) -> str:
    """The table of the split, without labels.

    Args:
        labels_csv: The challenge's ``train_labels.csv``.
    """
    labels = read_labels(labels_csv).labels
    reasons = read_exclusions("default")
    excluded = {patient: reasons[patient] for patient in labels if patient in reasons}
    kept = {patient: label for patient, label in labels.items() if patient not in excluded}
    seed = secret_seed(labels)
    split = holdout_split(kept, TEST_FRACTION, TRAIN_FRACTION, seed)
    folds = kfold(kept, N_FOLDS, n_repeats=1, seed=seed)
    return format_split(ListedSplit(split, {patient: of[0] for patient, of in folds.items()}, excluded))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table.

    Args:
        arguments: Of the command line; None for those the script was called with.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels_csv", type=Path, help="train_labels.csv of RSNA-MICCAI 2021, from Kaggle")
    parser.add_argument("--out", type=Path, default=OUT, help="where the table goes (default: beside this script)")
    options = parser.parse_args(arguments)
    options.out.write_text(split_table(options.labels_csv), encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
