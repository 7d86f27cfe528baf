"""What can be wrong with a cohort: each kind has an identifier, a severity, and a page in the documentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from mgmt_monai.errors import printable

#: The longest text of a finding. A damaged header's value may fill 16 KiB; what comes after this tells nobody more.
TEXT_LIMIT = 1000


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """The series cannot be used, or the result would be worthless."""
    WARNING = "warning"
    """Usable, but the result may suffer."""
    NOTE = "note"
    """To be known."""


@dataclass(frozen=True)
class Kind:
    """One kind of finding.

    Args:
        id: ``D`` and three digits; never given to another kind.
        severity: How much it matters.
        title: A few words, lower case, that end the sentence "this is a case of ...".
        remedy: What to do about it, one sentence without its full stop.
    """

    id: str
    severity: Severity
    title: str
    remedy: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

#: Every kind by its identifier. D00x-D01x: files and geometry; D02x: pixels; D03x: patients; D04x: the cohort; D05x:
#: files and geometry again; D06x: the cohort again.
KINDS = {
    kind.id: kind
    for kind in (
        Kind("D001", _E, "unreadable file", "Replace the file or leave the patient out"),
        Kind("D002", _E, "truncated file", "Copy or export the file again"),
        Kind("D003", _E, "empty series", "Restore the files or leave the patient out"),
        Kind("D004", _E, "not a grey-scale slice", "Take the file out of the series"),
        Kind("D005", _E, "mixed image sizes", "Keep the files of one series here"),
        Kind("D006", _E, "several series in one folder", "Keep the files of one series here"),
        Kind("D007", _E, "several echoes in one folder", "Keep the files of one echo here"),
        Kind("D008", _E, "mixed orientations", "Keep the files of one series here"),
        Kind("D009", _E, "duplicate slices", "Keep one of each"),
        Kind("D010", _E, "unknown slice order", "Restore the tag or leave the patient out"),
        Kind("D011", _W, "missing slices", "Restore the slices, or record that you accept it"),
        Kind("D012", _W, "uneven slice spacing", "Look at the acquisition; a reformatted plane would be distorted"),
        Kind("D013", _W, "oblique plane", "Reformat with --plane, or leave the patient out"),
        Kind("D014", _W, "flipped orientation", "Reformat with --plane, which turns every patient the same way"),
        Kind("D015", _W, "few slices", "Check that the series is whole"),
        Kind("D016", _N, "phase images beside the magnitude", "Nothing needs to be done"),
        Kind("D017", _W, "wrong or missing Modality", "Check where the series comes from"),
        Kind("D018", _W, "tags of another sequence",
             "Compare the images with the name, and move the series if it is misnamed"),
        Kind("D019", _E, "not a file", "Restore the file or remove the entry"),
        Kind("D020", _W, "blank slices", "Look at the pictures and export the series again"),
        Kind("D021", _E, "constant series", "Export the series again or leave the patient out"),
        Kind("D022", _W, "clipped intensities", "Export the series with its full range"),
        Kind("D023", _W, "8-bit data", "Get the original files"),
        Kind("D024", _W, "lossy compression", "Get the original files"),
        Kind("D025", _W, "varying rescale", "Check the conversion that wrote these files"),
        Kind("D026", _E, "undecodable pixels", "Export the file again or leave the patient out"),
        Kind("D027", _W, "bits above Bits Stored",
             "Look at the picture, and export the series again where bright tissue is dark"),
        Kind("D030", _W, "missing modality", "Add the series, or leave the patient out for it"),
        Kind("D031", _E, "no label", "Add the label or exclude the patient"),
        Kind("D032", _W, "label without images", "Restore the images or remove the row"),
        Kind("D033", _W, "tags of another patient", "Check where the series comes from"),
        Kind("D034", _N, "several series of one modality", "Look at the choice, and take another one in series.csv"),
        Kind("D035", _W, "no series of a known modality", "Check the names, or name the series in a CSV layout"),
        Kind("D036", _W, "one series under two modalities", "Find out which modality it is and take the copy away"),
        Kind("D037", _N, "series of no known modality",
             "Nothing needs to be done unless it is one of the four modalities: then name it in a CSV layout"),
        Kind("D038", _W, "contrast agent in doubt",
             "Look at the pictures of the series, and name the right ones in series.csv"),
        Kind("D040", _E, "identical images under two patients",
             "Find out whose images they are and leave one of the patients out"),
        Kind("D041", _E, "nearly identical images under two patients",
             "Look at both; leave one out, or record in the ignore list that they are different patients"),
        Kind("D042", _E, "one study under two patients",
             "Find out whose study it is and leave one of the patients out"),
        Kind("D043", _W, "a tag that goes with the label",
             "Balance or stratify by it, and compare with the negative controls"),
        Kind("D044", _W, "identifying tags",
             "De-identify the files before sharing them; this product never copies these values"),
        Kind("D045", _E, "one person under two names", "Leave one of them out, or keep both in one split"),
        Kind("D046", _E, "files changed since the manifest", "Restore the files, or build the manifest again"),
        Kind("D047", _E, "files of another patient", "Find out whose images these are and put them where they belong"),
        Kind("D048", _E, "two people under one patient",
             "Give each person a PatientID of their own, or leave the patient out"),
        Kind("D049", _E, "file not fetched", "Fetch it with 'git lfs pull' or 'datalad get', and look again"),
        Kind("D050", _W, "two places in one NIfTI file",
             "Find out which is right and write it into both, or convert the original files again"),
        Kind("D051", _W, "images that are passed over",
             "Rename or convert the files as the layout has them, or name them in a CSV layout"),
        Kind("D052", _N, "unusual background",
             "Nothing needs to be done unless the picture shows the outside of the head bright"),
        Kind("D053", _N, "a series UID for each slice", "Nothing needs to be done"),
        Kind("D054", _N, "acquired plane not known", "Read every patient in one plane with --plane, or write dim_info"),
        Kind("D055", _W, "geometry in doubt",
             "Check that the slices are of one acquisition, and the headers the scanner's"),
        Kind("D056", _W, "alternating slices", "Look at the pictures: of two acquisitions, keep one here"),
        Kind("D060", _N, "mixed shapes",
             "Keep the aspect, compare with the negative control of slice count and spacing, and look for D043"),
        Kind("D061", _W, "two patients who may be one",
             "Find out; leave one out if they are one, or record in the ignore list that they are two"),
        Kind("D062", _N, "skull not told", "Look at the study"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Args:
        id: Of its kind, a key of `KINDS`.
        patient_id: Whose, or "" for the whole cohort.
        modality: Which series of the patient, or "" for the patient.
        path: File or folder, as it was reached, or "".
        text: What was expected and what was found, without a full stop: "expected one slice a position, found a.dcm
            and b.dcm at 12.00 mm". Made `printable`, and cut at `TEXT_LIMIT`.
        others: Other patients it concerns.
    """

    id: str
    patient_id: str
    modality: str
    path: str
    text: str
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        text = printable(self.text)
        object.__setattr__(self, "text", text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 3]}...")

    @property
    def kind(self) -> Kind:
        """Severity, title and remedy."""
        return KINDS[self.id]

    def under(self, data_dir: Path) -> Finding:
        """The same finding with its path below a data directory, as a reader can open it."""
        return replace(self, path=str(Path(data_dir) / self.path)) if self.path else self

    @property
    def line(self) -> str:
        """The finding as one line of text.

        Example:
            >>> Finding("D003", "00042", "T1w", "train/00042/T1w", "expected DICOM files, found none").line
            'patient 00042, T1w: train/00042/T1w: expected DICOM files, found none: empty series (D003). Restore the files or leave the patient out.'
        """  # noqa: E501 (a doctest shows the line whole)
        who = f"patient {self.patient_id}" if self.patient_id else "the cohort"
        where = ", ".join(part for part in (who, self.modality) if part)
        path = f" {self.path}:" if self.path else ""
        return printable(f"{where}:{path} {self.text}: {self.kind.title} ({self.id}). {self.kind.remedy}.")


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s unless there is one.

    Example:
        >>> counted(1, "slice"), counted(2, "slice")
        ('1 slice', '2 slices')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
