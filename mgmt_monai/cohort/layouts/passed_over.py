"""Every file of a data directory accounted for: read, of a series that is left out, or passed over, and why."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mgmt_monai.cohort.files.unfetched import is_placeholder, stands_for, unfetched
from mgmt_monai.cohort.findings import counted
from mgmt_monai.cohort.tables.aliases import normalised

NIFTI, OTHER_IMAGE, DICOM, ARCHIVE = "NIfTI files", "images of another format", "DICOM files", "archives"
SYSTEM, HIDDEN, UNKNOWN, TEXT = "leavings of a system", "hidden files", "files of an unknown kind", "text files"

#: What may be images of a patient.
IMAGES = (NIFTI, OTHER_IMAGE, DICOM, ARCHIVE)

#: Names of such files that are kept; more are only counted.
NAMES_LIMIT = 100_000

_LEAVINGS = re.compile(
    r".*(recycle|trash).*|\._.*|\.nfs.*|~\$.*|\.~lock.*|@gmt-\d.*|found\.\d{3}|_gsdata_|@eadir|[#~]snapshot"
    r"|@recently-snapshot|@sharebin|@tmp|lost\+found|system volume information|(eh)?thumbs(_vista)?\.db|desktop\.ini"
    r"|\.ds_store|__macosx|\.apdisk|\.spotlight-v100|\.fseventsd|\.temporaryitems|temporary items"
    r"|\.documentrevisions-v100|\.directory|thevolumesettingsfolder|icon\r|__pycache__",
    flags=re.IGNORECASE | re.DOTALL,
)
_OWN = (".mgmt-monai-scan.sqlite", "manifest.json", "series.csv")
_SUFFIXES = {
    suffix: kind
    for kind, suffixes in {
        NIFTI: ".nii .nii.gz",
        OTHER_IMAGE: ".hdr .mgz .mgh .nrrd .nhdr .mha .mhd .mnc .mif .par .rec .head .brik .bz",
        ARCHIVE: ".zip .tar .tgz .gz .bz2 .xz .7z .rar .zst",
        "pictures": ".png .jpg .jpeg .gif .bmp .tif .tiff .svg .webp",
        "documents": ".pdf .doc .docx .ppt .pptx .odt .rtf",
        "tables and side-cars": ".csv .tsv .xls .xlsx .ods .json .xml .yaml .yml .bval .bvec .mat .sql .sqlite .db",
        TEXT: ".txt .md .rst .log .html .htm .ini .cfg .toml",
        "programs": ".py .sh .bat .exe .dll .so .jar .js .css .inf .class .ipynb .pyc .m .r",
    }.items()
    for suffix in suffixes.split()
}


@dataclass
class FileCount:
    """How many files of a data directory are read, left out and passed over. Its own files count nowhere.

    Args:
        n_read: Of series that are taken.
        n_left_out: Of series that are told as left out, and files that are told as damaged.
        kinds: By kind of what is passed over: how many, and the first one.
        images: Of those that may be images, by folder: kind, names.
        unfetched: Those that stand for what may be images and are not here.
    """

    n_read: int = 0
    n_left_out: int = 0
    kinds: dict[str, tuple[int, Path]] = field(default_factory=dict)
    images: dict[Path, list[tuple[str, str]]] = field(default_factory=dict)
    unfetched: list[Path] = field(default_factory=list)
    _n_names: int = 0

    def pass_over(self, kind: str, path: Path, n: int = 1) -> None:
        """Count what is not read.

        Args:
            kind: What it is, in the plural.
            path: The file, or a folder.
            n: How many files.
        """
        if n:
            before, first = self.kinds.get(kind, (0, path))
            self.kinds[kind] = (before + n, first)
        if (name := stands_for(path.name)) and kind_by_name(name) in (*IMAGES, UNKNOWN) and unfetched(path):
            self.unfetched.append(path)
        if kind in IMAGES and self._n_names < NAMES_LIMIT:
            self._n_names += 1
            self.images.setdefault(path.parent, []).append((kind, path.name))

    @property
    def n_passed_over(self) -> int:
        """How many files are passed over."""
        return sum(n for n, _ in self.kinds.values())

    def of_patient(self, patient_id: str, data_dir: Path) -> str:
        """The passed-over images that bear a patient's name, in words; "" without any."""
        wanted, prefix = normalised(patient_id), patient_id.strip().casefold()
        named = []
        for folder, files in self.images.items():
            in_folder = wanted in {normalised(part) for part in _below(folder, data_dir).parts}
            named += [folder / name for _, name in files if in_folder or _begins(name.casefold(), prefix)]
        example = _below(named[0], data_dir).as_posix() if named else ""
        return f"{len(named)} of that name passed over, such as {example}" if named else ""

    def to_json(self, data_dir: Path) -> dict[str, Any]:
        """As report.json has it: what may be images first, then the most frequent; paths below the data directory."""
        return {
            "found": self.n_read + self.n_left_out + self.n_passed_over,
            "read": self.n_read,
            "left_out": self.n_left_out,
            "passed_over": [
                {"kind": kind, "n": n, "example": _below(path, data_dir).as_posix()}
                for kind, (n, path) in sorted(
                    self.kinds.items(), key=lambda item: (item[0] not in IMAGES, -item[1][0], item[0])
                )
            ],
        }


def amount(n: int, kind: str) -> str:
    """How many files of a kind, in words.

    Args:
        n: Their number.
        kind: As `FileCount.kinds` has it, in the plural.

    Example:
        >>> amount(2, "archives"), amount(1, "archives"), amount(1, "leavings of a system")
        ('2 archives', '1 archive', '1 leaving of a system')
    """
    if n == 1:
        head, of, rest = kind.replace(" and ", " or ").partition(" of ")
        kind = re.sub(r"s\b", "", head) + of + rest
    return f"{n} {kind}"


def files_line(files: Mapping[str, Any]) -> str:
    """The account in one line.

    Args:
        files: As `FileCount.to_json` has it.
    """
    kinds = in_kinds(files["passed_over"])
    left_out = f", {files['left_out']} left out" if files["left_out"] else ""
    passed = f", passed over: {kinds}" if kinds else ", none passed over"
    return f"{counted(files['found'], 'file')}: {files['read']} read{left_out}{passed}"


def in_kinds(passed_over: Iterable[Mapping[str, Any]]) -> str:
    """Items of `FileCount.to_json` in one line."""
    return ", ".join(f"{amount(item['n'], item['kind'])} (such as {item['example']})" for item in passed_over)


def is_leaving(name: str) -> bool:
    """Whether an operating system or a file server has left this beside the data.

    Args:
        name: Of a file or folder.
    """
    return _LEAVINGS.fullmatch(name) is not None


def is_passed_over(name: str) -> bool:
    """Whether a file or folder is hidden or a system's leaving; what stands for a file that is not here is neither.

    Args:
        name: Of a file or folder.
    """
    return (name.startswith(".") and not is_placeholder(name)) or is_leaving(name)


def is_own(name: str) -> bool:
    """Whether this program has written the file."""
    return name.startswith(_OWN)


def kind_by_name(name: str) -> str:
    """What a file is by its name's ending; `UNKNOWN` where that says nothing."""
    lower = name.lower()
    suffix = ".nii.gz" if lower.endswith(".nii.gz") else lower[lower.rfind(".") :]
    return _SUFFIXES.get(suffix, UNKNOWN)


def count_files(
    count: FileCount,
    walked: Iterable[tuple[Path, list[str]]],
    read: Iterable[tuple[Path, tuple[str, ...] | None]],
    told: Iterable[Path],
) -> None:
    """Count every file of a layout that names its files: of series, or passed over.

    Args:
        count: Gets them.
        walked: Every folder and the files in it.
        read: Folder and files of each series, None for all that are visible in it.
        told: Files that findings tell of.
    """
    whole: set[Path] = set()
    files: dict[Path, set[str]] = {}
    for directory, names in read:
        if names is None:
            whole.add(directory)
        for name in names or ():
            path = directory / name
            files.setdefault(path.parent, set()).add(path.name)
    faults = set(told)
    for directory, present in walked:
        if directory in whole:
            count.n_read += len(present)
            continue
        own = files.get(directory, set())
        for name in present:
            if name in own:
                count.n_read += 1
            elif directory / name in faults:
                count.n_left_out += 1
            elif not is_own(name):
                count.pass_over(_kind(directory / name), directory / name)


def count_hidden(entry: os.DirEntry[str], count: FileCount) -> None:
    """Count a hidden entry, or a system's leaving, with all that is in it.

    Args:
        entry: A file or folder.
        count: Gets it.
    """
    if is_own(entry.name):
        return
    kind = SYSTEM if is_leaving(entry.name) else HIDDEN
    if entry.is_dir(follow_symlinks=False):
        count.pass_over(kind, Path(entry.path), sum(len(files) for _, _, files in os.walk(entry.path)))
    else:
        count.pass_over(kind, Path(entry.path))


def _kind(path: Path) -> str:
    kind = kind_by_name(path.name)
    if kind in IMAGES:
        return kind
    try:
        with path.open("rb") as stream:
            first = stream.read(512)
    except OSError:  # it is passed over in any case
        return kind
    if first[128:132] == b"DICM":
        return DICOM
    if kind != UNKNOWN:
        return kind
    return TEXT if first and all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in first) else UNKNOWN


def _begins(name: str, prefix: str) -> bool:
    return bool(prefix) and name.startswith(prefix) and not name[len(prefix) :][:1].isalnum()


def _below(path: Path, data_dir: Path) -> Path:
    return path.relative_to(data_dir) if path.is_relative_to(data_dir) else path
