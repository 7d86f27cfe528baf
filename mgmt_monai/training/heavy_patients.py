"""Patients who hold a large part of the training's slices."""

from collections import Counter

from mgmt_monai.slices.dataset import SliceDataset

MOST_SHARE = 0.05
"""Of the slices, held by one patient. Of 20 patients each holds as much on average."""

MOST_OF_EQUAL_SHARE = 2
"""Times the equal share, where there are fewer than 20 patients and one of them holds more than 5 % in any case."""


def heavy_patients(slices: SliceDataset) -> dict[str, float]:
    """Who holds more than 5 % of the slices; of fewer than 20 patients, more than twice the equal share.

    Returns:
        Share of the slices by patient, the largest first.
    """
    held: Counter[str] = Counter()
    for patient, n in zip(slices.patient_ids, slices.slice_counts, strict=True):
        held[patient] += n
    equal = 1 / len(held)
    most = MOST_SHARE if equal <= MOST_SHARE else MOST_OF_EQUAL_SHARE * equal
    shares = {patient: n / held.total() for patient, n in held.most_common()}
    return {patient: share for patient, share in shares.items() if share > most}
