"""Which of a patient's series are read, where several fit: written rules, and what they decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from mgmt_monai.cohort.files.values import finite
from mgmt_monai.cohort.layouts.sequence import Guess, Values, guess
from mgmt_monai.cohort.series import MODALITIES


@dataclass(frozen=True)
class Candidate:
    """One series of a patient.

    Args:
        study: StudyInstanceUID.
        uid: SeriesInstanceUID.
        values: Its tags, of one slice.
        n_slices: How many slices it has.
        read_dates: Reads StudyDate, StudyTime, AcquisitionDate and AcquisitionTime; called only where the choice needs
            them.
    """

    study: str
    uid: str
    values: Values
    n_slices: int
    read_dates: Callable[[], Mapping[str, str]] = field(default=dict, compare=False)

    @cached_property
    def dates(self) -> Mapping[str, str]:
        """What `read_dates` says."""
        return self.read_dates()

    @property
    def number(self) -> int | None:
        """SeriesNumber."""
        try:
            return int(str(self.values.get("SeriesNumber", "")))
        except ValueError:
            return None

    @property
    def name(self) -> str:
        """The series for people: ``series 5 'AX T1'``."""
        number = "without number" if self.number is None else str(self.number)
        description = str(self.values.get("SeriesDescription") or self.values.get("ProtocolName") or "")
        return f"series {number} {description!r}" if description else f"series {number}"


class Choice(NamedTuple):
    """What was decided.

    Args:
        verdicts: For each candidate its modality and why, or "" and why it is left out.
        notes: Modality ("" for the patient) and text of what was chosen among several.
    """

    verdicts: list[tuple[str, str]]
    notes: list[tuple[str, str]]


def choose(candidates: Sequence[Candidate]) -> Choice:
    """At most one series a modality, all of one study.

    1. A T1 series that does not say whether contrast agent was given counts as T1wCE if it was taken after one of the
       same study that says so (by AcquisitionTime, else by SeriesNumber), unless it says that it was taken before.
    2. The earliest study by StudyDate that has a series of a known modality is taken: the one before surgery. Of
       several of one day, the one with most modalities; studies without a date come last.
    3. In it, of several series of one modality: an original rather than a derived or reformatted one, then the one
       with most slices, then a 3D acquisition, then the thinnest slices, then the lowest SeriesNumber.

    Args:
        candidates: All series of one patient.
    """
    guesses = [guess(candidate.values) for candidate in candidates]
    guesses = [_after_agent(candidate, guesses[i], candidates, guesses) for i, candidate in enumerate(candidates)]
    known = [i for i, own in enumerate(guesses) if own.modality]
    verdicts = [("", own.reason) for own in guesses]
    if not known:
        return Choice(verdicts, [])
    notes = []
    studies = sorted({candidates[i].study for i in known})
    study = studies[0]
    if len(studies) > 1:
        own_of = {uid: [i for i in known if candidates[i].study == uid] for uid in studies}
        studies.sort(
            key=lambda uid: _study_rank([candidates[i] for i in own_of[uid]], [guesses[i] for i in own_of[uid]])
        )
        study = studies[0]
        text = "; ".join(
            _contents([candidates[i] for i in own_of[s]], [guesses[i] for i in own_of[s]]) for s in studies
        )
        notes.append(("", f"expected one study, found {len(studies)} ({text}); took the first"))
    for modality in MODALITIES:
        fitting = [i for i in known if guesses[i].modality == modality]
        own = sorted((i for i in fitting if candidates[i].study == study), key=lambda i: _rank(candidates[i]))
        for i in fitting:
            reason = "of another study" if candidates[i].study != study else f"not chosen among several {modality}"
            verdicts[i] = ("", f"{reason} ({guesses[i].reason})")
        if own:
            verdicts[own[0]] = (modality, guesses[own[0]].reason)
        if len(own) > 1:
            listed = ", ".join(_described(candidates[i]) for i in own)
            by = _decided_by(candidates[own[0]], candidates[own[1]])
            notes.append((modality, f"expected one series, found {len(own)}: {listed}; took the first: {by}"))
    return Choice(verdicts, notes)


def _after_agent(candidate: Candidate, own: Guess, candidates: Sequence[Candidate], guesses: Sequence[Guess]) -> Guess:
    if own.modality != "T1w" or own.certain:
        return own
    for other, told in zip(candidates, guesses, strict=True):
        if told.agent and other.study == candidate.study and _is_later(candidate, other):
            return replace(own, modality="T1wCE", reason=f"{own.reason}, but taken after {other.name} with contrast")
    return own


def _is_later(candidate: Candidate, other: Candidate) -> bool:
    times = [(one.dates.get("AcquisitionDate", ""), one.dates.get("AcquisitionTime", "")) for one in (candidate, other)]
    if all(time for _, time in times):
        return times[0] > times[1]
    return candidate.number is not None and other.number is not None and candidate.number > other.number


def _study_rank(candidates: Sequence[Candidate], guesses: Sequence[Guess]) -> tuple[str, int, str, str]:
    date = min(_study_date(one) for one in candidates)
    time = min(one.dates.get("StudyTime", "") for one in candidates)
    return date, -len({own.modality for own in guesses}), time, candidates[0].study


def _study_date(candidate: Candidate) -> str:
    return candidate.dates.get("StudyDate", "") or "without date"  # sorts behind every date


def _contents(candidates: Sequence[Candidate], guesses: Sequence[Guess]) -> str:
    date = min(_study_date(one) for one in candidates)
    return f"{date}: {', '.join(sorted({own.modality or '' for own in guesses}))}"


#: What a series is better by, the first that differs decides: its name, and a key of which the least is the best.
_RULES: tuple[tuple[str, Callable[[Candidate], float | str]], ...] = (
    ("it is original, the others derived", lambda one: "DERIVED" in str(one.values.get("ImageType", "")).upper()),
    ("it has most slices", lambda one: -one.n_slices),
    ("it is a 3D acquisition", lambda one: one.values.get("MRAcquisitionType") != "3D"),
    ("it has the thinnest slices", lambda one: _thickness(one)),
    ("it has the lowest series number", lambda one: float("inf") if one.number is None else one.number),
    ("nothing tells them apart but their identifiers", lambda one: one.uid),
)


def _rank(candidate: Candidate) -> tuple[float | str, ...]:
    return tuple(key(candidate) for _, key in _RULES)


def _decided_by(taken: Candidate, next_best: Candidate) -> str:
    return next((name for name, key in _RULES if key(taken) != key(next_best)), _RULES[-1][0])


def _thickness(candidate: Candidate) -> float:
    thickness_mm = finite(str(candidate.values.get("SliceThickness", "")).split("\\")[0])
    return float("inf") if thickness_mm is None else thickness_mm


def _described(candidate: Candidate) -> str:
    return f"{candidate.name} ({candidate.n_slices} slice{'s' * (candidate.n_slices != 1)})"
