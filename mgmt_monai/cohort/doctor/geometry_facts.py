"""What a manifest alone tells that may go with the label: shape, spacing, plane and number of a modality's slices."""

from mgmt_monai.cohort.doctor.checks import known_pixel_spacing_mm
from mgmt_monai.cohort.doctor.confounders import Fact, confounder_findings, find_confounders
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.series import MODALITIES


def geometry_findings(manifest: Manifest) -> list[Finding]:
    """D043 for what of the geometry goes with the label, without a look at a file.

    The doctor tests the same and the tags; who builds a manifest without it should not train on such a cohort unwarned.

    Args:
        manifest: Of patients with labels.
    """
    facts = []
    for modality in MODALITIES:
        records = {p.patient_id: p.series[modality] for p in manifest.patients if modality in p.series}
        spacing = {p: pair for p, of in records.items() if (pair := known_pixel_spacing_mm(of))}
        facts += [
            Fact("image size", modality, {p: f"{of.rows} x {of.columns}" for p, of in records.items()}),
            Fact("plane", modality, {p: of.plane for p, of in records.items()}),
            Fact("pixel spacing", modality, {p: f"{pair[0]:.6g}" for p, pair in spacing.items()}, True),
            Fact("number of slices", modality, {p: str(of.n_slices) for p, of in records.items()}, True),
        ]
    return confounder_findings(find_confounders(facts, {p.patient_id: p.label for p in manifest.patients}))
