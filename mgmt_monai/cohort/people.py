"""The people of a cohort by the tags of their files: who is whose, who is two, and which two are one."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, product
from pathlib import PurePosixPath
from typing import Any

from mgmt_monai.cohort.files.person import Person, contradict, id_hash, may_be_one, number_hash, runs_of, same_name
from mgmt_monai.cohort.findings import Finding, counted
from mgmt_monai.cohort.layouts.found import Tagged
from mgmt_monai.cohort.records import PERHAPS
from mgmt_monai.cohort.tables.aliases import normalised

#: A value that more patients share than this is a dummy and joins nobody: a person is scanned under two or three names.
FEW = 3

#: A name or a birth date alone is shared by strangers too: in a large cohort it is a dummy from this share on.
COMMON_SHARE = 0.05


class People:
    """What the files of a cohort say of its people. De-identified values (`FEW`, or of everybody) name nobody.

    Args:
        tagged: Each series' patient, folder and people, as often as wished.
        aliases: Other names of each patient's person; of every patient known, also of those without files here.
    """

    def __init__(self, tagged: Iterable[Tagged], aliases: Mapping[str, Sequence[str]] | None = None) -> None:
        self._aliases = aliases or {}
        self._named: list[tuple[str, str, str]] = []
        told: dict[str, dict[str, set[Person]]] = {}
        for item in tagged:
            told.setdefault(item.patient_id, {}).setdefault(item.directory, set()).update(item.people)
            if item.named:
                self._named.append((item.patient_id, item.directory, item.named))
        self._told = _without_dummies(told)
        self._known = sorted({*self._told, *self._aliases})

    def findings(self) -> list[Finding]:
        """D047: files of another patient of the cohort; D048: two people under one patient or PatientID."""
        swapped = [*self._swapped_tags(), *self._swapped_folders(), *self._swapped_names()]
        return [*{finding.patient_id: finding for finding in reversed(swapped)}.values(), *self._merged()]

    def others(self, patient_id: str) -> list[str]:
        """The other patients of the cohort who are this person, by PatientID or by name, birth date and sex; sorted.

        Then, behind `PERHAPS`, those who may be: see `mgmt_monai.cohort.files.person.may_be_one`.
        """
        return sorted(self._same.get(patient_id, ()), key=lambda name: (name.startswith(PERHAPS), name))

    def _people(self, patient_id: str) -> set[Person]:
        return {person for people in self._told[patient_id].values() for person in people}

    @cached_property  # once a cohort: asked for each patient
    def _same(self) -> dict[str, list[str]]:
        by_key: dict[tuple[str, ...], set[str]] = {}
        for patient_id in self._told:
            for person in self._people(patient_id):
                words = [name.split() for name in person.names]
                keys: set[tuple[str, ...]] = {("id", value) for value in (person.patient_id, *person.others) if value}
                keys |= {("spelt", person.spelt)} if person.spelt else set()
                keys |= {("word", word) for name in words for word in name}
                keys |= {("born", person.birth_date, word) for name in words for word in name if person.birth_date}
                keys |= {("name", *pair) for name in words for pair in combinations(name, 2)}
                for key in keys:
                    by_key.setdefault(key, set()).add(patient_id)
        common = max(FEW, COMMON_SHARE * len(self._told))
        found: dict[tuple[str, str], str] = {}
        for (kind, *_), sharing in by_key.items():
            if kind == "word" or (kind == "name" and len(sharing) > common) or (kind == "spelt" and len(sharing) > FEW):
                continue
            for a, b in combinations(sorted(sharing), 2):
                pairs = list(product(self._people(a), self._people(b)))
                if kind == "id" or any(_are_one(*pair) for pair in pairs):
                    found[a, b] = ""
                elif kind == "spelt" or any(
                    may_be_one(*pair, lambda word: len(by_key["word", word]) <= common) for pair in pairs
                ):
                    found.setdefault((a, b), PERHAPS)
        spelt: dict[str, list[str]] = {}
        for patient_id in sorted(self._told):
            spelt.setdefault("".join(runs_of(patient_id)), []).append(patient_id)
        for alike in spelt.values():
            for a, b in combinations(alike[:FEW], 2):
                one, other = runs_of(a), runs_of(b)
                if one == other or 1 in (len(one), len(other)):  # 12-345 is 12345, but 1-11 is not 11-1
                    found.setdefault((a, b), PERHAPS)
        same: dict[str, list[str]] = {}
        for (a, b), perhaps in found.items():
            same.setdefault(a, []).append(perhaps + b)
            same.setdefault(b, []).append(perhaps + a)
        return same

    def _swapped_tags(self) -> Iterator[Finding]:
        """By identifiers and names; then by the number in them, where it is their own patient's in most."""
        yield from self._tagged_as_others(id_hash)[1]
        n_own, findings = self._tagged_as_others(number_hash)
        if 2 * n_own > len(self._told):
            yield from findings

    def _tagged_as_others(self, hashed: Callable[[str], str]) -> tuple[int, list[Finding]]:
        """How many patients' tags name them, by identifiers or by numbers; and the files whose tags name another."""
        owners: dict[str, set[str]] = {}
        own: dict[str, set[str]] = {}
        for patient_id in self._known:
            own[patient_id] = set(map(hashed, (*self._aliases.get(patient_id, ()), patient_id))) - {""}
            for value in own[patient_id]:
                owners.setdefault(value, set()).add(patient_id)
        confirmed, findings = set(), []
        for patient_id, folders in self._told.items():
            for directory, person in ((where, one) for where in sorted(folders) for one in sorted(folders[where])):
                ids = (person.patient_id, person.called, *person.others)
                said = ids if hashed is id_hash else person.numbers
                other = next((min(owners[value]) for value in said if len(owners.get(value, ())) == 1), None)
                if own[patient_id] & set(said):
                    confirmed.add(patient_id)
                elif other is not None:
                    text = f"expected files of this patient, found the PatientID or PatientName of patient {other}"
                    findings.append(Finding("D047", patient_id, "", directory, text, (other,)))
        return len(confirmed), findings

    def _swapped_folders(self) -> Iterator[Finding]:
        """Folders that are named after another patient, in a tree whose patients are told by their tags."""
        ids = {normalised(patient_id): patient_id for patient_id in self._known}
        named: dict[int, list[tuple[str, str, str]]] = {}  # by depth: patient, whom the folder's name means, folder
        for patient_id, folders in self._told.items():
            for directory in sorted(folders):
                for depth, part in enumerate(PurePosixPath(directory).parts):
                    if meant := _meant(part, ids):
                        named.setdefault(depth, []).append((patient_id, meant, directory))
        for entries in named.values():
            all_mean = self._mean_patients(entries)
            meant_by: dict[str, set[str]] = {}
            for patient_id, meant, _ in entries:
                meant_by.setdefault(patient_id, set()).add(meant)
            for patient_id, meant, directory in entries:
                # Else folders are named otherwise (series 1, 2, 3), but for two that are exchanged.
                exchanged = meant_by[patient_id] == {meant} and meant_by.get(meant) == {patient_id}
                means = all_mean or (exchanged and _is_code(meant))
                parts = {_meant(part, ids) for part in PurePosixPath(directory).parts}
                if means and patient_id != meant and patient_id not in parts:
                    text = f"expected a folder of this patient by its PatientID, found the one named after {meant}"
                    yield Finding("D047", patient_id, "", directory, text, (meant,))

    def _swapped_names(self) -> Iterator[Finding]:
        """Files that are named after another patient, in folders that are the patients."""
        ids = {normalised(patient_id): patient_id for patient_id in self._known}
        entries = []
        for patient_id, directory, name in self._named:
            runs = [run for run in map(normalised, _runs(name)) if run in ids]
            own = normalised(patient_id)
            if runs:  # the longest: p1_2 is not p1; but the patient's own of two
                longest = max(runs, key=len)
                is_own = own in runs and (own == longest or own not in longest)
                entries.append((patient_id, patient_id if is_own else ids[longest], directory))
        all_mean = self._mean_patients(entries)
        for patient_id, meant_id, directory in entries:
            if patient_id != meant_id and (all_mean or (not meant_id.isdigit() and _is_code(meant_id))):
                text = f"expected files named after this patient, found one named after {meant_id}"
                yield Finding("D047", patient_id, "", directory, text, (meant_id,))

    def _mean_patients(self, entries: Sequence[tuple[str, str, str]]) -> bool:
        """Whether names are patients' names, not numbers of series: most are their own patient's, or each is one's."""
        pairs = {(patient_id, meant) for patient_id, meant, _ in entries}
        n_own = sum(patient_id == meant for patient_id, meant in pairs)
        is_one_to_one = len(pairs) == len(self._told) == len({meant for _, meant in pairs})
        return is_one_to_one or (2 * n_own > len(self._told) and 2 * len(pairs) <= 3 * len(self._told))

    def _merged(self) -> Iterator[Finding]:
        for patient_id, folders in sorted(self._told.items()):
            differ = _differ(self._people(patient_id))
            if differ:
                directory = _first_other(folders)
                yield Finding("D048", patient_id, "", directory, f"expected one person, found {_and(differ)}")
        by_id: dict[str, set[str]] = {}
        for patient_id in self._told:
            for person in self._people(patient_id):
                if person.patient_id:
                    by_id.setdefault(person.patient_id, set()).add(patient_id)
        for sharing in by_id.values():
            for a, b in combinations(sorted(sharing), 2):
                one, other = self._people(a), self._people(b)
                differ = _differ(one | other)
                if differ and not _differ(one) and not _differ(other):
                    text = f"expected one person of a PatientID, found {_and(differ)}, as patient {b}"
                    yield Finding("D048", a, "", "", text, (b,))


def _meant(name: str, ids: Mapping[str, str]) -> str:
    """The patient that a folder is named after, by its name or the longest part of it, or ""."""
    runs = [run for run in map(normalised, filter(_is_code, _runs(name))) if run in ids]
    return ids.get(normalised(name)) or (ids[max(runs, key=len)] if runs else "")


def _is_code(name: str) -> bool:
    """Whether a name has letters and digits, or five digits: a short number or a word alone may be anything."""
    return re.search(r"[^\W\d_].*\d|\d.*[^\W\d_]|\d{5}", name) is not None


def _runs(name: str) -> Iterator[str]:
    """Every part of a name from the beginning of a word to the end of one."""
    words = list(re.finditer(r"[^\W_]+", name))
    return (name[a.start() : b.end()] for i, a in enumerate(words) for b in words[i:])


def _without_dummies(told: Mapping[str, Mapping[str, set[Person]]]) -> dict[str, dict[str, set[Person]]]:
    """The same people without the values that so many patients share that they name nobody."""
    parts = ("patient_id", "called", "birth_date", "names", "others")
    sharers: dict[str, Counter[object]] = {part: Counter() for part in parts}
    for folders in told.values():
        people = {person for found in folders.values() for person in found}
        for part, counter in sharers.items():
            values = {getattr(person, part) for person in people} - {"", ()}
            counter.update({one for several in values for one in several} if part in ("names", "others") else values)

    def is_dummy(part: str, value: object) -> bool:
        n = sharers[part][value]
        limit = max(FEW, COMMON_SHARE * len(told)) if part in ("names", "birth_date") else FEW
        return n > limit or n == len(told) > 2

    def plain(person: Person) -> Person:
        kept: dict[str, Any] = {
            p: "" for p in ("patient_id", "called", "birth_date") if is_dummy(p, getattr(person, p))
        }
        names, others = (
            tuple(one for one in getattr(person, part) if not is_dummy(part, one)) for part in ("names", "others")
        )
        return replace(person, names=names, others=others, **kept)

    return {
        patient_id: {directory: set(map(plain, people)) for directory, people in folders.items()}
        for patient_id, folders in told.items()
    }


def _are_one(a: Person, b: Person) -> bool:
    return bool(a.birth_date and a.birth_date == b.birth_date and same_name(a, b) and not contradict(a, b))


def _differ(people: Iterable[Person]) -> dict[str, int]:
    """How many names, birth dates and sexes there are, where these contradict each other."""
    found = list(people)
    differ = {what for a, b in combinations(found, 2) for what in contradict(a, b)}
    counts = {
        "name": len({person.names for person in found if person.names}) if "names" in differ else 0,
        "birth date": len({p.birth_date for p in found} - {""}) if "birth dates" in differ else 0,
        "sex": 2 if "sexes" in differ else 0,
    }
    return {what: n for what, n in counts.items() if n}


def _and(differ: Mapping[str, int]) -> str:
    *first, last = [f"{n} sexes" if what == "sex" else counted(n, what) for what, n in differ.items()]
    return f"{', '.join(first)} and {last}" if first else last


def _first_other(folders: Mapping[str, set[Person]]) -> str:
    """The first folder whose people contradict those before it."""
    seen: set[Person] = set()
    for directory, people in sorted(folders.items()):
        seen |= people
        if _differ(seen):
            return directory
    return ""
