"""A manifest alone tells whether the geometry goes with the label."""

import pytest
from made_records import made_manifest, made_patient, made_series

from mgmt_monai.cohort.doctor.geometry_facts import geometry_findings

CHANGES = {
    "image size": {"columns": 16},
    "plane": {"plane": "coronal"},
    "pixel spacing": {"pixel_spacing_mm": [1.0, 1.0]},
    "number of slices": {"slices": "1234567"},
}


def cohort(changed: dict[str, object], of_label: bool):
    """40 patients; what is changed is so in the methylated, or in every other pair."""
    patients = []
    for number in range(40):
        label = number % 2
        is_changed = label == 1 if of_label else number // 2 % 2 == 0
        series = made_series(**{"slices": "123", **(changed if is_changed else {})})
        patients.append(made_patient(f"{number:05d}", label=label, T1w=series))
    return made_manifest(*patients)


@pytest.mark.parametrize("fact", CHANGES)
def test_geometry_that_goes_with_the_label_is_told(fact: str) -> None:
    (finding,) = geometry_findings(cohort(CHANGES[fact], of_label=True))
    assert (finding.id, finding.modality) == ("D043", "T1w")
    assert f"expected {fact} alike in both labels" in finding.text


@pytest.mark.parametrize("fact", CHANGES)
def test_geometry_that_is_mixed_in_both_labels_is_not(fact: str) -> None:
    assert geometry_findings(cohort(CHANGES[fact], of_label=False)) == []
