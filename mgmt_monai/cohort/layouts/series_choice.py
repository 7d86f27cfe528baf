"""Which of a patient's series are read, where several fit: written rules, and what they decided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mgmt_monai.cohort.files.values import day, finite, time_of_day_s, zone_s
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts.contrast import DENIED, GIVEN, UNSURE
from mgmt_monai.cohort.layouts.found import Contender, Found, FoundSeries, LeftOut
from mgmt_monai.cohort.layouts.sequence import Guess, Values, guess, said_by_name, times_fit
from mgmt_monai.cohort.series import MODALITIES

READ_AS_ONE = "read as one examination"
"""How a note (D034) ends that says that several studies are one examination."""


@dataclass(frozen=True)
class Candidate:
    """One series of a patient.

    Args:
        study: StudyInstanceUID.
        uid: SeriesInstanceUID.
        values: Its tags, of one slice.
        n_slices: Its number of slices.
        taken: AcquisitionDate and AcquisitionTime of its first slice.
        file_name: Of a series that is one file; else "".
        part: Which acquisition of its series it is; "" for the whole.
    """

    study: str
    uid: str
    values: Values
    n_slices: int
    taken: tuple[str, str] = ("", "")
    file_name: str = ""
    part: str = ""

    @property
    def number(self) -> int | None:
        """SeriesNumber."""
        try:
            return int(str(self.values.get("SeriesNumber", "")))
        except ValueError:
            return None

    @property
    def name(self) -> str:
        """The series for people, without any text of its header: ``series 5``."""
        if self.file_name:
            return self.file_name
        number = "without number" if self.number is None else str(self.number)
        return f"series {number}, {self.part}" if self.part else f"series {number}"


class Choice(NamedTuple):
    """What was decided, for each candidate or as modality ("" for the patient) and text.

    Args:
        verdicts: Its modality and why, or "" and why it is left out.
        notes: What was chosen among several.
        contradictions: Where tags, times and names disagree on contrast agent.
        open_to: The modality that it may be, where a user may decide on it; else None.
        disputed: Whether several may be its modality, or a contradiction is about it.
    """

    verdicts: list[tuple[str, str]]
    notes: list[tuple[str, str]]
    contradictions: list[tuple[str, str]]
    open_to: list[str | None]
    disputed: list[bool]

    def findings(self, patient_id: str) -> list[Finding]:
        """D034 and D038: what was chosen among several, and what contradicts."""
        told = [("D034", *note) for note in self.notes] + [("D038", *other) for other in self.contradictions]
        return [Finding(kind, patient_id, modality, "", text) for kind, modality, text in told]


def choose(candidates: Sequence[Candidate]) -> Choice:
    """At most one series a modality, all of one examination: a patient's series of one day (`_exams`), or of one study.

    1. T1w or T1wCE: the series' own tags of contrast agent decide; then, by AcquisitionTime, whether it was taken
       before or after the series whose tags have the agent; then its name; then whether it was taken after a series
       that is said to have contrast agent (by AcquisitionTime, else by SeriesNumber). An agent that stands in every T1
       series of an examination, though a name denies it, is the examination's, and the names decide.
    2. The earliest examination that has a series of a known modality is taken: the one before surgery. Those without a
       StudyDate come last.
    3. In it, of several series of one modality: one of the study with most modalities, then one whose times fit the
       modality, then an original rather than a derived or reformatted one, then the one with most slices, then a 3D
       acquisition, then the thinnest slices, then the lowest SeriesNumber.
    """
    first = [guess({**candidate.values, "AcquisitionTime": candidate.taken[1]}) for candidate in candidates]
    exams = _exams(candidates, first)
    guesses, doubts = _with_contrast(candidates, first, exams)
    known = [i for i, own in enumerate(guesses) if own.modality]
    verdicts = [("", own.reason) for own in guesses]
    if not known:
        open_to = [None if own.certain else "" for own in guesses]
        return Choice(verdicts, [], [], open_to, [False] * len(guesses))
    notes = []
    of_exam = {exam: [i for i in known if exams[i] == exam] for exam in sorted({exams[i] for i in known})}
    ranked = sorted(
        of_exam, key=lambda e: _exam_rank([candidates[i] for i in of_exam[e]], [guesses[i] for i in of_exam[e]])
    ) if len(of_exam) > 1 else list(of_exam)  # fmt: skip
    exam = ranked[0]
    if len(ranked) > 1:
        text = "; ".join(
            _contents([candidates[i] for i in of_exam[e]], [guesses[i] for i in of_exam[e]]) for e in ranked
        )
        notes.append(("", f"expected one examination, found {len(ranked)} ({text}); took the first"))
    n_modalities = {
        study: len({guesses[i].modality for i in of_exam[exam] if candidates[i].study == study})
        for study in {candidates[i].study for i in of_exam[exam]}
    }
    for modality in MODALITIES:
        fitting = [i for i in known if guesses[i].modality == modality]
        own = sorted(
            (i for i in fitting if exams[i] == exam),
            key=lambda i: (
                -n_modalities[candidates[i].study],
                not times_fit(candidates[i].values, modality),
                *_rank(candidates[i]),
            ),
        )
        for i in fitting:
            reason = "of another examination" if exams[i] != exam else f"not chosen among several {modality}"
            verdicts[i] = ("", f"{reason} ({guesses[i].reason})")
        if own:
            verdicts[own[0]] = (modality, guesses[own[0]].reason)
        if len(own) > 1:
            listed = ", ".join(_described(candidates[i]) for i in own)
            by = _decided_by(candidates[own[0]], candidates[own[1]], n_modalities, modality)
            notes.append((modality, f"expected one series, found {len(own)}: {listed}; took the first: {by}"))
    taken = {candidates[i].study for i in of_exam[exam] if verdicts[i][0]}
    if len(taken) > 1:
        by = "on one day" if day(exam) else "in one frame of reference"
        notes.append(("", f"expected one study, found {len(taken)} StudyInstanceUIDs {by}; {READ_AS_ONE}"))
    contradictions = [(guesses[i].modality or "", doubts[i]) for i in known if i in doubts and exams[i] == exam]
    several = {modality for modality, _ in notes}
    if contradictions:
        several |= {"T1w", "T1wCE"}
    disputed = [exams[i] == exam and own.modality in several for i, own in enumerate(guesses)]
    # With one series in doubt, all others that are one of the four, or may be, are the user's choice too.
    doubtful = bool(several) or any(own.modality is None and not own.certain for own in guesses)
    open_to = [own.modality or (None if own.certain else "") if doubtful else None for own in guesses]
    return Choice(verdicts, notes, contradictions, open_to, disputed)


def take_chosen(
    candidates: Sequence[Candidate],
    places: Sequence[FoundSeries],
    found: Found,
    shown: Callable[[int, FoundSeries], FoundSeries] = lambda _, series: series,
) -> None:
    """Add a patient's series, one of each modality, and what is left out.

    Args:
        candidates: All series of one patient.
        places: Where each is; its modality and reason are yet to be said.
        found: Gets them.
        shown: What the picture of a series is made of, by its place in ``candidates``.
    """
    choice = choose(candidates)
    for i, (place, (modality, reason), open_to) in enumerate(zip(places, choice.verdicts, choice.open_to, strict=True)):
        name, files = candidates[i].name, place.files or ()
        series = replace(place, modality=modality or open_to or "", reason=reason)
        left_out = None
        if modality:
            found.series.append(series)
        else:
            path = place.directory / files[0] if candidates[i].file_name else place.directory
            left_out = LeftOut(place.patient_id, path, name, len(files), reason)
            found.left_out.append(left_out)
        if open_to is not None:
            n_slices, picture = candidates[i].n_slices, shown(i, series)
            found.contenders.append(
                Contender(series, name, n_slices, modality, reason, choice.disputed[i], picture, left_out)
            )
    found.findings += choice.findings(places[0].patient_id) if places else []


def _exams(candidates: Sequence[Candidate], guesses: Sequence[Guess]) -> list[str]:
    """The examination of each series: its day where several studies have one, else its frame of reference, or study.

    Studies without a day are one examination where they share a frame of reference and no modality: a scanner or an
    export gave each series a StudyInstanceUID, and the days were taken out. Two complete examinations stay two.
    """
    known = [(one, own.modality) for one, own in zip(candidates, guesses, strict=True) if own.modality]
    if len({one.study for one, _ in known}) < 2:
        return [one.study for one in candidates]
    days_of: dict[str, list[str]] = {}
    for one in candidates:
        days_of.setdefault(one.study, []).append(_day(one))
    exam_of = day_of = {study: min(filter(None, days), default="") for study, days in days_of.items()}
    for frame in sorted({str(one.values.get("FrameOfReferenceUID", "")) for one, _ in known} - {""}):
        own = [(one.study, modality) for one, modality in known if one.values.get("FrameOfReferenceUID") == frame]
        days = {day_of[study] for study, _ in own}
        if "" in days and len(days) <= 2 and len({modality for _, modality in own}) == len(own):
            exam_of = {**exam_of, **{study: max(days) or frame for study, _ in own}}
    return [exam_of[one.study] or one.study for one in candidates]


def _with_contrast(
    candidates: Sequence[Candidate], guesses: Sequence[Guess], exams: Sequence[str]
) -> tuple[list[Guess], dict[int, str]]:
    """T1w told from T1wCE by the whole examination, and what disagrees about it, by the series' place."""
    decided, doubts = list(guesses), {}
    for exam in set(exams):
        own = [i for i in range(len(candidates)) if exams[i] == exam]
        t1 = [i for i in own if guesses[i].modality in ("T1w", "T1wCE")]
        of_exam = len(t1) > 1 and all(guesses[i].by_tag for i in t1) and any(_name(guesses[i]) is False for i in t1)
        tagged = [] if of_exam else [i for i in own if guesses[i].by_tag]
        everywhere = len(t1) > 1 and len(t1) < len(tagged) == sum(guesses[i].modality is not None for i in own)
        for i in t1:
            by_tag = None if of_exam else guesses[i].by_tag
            by_time = _by_time(i, candidates, tagged) if by_tag is None else None
            reason, name = guesses[i].reason.partition("; ")[0], _name(guesses[i])
            if by_tag is not None:
                given, by = by_tag, guesses[i].reason.partition("; ")[2]
            elif by_time is not None:
                given, by = by_time
            elif name is not None:
                given, by = name, said_by_name(guesses[i].by_words)
            else:
                others = [] if guesses[i].no_amount else [j for j in own if guesses[j].agent and j != i]
                after = _taken_after(i, candidates, others)
                # Beside a series that has contrast for sure, the unknown word is likely its denial.
                sure = any(guesses[j].by_tag or _name(guesses[j]) for j in t1)
                given = after is not None or (guesses[i].by_words.what == UNSURE and not sure)
                by = f"taken after {after} with contrast" if after else guesses[i].reason.partition("; ")[2]
            modality = "T1wCE" if given else "T1w"
            decided[i] = replace(guesses[i], modality=modality, reason=f"{reason}; {by}")
            if (by_tag is not None or by_time is not None) and name not in (None, given):
                doubts[i] = f"{candidates[i].name} is taken as {modality} ({by}), but its name says the opposite"
            elif everywhere and by_tag and name is None:
                doubts[i] = f"{candidates[i].name} is taken as {modality} ({by}), as all other series say too"
            elif guesses[i].by_words.what == UNSURE and by_tag is None and by_time is None:
                doubts[i] = f"{candidates[i].name} is taken as {modality}, by {said_by_name(guesses[i].by_words)}"
    return decided, doubts


def _name(own: Guess) -> bool | None:
    return {GIVEN: True, DENIED: False}.get(own.by_words.what)


def _by_time(at: int, candidates: Sequence[Candidate], tagged: Sequence[int]) -> tuple[bool, str] | None:
    """Whether a series was taken after those whose tags have contrast agent, where their times say so."""
    others = [candidates[i] for i in tagged if i != at]
    times = [_is_later(candidates[at], other) for other in others]
    for other, later in zip(others, times, strict=True):
        if later:
            return True, f"taken after {other.name} with contrast agent"
    earlier = [_is_later(other, candidates[at]) for other in others]
    if others and all(earlier):
        return False, f"taken before {others[0].name} with contrast agent"
    return None


def _taken_after(at: int, candidates: Sequence[Candidate], others: Sequence[int]) -> str | None:
    for i in others:
        later = _is_later(candidates[at], candidates[i])
        numbers = candidates[at].number, candidates[i].number
        if later or (later is None and None not in numbers and numbers[0] > numbers[1]):  # type: ignore[operator]
            return candidates[i].name
    return None


def _is_later(candidate: Candidate, other: Candidate) -> bool | None:
    """By AcquisitionTime; None where one of the two has none that can be read."""
    days = [day(one.taken[0]) for one in (candidate, other)]
    times = [time_of_day_s(one.taken[1]) for one in (candidate, other)]
    if times[0] is None or times[1] is None:
        return None
    zones = [zone_s(one.taken[1]) for one in (candidate, other)]
    ahead = 0.0 if zones[0] is None or zones[1] is None else zones[0] - zones[1]
    if all(days) and not ahead:
        return (days[0], times[0]) > (days[1], times[1])
    return 0 < (times[0] - ahead - times[1]) % 86_400 < 43_200  # without a day: midnight may lie between


def _exam_rank(candidates: Sequence[Candidate], guesses: Sequence[Guess]) -> tuple[str, int, float, str]:
    times = [time_of_day_s(str(one.values.get("StudyTime", ""))) for one in candidates]
    time = min((one for one in times if one is not None), default=float("inf"))
    return _exam_day(candidates), -len({own.modality for own in guesses}), time, candidates[0].study


def _exam_day(candidates: Sequence[Candidate]) -> str:
    return min(filter(None, map(_day, candidates)), default="without date")  # sorts behind every date


def _day(candidate: Candidate) -> str:
    told = (candidate.values.get(f"{name}Date", "") for name in ("Study", "Series", "Content"))
    study, series, content = map(str, told)
    return next(filter(None, map(day, (study, candidate.taken[0], series, content))), "")


def _contents(candidates: Sequence[Candidate], guesses: Sequence[Guess]) -> str:
    return f"{_exam_day(candidates)}: {', '.join(sorted({own.modality or '' for own in guesses}))}"


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


def _decided_by(taken: Candidate, next_best: Candidate, n_modalities: Mapping[str, int], modality: str) -> str:
    if n_modalities[taken.study] != n_modalities[next_best.study]:
        return "its study has most modalities"
    if times_fit(taken.values, modality) and not times_fit(next_best.values, modality):
        return f"its times are those of {modality}"
    return next((name for name, key in _RULES if key(taken) != key(next_best)), _RULES[-1][0])


def _thickness(candidate: Candidate) -> float:
    thickness_mm = finite(str(candidate.values.get("SliceThickness", "")).split("\\")[0])
    return float("inf") if thickness_mm is None else thickness_mm


def _described(candidate: Candidate) -> str:
    return f"{candidate.name} ({candidate.n_slices} slice{'s' * (candidate.n_slices != 1)})"
