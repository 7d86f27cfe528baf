"""The coded concepts of a structured report: from DICOM and SNOMED CT where they have one, else of this project.

docs/reference/dicom-results.md lists them; a code never changes its meaning, a new meaning gets a new code.
"""

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

SCHEME = "99MGMTMONAI"
"""The private coding scheme; the standard lets everyone have those that begin with 99 (PS3.16 section 8.2)."""


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=meaning)


def _dcm(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator="DCM", meaning=meaning)


TITLE = _dcm("126000", "Imaging Measurement Report")
METHYLATION = _own("MM003", "MGMT promoter methylation, research use only")
NOTICE = _own("MM002", "Notice on the use of this result")
STUDY_PROBABILITY = _own("MM010", "Probability of MGMT promoter methylation, mean over the models")
SERIES_PROBABILITY = _own("MM011", "Probability of MGMT promoter methylation, mean over the slices")
THRESHOLD = _own("MM012", "Called methylated from this probability on")
LOWEST = _own("MM013", "Lowest of the averaged probabilities, not a confidence limit")
HIGHEST = _own("MM014", "Highest of the averaged probabilities, not a confidence limit")
FUSED_PROBABILITY = _own("MM015", "Probability of MGMT promoter methylation, by a fusion of series")
ADDEND = _own("MM016", "What the series adds to the log-odds of the fusion")
SEQUENCE = _own("MM020", "MR sequence that the model reads")
SLICES_USED = _own("MM021", "Slices used, numbered from 1 along the series or that stack")
N_SLICES_USED = _own("MM022", "Number of slices used")
N_SLICES = _own("MM023", "Number of slices of the series, or of the stack it is shown as")
DISTANCE = _own("MM030", "Distance of the series from the training data")
DISTANCE_LIMIT = _own("MM031", "Distance beyond which the model abstains")
ABSTENTION = _own("MM032", "Reason for giving no probability")
CHECK = _own("MM033", "Finding of the data checks")
AUC = _own("MM040", "Area under the ROC curve of the model on its own test patients")
AUC_LOW = _own("MM041", "Lower limit of the confidence interval")
AUC_HIGH = _own("MM042", "Upper limit of the confidence interval")
N_TEST = _own("MM043", "Number of the model's own test patients")
TRAINED_ON = _own("MM044", "What the model was trained on")
RAISES = _own("MM050", "Raises the logit of MGMT promoter methylation")
LOWERS = _own("MM051", "Lowers the logit of MGMT promoter methylation")

SPATIAL = CodedConcept(value="309825002", scheme_designator="SCT", meaning="Spatial and Relational Concept")
PROCESSED_IMAGE = _dcm("121322", "Source image for image processing operation")
DEVICE = _dcm("121007", "Device")
ARTIFICIAL_INTELLIGENCE = _dcm("123110", "Artificial Intelligence")
PROCEDURE = CodedConcept(value="113091006", scheme_designator="SCT", meaning="Magnetic resonance imaging")
MEAN = CodedConcept(value="373098007", scheme_designator="SCT", meaning="Mean")
NO_UNITS = CodedConcept(value="1", scheme_designator="UCUM", meaning="no units")
ENGLISH = CodedConcept(value="en-GB", scheme_designator="RFC5646", meaning="English (United Kingdom)")

SEQUENCES = {
    "T1w": _dcm("110804", "T1 Weighted MR Signal Intensity"),
    "T1wCE": _own("MM101", "T1 Weighted MR Signal Intensity after contrast medium"),
    "T2w": _dcm("110805", "T2 Weighted MR Signal Intensity"),
    "FLAIR": _own("MM102", "Fluid Attenuated Inversion Recovery MR Signal Intensity"),
}
"""The value of `SEQUENCE` by modality."""


def scheme_identification() -> CodingSchemeIdentificationItem:
    """What the private scheme is called, for the object that uses it."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME, name="Concepts of mgmt-monai", responsible_organization="mgmt_monai"
    )
