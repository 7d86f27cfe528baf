"""NIfTI files whose names say whose they are, of which visit, and of which modality: BraTS, UPENN-GBM, UCSF-PDGM."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts.found import Found, FoundSeries
from mgmt_monai.cohort.layouts.tree import walk
from mgmt_monai.cohort.series import is_nifti

#: Folders below the data directory in which files are looked for: collection, kind of image, patient.
MAX_DEPTH = 3


class Scan(NamedTuple):
    """What a file's name says.

    Args:
        patient_id: Whose.
        visit: The one with the lowest number is the earliest.
        modality: One of ``MODALITIES``, or "" for a segmentation.
        said: The part of the name that says the modality.
        is_copy: A processed copy, read only where there is no other.
    """

    patient_id: str
    visit: str
    modality: str
    said: str
    is_copy: bool


@dataclass(eq=False)
class NamedLayout:
    """A collection whose files' names say all, in upper or lower case.

    Args:
        NAME: Of the layout.
        EXPECTS: For people.
        cases: Patterns of what a name begins with: ``patient``, ``visit``.
        behind: Pattern of what follows in a file's: the modality as ``said``, what a processed copy has as ``copy``.
        modalities: By what is said, in small letters; "" for none.
        labels: Pattern of the label table's name; the last of several is the newest.
        labels_name: Where there is none.
        spelled: How a patient is spelled.
    """

    NAME: str
    EXPECTS: str
    cases: tuple[str, ...]
    behind: str
    modalities: Mapping[str, str]
    labels: str
    labels_name: str
    spelled: Callable[[str], str] = str

    def recognises(self, data_dir: Path) -> bool:
        """Whether a file has such a name."""
        return bool(named_as(data_dir, (self,)))

    def labels_file(self, data_dir: Path) -> Path:
        """The label table in the data directory, the newest version of several by its name."""
        return max(data_dir.glob(self.labels), default=data_dir / self.labels_name)

    def parse(self, name: str) -> Scan | None:
        """What a file's name says; None for a name of another kind."""
        match = self._match(name, self.behind + r"\.nii(?:\.gz)?")
        if match is None:
            return None
        groups = match.groupdict()
        said = name[match.start("said") - 1 : match.end(match.lastgroup or "said")]
        modality = self.modalities[groups["said"].lower()]
        return Scan(
            self.spelled(groups["patient"]), groups.get("visit") or "", modality, said, bool(groups.get("copy"))
        )

    def find(self, data_dir: Path) -> Found:
        """The series of each patient's first visit; segmentations are passed over.

        Args:
            data_dir: The cohort's folder; the files lie in it or up to three folders deep.
        """
        data_dir = Path(data_dir)
        found = Found([], set())
        scans: dict[str, dict[str, dict[str, list[tuple[Path, Scan]]]]] = {}
        for directory, files in walk(data_dir, found.findings, MAX_DEPTH):
            owner = self._match(directory.name, "(?:_nifti)?")
            if owner is not None:  # so that a patient without files is not overlooked
                found.patients.add(self.spelled(owner["patient"]))
            for name in files:
                scan = self.parse(name) if is_nifti(name) else None
                if scan is None:
                    continue
                if owner is not None and scan.patient_id != self.spelled(owner["patient"]):
                    whose, where = self.spelled(owner["patient"]), str(directory / name)
                    text = f"expected files named {whose}, found {name}: it is not read"
                    found.findings.append(Finding("D047", whose, "", where, text, (scan.patient_id,)))
                    continue
                found.patients.add(scan.patient_id)
                if scan.modality:
                    visits = scans.setdefault(scan.patient_id, {})
                    visits.setdefault(scan.visit, {}).setdefault(scan.modality, []).append((directory / name, scan))
        for patient_id in sorted(scans):
            visits = scans[patient_id]
            first = min(visits, key=lambda visit: (int(re.sub(r"\D", "", visit) or 0), visit))
            if len(visits) > 1:
                others = ", ".join(sorted(set(visits) - {first}))
                told = f"the first, {first}," if first else "the first"
                text = f"expected one visit, found {len(visits)}; took {told} and left out {others}"
                found.findings.append(Finding("D034", patient_id, "", "", text))
            for modality, copies in sorted(visits[first].items()):
                least = min(scan.is_copy for _, scan in copies)
                paths = [(path, scan.said) for path, scan in copies if scan.is_copy == least]
                path, said = min(paths, key=lambda entry: (len(entry[0].parts), entry[0].as_posix()))
                if len(paths) > 1:
                    others = ", ".join(
                        other.relative_to(data_dir).as_posix() for other, _ in sorted(paths) if other != path
                    )
                    text = f"expected one file, found {len(paths)}; took this one and left out {others}"
                    found.findings.append(Finding("D034", patient_id, modality, str(path), text))
                found.series.append(FoundSeries(patient_id, modality, path.parent, (path.name,), f"file name {said}"))
        return found

    def _match(self, name: str, behind: str) -> re.Match[str] | None:
        patterns = (re.compile(case + behind, re.IGNORECASE) for case in self.cases)
        return next((match for pattern in patterns if (match := pattern.fullmatch(name))), None)


def named_as(data_dir: Path, layouts: Iterable[NamedLayout]) -> set[str]:
    """By which of several conventions files of the first three levels are named, in one walk."""
    left = {layout.NAME: layout for layout in layouts}
    found: set[str] = set()
    for _, files in walk(data_dir, [], MAX_DEPTH):
        for name in filter(is_nifti, files):
            found |= {convention for convention in left if convention not in found and left[convention].parse(name)}
        if len(found) == len(left):
            break
    return found


BRATS = NamedLayout(
    NAME="brats-nifti",
    EXPECTS="BraTS2021_00000/BraTS2021_00000_{flair,t1,t1ce,t2}.nii.gz or "
    "BraTS-GLI-00000-000/BraTS-GLI-00000-000-{t2f,t1n,t1c,t2w}.nii.gz",
    # 2021's number alone is the patient's name, so that RSNA-MICCAI 2021's label table (BraTS21ID) fits.
    cases=(r"BraTS2021_(?P<patient>\d+)", r"(?P<patient>BraTS-[A-Z]{2,4}-\d+)-(?P<visit>\d+)"),
    # Either year's word in both spellings: copies are renamed by hand.
    behind=r"[-_](?P<said>flair|t1ce|t1gd|t1c|t1n|t1|t2f|t2w|t2|seg)",
    modalities={
        "flair": "FLAIR", "t1": "T1w", "t1ce": "T1wCE", "t2": "T2w",
        "t2f": "FLAIR", "t1n": "T1w", "t1c": "T1wCE", "t1gd": "T1wCE", "t2w": "T2w", "seg": "",
    },
    labels="train_labels.csv",
    labels_name="train_labels.csv",
)  # fmt: skip

UPENN_GBM = NamedLayout(
    NAME="upenn-gbm",
    EXPECTS="images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_{T1,T1GD,T2,FLAIR}.nii.gz",
    # The two digits are the visit: 11 before surgery, 21 a follow-up.
    cases=(r"(?P<patient>UPENN-GBM-\d+)_(?P<visit>\d\d)",),
    # T1CE and T1C are not the collection's words, but plain in copies that were renamed by hand.
    behind="_(?P<said>FLAIR|T1|T1GD|T1CE|T1C|T2)",
    modalities={"flair": "FLAIR", "t1": "T1w", "t1gd": "T1wCE", "t1ce": "T1wCE", "t1c": "T1wCE", "t2": "T2w"},
    labels="UPENN-GBM_clinical_info*.csv",
    labels_name="UPENN-GBM_clinical_info_v2.1.csv",
    spelled=str.upper,
)

UCSF_PDGM = NamedLayout(
    NAME="ucsf-pdgm",
    EXPECTS="UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{T1,T1c,T2,FLAIR}[_bias].nii.gz",
    # FU003d is a follow-up, 3 days later; the first examination has none.
    cases=(r"(?P<patient>UCSF-PDGM-\d+)(?:_(?P<visit>FU\d+d))?",),
    behind="_(?P<said>FLAIR|T1|T1c|T2)(?P<copy>_bias)?",
    modalities={"flair": "FLAIR", "t1": "T1w", "t1c": "T1wCE", "t2": "T2w"},
    labels="UCSF-PDGM-metadata*.csv",
    labels_name="UCSF-PDGM-metadata_v5.csv",
    spelled=str.upper,
)
