"""One person's names: RSNA-MICCAI's, those of the BraTS challenges, and those of the public cohorts they come from."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.table import Table, is_unknown, names, one_form, read_table

NOT_IN_MAPPING = "not in the mapping"
"""Where `cohort_rows` counts patients that no row of the mapping names."""

logger = logging.getLogger(__name__)

_NOT_AT_TCIA = "new-not-previously-in-tcia"  # TCIA's mapping where others have no name
_PRIVATE = re.compile(r"private collection|priortobrats2017|collection \d+|.*_additional", re.IGNORECASE)
_SPELLING = re.compile(r"\(.*?\)|[\s_-]")
_BRATS_2021 = re.compile(r"brats2021_\d{5}")
_UCSF_COLUMNS = ("ID", "BraTS21 ID")
_BRATS_YEAR = re.compile(r"brats ?20\d\d", re.IGNORECASE)

# Each: what a name looks like, and what stays of it. See `normalised` for where each is from.
_EQUIVALENCES = (
    (re.compile(r"(\d{5})"), r"brats2021_\1"),
    (re.compile(r"(upenn-gbm-\d{5})_\d{2}"), r"\1"),
    (re.compile(r"(brats-gli-\d{5})-\d{3}"), r"\1"),
    (re.compile(r"ucsf-pdgm-0*(\d+)(?:_fu\d+d)?(?:_nifti)?"), r"ucsf-pdgm-\1"),
)


def normalised(name: str) -> str:
    """What two spellings of one name have in common.

    Args:
        name: As a folder, a file or a table has it.

    Returns:
        Lower case, without spaces around it, in NFC, and reduced to the person where the scheme of names is known:

        - ``00495`` is ``BraTS2021_00495``: RSNA-MICCAI's folders are the challenge's cases by their number alone.
          Source: Baid et al. 2021, arXiv:2107.02314 (one data set, two tasks); 577 of the 585 labelled numbers are in
          the BraTS 2021 table, the other 8 are the cases that only the MGMT task has.
        - ``UPENN-GBM-00001_11`` is ``UPENN-GBM-00001``: ``_11`` is the scan before the operation, ``_21`` a later one.
          Source: Bakas et al. 2022, Scientific Data 9:453, and the collection's clinical table.
        - ``BraTS-GLI-00495-000`` is ``BraTS-GLI-00495``: the last three digits number the time point. Source: the
          data description of BraTS 2023. It is *not* taken for ``BraTS2021_00495``: see
          ``docs/explanation/public-cohorts.md``.
        - ``UCSF-PDGM-0004``, ``UCSF-PDGM-004`` and ``UCSF-PDGM-0004_FU003d`` are one: folders have four digits, the
          table three, and ``_FU`` is a follow-up. Source: the collection's page and table at TCIA.

    Example:
        >>> normalised("00495") == normalised("BraTS2021_00495")
        True
        >>> normalised(" UPENN-GBM-00001_11")
        'upenn-gbm-00001'
    """
    text = one_form(name.strip().lower())
    for scheme, kept in _EQUIVALENCES:
        if found := scheme.fullmatch(text):
            return found.expand(kept)
    return text


@dataclass(frozen=True)
class _Row:
    """What one row of a table says about one person."""

    names: tuple[str, ...]
    cohort: str = ""
    site: str = ""


class Aliases:
    """Who is who: for any known name its person, and that person's names, public cohort and site.

    Args:
        rows: The names of one person as written (rows without any are passed over), the cohort and the site, ""
            where unknown. Rows that share a name, compared by `normalised`, are one person. Cohorts that differ only
            in case, spaces, hyphens or what is in brackets are one, spelled as it comes first.

    Example:
        >>> aliases = Aliases([(("BraTS2021_00495", "TCGA-02-0064"), "TCGA-GBM", "5")])
        >>> aliases.person("00495"), aliases.cohort("00495"), aliases.person("00496")
        ('BraTS2021_00495', 'TCGA-GBM', None)
    """

    def __init__(self, rows: Iterable[tuple[tuple[str, ...], str, str]] = ()) -> None:
        self._person: dict[str, str] = {}
        self._rows: dict[str, list[_Row]] = {}
        spelling: dict[str, str] = {}
        for given, cohort, site in rows:
            if given:
                self._add(_Row(given, spelling.setdefault(_SPELLING.sub("", cohort.lower()), cohort), site))

    def person(self, name: str) -> str | None:
        """The first name that the tables give this person; None for a name they do not hold.

        Args:
            name: Any of the person's names, in any spelling that `normalised` knows.
        """
        return self._person.get(normalised(name))

    def names(self, name: str) -> tuple[str, ...]:
        """Every name of this person as the tables write it, in their order; empty for an unknown name.

        Args:
            name: As in `person`.
        """
        return tuple(dict.fromkeys(other for row in self._of(name) for other in row.names))

    def cohort(self, name: str) -> str | None:
        """The cohort this person is from, a public one before "Private Collection"; None where no table says so.

        Args:
            name: As in `person`.
        """
        found = [row.cohort for row in self._of(name) if row.cohort]
        return min(found, key=lambda cohort: not is_public(cohort)) if found else None

    def site(self, name: str) -> str | None:
        """The number of the originating institution, as the first table gives it; None where none says so.

        Args:
            name: As in `person`.
        """
        return next((row.site for row in self._of(name) if row.site), None)

    def joined(self, other: Aliases) -> Aliases:
        """What both say together."""
        rows = (row for of in (self, other) for person in of._rows.values() for row in person)
        return Aliases((row.names, row.cohort, row.site) for row in rows)

    def _of(self, name: str) -> list[_Row]:
        return self._rows.get(self.person(name) or "", [])

    def _add(self, row: _Row) -> None:
        keys = [normalised(name) for name in row.names]
        known = list(dict.fromkeys(self._person[key] for key in keys if key in self._person))
        person = known[0] if known else row.names[0]
        for other in known[1:]:
            moved = self._rows.pop(other)
            self._rows[person] += moved
            self._person |= {normalised(name): person for was in moved for name in was.names}
        self._rows.setdefault(person, []).append(row)
        self._person |= dict.fromkeys(keys, person)


def read_aliases(*paths: Path) -> Aliases:
    """Read tables of names.

    Args:
        paths: CSV files, each of one of these kinds, told apart by their columns:

            - BraTS' mapping (``BraTS21-17_Mapping.csv``; ``BraTS2023_2017_GLI_Mapping.xlsx`` saved as CSV): columns
              ``BraTS2021``, ``BraTS2020``, ... , ``Cohort Name (if publicly available)``, ``Site No (represents the
              originating institution)``, ``Local ID``; ``N/A`` for none.
            - TCIA's mapping (``BraTS2021_MappingToTCIA.xlsx`` saved as CSV): columns ``BraTS2021 ID``, ``Data
              Collection (as on TCIA+additional)``, ``Site ID``, ``PatientID on TCIA Radiology Portal``.
            - UCSF-PDGM's table: columns ``ID`` and ``BraTS21 ID``.
            - Your own: columns ``patient_id,alias``, any number of rows a patient.

    Raises:
        CohortError: A file that is absent or unreadable, or of none of these kinds, or without any name.
    """
    return Aliases((row.names, row.cohort, row.site) for path in paths for row in _read(Path(path)))


def with_own_table(aliases: Aliases | None, labels_csv: Path) -> Aliases | None:
    """These names, and those that a cohort's own label table has: UCSF-PDGM's tells who is in BraTS 2021.

    Args:
        aliases: Of the tables that were named; None without any.
        labels_csv: The label table; it may be absent.

    Raises:
        CohortError: A label table that cannot be read.
    """
    if not labels_csv.is_file() or not read_table(labels_csv, "no such table").has(_UCSF_COLUMNS):
        return aliases
    own = Aliases((row.names, row.cohort, row.site) for row in _ucsf_rows(read_table(labels_csv, "no such table")))
    return own if aliases is None else aliases.joined(own)


def in_brats_2021(patients: Iterable[str], aliases: Aliases | None) -> list[str]:
    """Patients of another cohort who are cases of BraTS 2021, and so of RSNA-MICCAI 2021, by their other names.

    Args:
        patients: Patient identifiers.
        aliases: Who is who; None for nobody.

    Returns:
        Sorted identifiers. Those that are BraTS 2021's own are not among them.
    """
    return sorted(
        patient
        for patient in set(patients)
        if aliases is not None
        and not _BRATS_2021.fullmatch(normalised(patient))
        and any(_BRATS_2021.fullmatch(normalised(name)) for name in aliases.names(patient))
    )


def untraceable(patients: Iterable[str], aliases: Aliases) -> list[str]:
    """Patients of whom the tables give no name in a public cohort, so that no overlap with one can be found.

    Returns:
        Sorted identifiers: those not in the tables, and those whose cohort is not public there.
    """
    return sorted(patient for patient in set(patients) if not is_public(aliases.cohort(patient)))


def is_public(cohort: str | None) -> bool:
    """Whether this is the name of a public cohort, as BraTS' and TCIA's mappings name them.

    Args:
        cohort: Such as ``TCGA-GBM``; not public are ``Private Collection``, ``priorToBraTS2017``, ``Collection 3``,
            ``UPENN-GBM_Additional`` and None.
    """
    return bool(cohort) and not _PRIVATE.fullmatch(cohort or "")


class CohortRow(NamedTuple):
    """How many patients are from one cohort."""

    cohort: str
    public: bool
    patients: int
    methylated: int
    sites: tuple[str, ...]


def cohort_rows(aliases: Aliases, labels: Mapping[str, int]) -> list[CohortRow]:
    """The table of cohorts: how many patients each gave, how many of them methylated, from which sites.

    Args:
        aliases: Who is who.
        labels: ``{patient_id: label}``, label 1 = MGMT promoter methylated.

    Returns:
        One row a cohort, public cohorts first, then by the number of patients, most first, then by name; patients
        without a cohort are counted as `NOT_IN_MAPPING`. ``sites`` are sorted as numbers.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for patient in labels:
        members[aliases.cohort(patient) or NOT_IN_MAPPING].append(patient)
    rows = []
    for cohort, of in members.items():
        sites = {site for patient in of if (site := aliases.site(patient))}
        methylated = sum(labels[patient] for patient in of)
        public = is_public(cohort) and cohort != NOT_IN_MAPPING
        by_number = tuple(sorted(sites, key=lambda site: (len(site), site)))
        rows.append(CohortRow(cohort, public, len(of), methylated, by_number))
    return sorted(rows, key=lambda row: (not row.public, -row.patients, row.cohort))


def _read(path: Path) -> list[_Row]:
    table = read_table(path, f"no such table of names. Expected a CSV such as {_KINDS}.")
    years = [column for column in table.columns if _BRATS_YEAR.fullmatch(column)]
    if years:
        rows = _brats_rows(table, years)
    elif collection := _starting(table, "Data Collection"):
        rows = _tcia_rows(table, collection)
    elif table.has(_UCSF_COLUMNS):
        rows = _ucsf_rows(table)
    elif table.has(("patient_id", "alias")):
        pairs = table.rows(("patient_id", "alias"))
        half = [patient or alias for patient, alias in pairs if not (patient and alias)]
        if half:
            raise CohortError(
                f"{path}: expected a patient_id and an alias in every row, found one without the other for "
                f"{names(half)}. Add it or remove the row."
            )
        rows = [_row(pair) for pair in pairs]
    else:
        raise table.without(_KINDS)
    if not any(row.names for row in rows):
        raise CohortError(f"{path}: expected at least one name, found none. Check that it is the right file.")
    return _without_ambiguous(rows, path)


_KINDS = (
    "BraTS2021,...,Cohort Name,Site No,Local ID (BraTS' mapping) or BraTS2021 ID,Data Collection,PatientID (TCIA's) "
    "or ID,BraTS21 ID (UCSF-PDGM's) or patient_id,alias (your own)"
)


def _ucsf_rows(table: Table) -> list[_Row]:
    """UCSF-PDGM's metadata: the name there and the case of BraTS 2021."""
    return [_row(pair, "UCSF-PDGM") for pair in table.rows(_UCSF_COLUMNS)]


def _brats_rows(table: Table, years: list[str]) -> list[_Row]:
    """BraTS' mapping: a person's names of every year's challenge, the cohort, the site and the name there."""
    cohort, site, local = (_starting(table, name) for name in ("Cohort Name", "Site No", "Local ID"))
    if not (cohort and site and local):
        raise table.without("BraTS2021,...,Cohort Name,Site No,Local ID")
    texts = table.rows((*years, local, cohort, site))
    return [_row(text[:-2], text[-2], text[-1]) for text in texts]


def _tcia_rows(table: Table, collection: str) -> list[_Row]:
    """TCIA's mapping: the case of BraTS 2021, the collection, the site and the PatientID there."""
    case, patient, site = (_starting(table, name) for name in ("BraTS2021 ID", "PatientID", "Site"))
    if not (case and patient and site):
        raise table.without("BraTS2021 ID,Data Collection,Site ID,PatientID on TCIA Radiology Portal")
    rows = []
    for brats, cohort, number, name in table.rows((case, collection, site, patient)):
        # UCSF-PDGM's patients are there by their bare number, which must not be taken for a number of RSNA-MICCAI's.
        told = f"{cohort}-{name}" if name.isdigit() else name
        rows.append(_row((brats, told), cohort, number.removesuffix(".0")))
    return rows


def _starting(table: Table, beginning: str) -> str:
    """The first column whose name begins so: the tables' own names go on with explanations."""
    wanted = beginning.lower()
    return next((column for column in table.columns if column.lower().startswith(wanted)), "")


def _row(texts: tuple[str, ...], cohort: str = "", site: str = "") -> _Row:
    spelled = " ".join(cohort.split())
    return _Row(
        tuple(text for text in texts if _given(text)), spelled if _given(spelled) else "", site if _given(site) else ""
    )


def _given(text: str) -> bool:
    return not is_unknown(text) and text.strip().lower() != _NOT_AT_TCIA


def _without_ambiguous(rows: list[_Row], path: Path) -> list[_Row]:
    """The rows of one table without names that it gives to two public cohorts: these say nothing about who it is."""
    cohorts: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name in row.names:
            if is_public(row.cohort):
                cohorts[normalised(name)].add(_SPELLING.sub("", row.cohort.lower()))
    ambiguous = sorted(name for name, of in cohorts.items() if len(of) > 1)
    if not ambiguous:
        return rows
    logger.warning("%s: not used, for several cohorts have them: %s", path, names(ambiguous))
    return [
        _Row(tuple(name for name in row.names if normalised(name) not in ambiguous), row.cohort, row.site)
        for row in rows
    ]
