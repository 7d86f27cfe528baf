"""Which slices are one acquisition: those that a scanner parts by a UID each, and those that one UID mixes."""

import itertools
import re
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mgmt_monai.cohort.files import geometry
from mgmt_monai.cohort.files.headers import is_phase
from mgmt_monai.cohort.files.values import day, finite, finite_numbers, time_of_day_s

Values = Mapping[str, str | int]

CONTRAST_TAGS = (
    "ContrastBolusAgentAdministered", "ContrastBolusAgent", "ContrastBolusIngredient", "ContrastBolusVolume",
    "ContrastBolusTotalDose", "ContrastBolusRoute",
)  # fmt: skip

#: What the slices of one acquisition share, beside frame of reference and orientation, where each has a UID of its own.
SHARED = (
    "SOPClassUID", "Modality", "ImageType", "ComplexImageComponent", "SeriesDescription", "ProtocolName",
    "SequenceName", "ScanningSequence", "SequenceVariant", "MRAcquisitionType", "EchoTime", "EchoNumbers",
    "RepetitionTime", "InversionTime", "FlipAngle", "DiffusionBValue", *CONTRAST_TAGS, "ScanOptions",
    "SliceThickness", "Rows", "Columns", "PixelSpacing",
)  # fmt: skip

#: Of `Acquisition.by`: what tells one point in time from another.
IN_TIME = ("temporal position", "AcquisitionNumber", "AcquisitionTime")

#: Fewer slices than this show no regular stack.
_FEW = 3

#: The packages of one acquisition are taken within minutes; a longer break lies between two.
BREAK_S = 600

#: Slices nearer than this share of their thickness overlap, as packages of one scan do not; a next one is later.
_OVERLAP_SHARE, _NEXT_SCAN_S = 0.75, 20

#: Numbers of one acquisition differ by less than this share.
_NUMBER_TOLERANCE = 0.1


class Slice(NamedTuple):
    """One slice, as far as it tells its acquisition.

    Args:
        path: Its file.
        frame: Its frame in a multi-frame file, else None.
        values: Its tags, shared with slices that have the same.
        position: ImagePositionPatient as it stands in the header.
        taken: AcquisitionDate, then AcquisitionTime, as they stand in the header.
    """

    path: Path
    frame: int | None
    values: Values
    position: str
    taken: tuple[str, str] = ("", "")


class Acquisition(NamedTuple):
    """A part of a series.

    Args:
        slices: Its own.
        by: The tag that tells it from the other parts; "" where it is the whole.
    """

    slices: list[Slice]
    by: str = ""


def is_one(series: Sequence[Sequence[Slice]]) -> bool:
    """Whether series of different UIDs are one acquisition, as where a scanner gives each slice a UID of its own.

    All share their frame of reference and the tags of `SHARED`, and are parallel. Series of one place each may lie
    anywhere, and make an even stack where each has a SeriesNumber of its own. Longer ones have the same SeriesNumber
    and make one even stack, each slice in another place.

    Args:
        series: The slices of each UID.
    """
    slices = [one for own in series for one in own]
    if len(series) < 2 or len(_tags(slices)) > 1:
        return len(series) < 2
    locations_mm = _locations_mm(slices)
    if locations_mm is None:
        return False
    single = all(_n_places(own) == 1 for own in series)
    numbers = {str(one.values.get("SeriesNumber", "")) for one in slices}
    if single and len(numbers) == 1:
        return _n_places(slices) > 1
    even = not _n_repeated(slices) and not _is_uneven(slices) and not geometry.gaps(np.sort(locations_mm))
    return even and len(series) >= _FEW and len(numbers) == (len(series) if single else 1) and "" not in numbers


def joined(series: Mapping[Any, Sequence[Slice]]) -> list[list[Any]]:
    """The keys of each acquisition, in their order, of the slices of each UID by any key."""
    by_tags: dict[Hashable, list[Any]] = {}
    for key, own in series.items():
        tags = _tags(own)
        by_tags.setdefault(next(iter(tags)) if len(tags) == 1 else (key,), []).append(key)
    groups: list[list[Any]] = []
    for keys in by_tags.values():
        for parallel in _parallel(keys, series):
            if is_one([series[key] for key in parallel]):
                groups.append(parallel)
                continue
            by_number: dict[Hashable, list[Any]] = {}
            for key in parallel:
                by_number.setdefault(series[key][0].values.get("SeriesNumber", ""), []).append(key)
            for own_keys in by_number.values():
                one = is_one([series[key] for key in own_keys])
                groups += [own_keys] if one else [[key] for key in own_keys]
    return groups


def acquisitions(slices: Sequence[Slice]) -> list[Acquisition]:
    """The acquisitions that one series mixes: several slices in one place, or uneven steps, that tags tell apart.

    Slices that lie evenly among each other are told apart by what one acquisition has once: contrast agent, timing,
    flip angle, kind of image, names and identifiers of the series. AcquisitionNumber and AcquisitionTime do not suffice
    there, for scanners take the odd slices after the even ones: `interleaved` names them. Phase images are no part
    of it: they are told apart where the magnitude images are of several.

    Returns:
        One part for a series of one acquisition, or of slices that nothing tells apart; parts in order of time.
    """
    magnitude = [one for one in slices if not is_phase(one.values)]
    parts = _split(magnitude or list(slices))
    if len(parts) > 1 and 0 < len(magnitude) < len(slices):
        parts.append(Acquisition([one for one in slices if is_phase(one.values)], "ComplexImageComponent"))
    return parts if len(parts) > 1 else [Acquisition(list(slices))]


def interleaved(slices: Sequence[Slice]) -> str:
    """What speaks for several acquisitions in one regular stack: packages of one, or two scans.

    Returns:
        ``contrast agent`` where the slices differ in it; ``AcquisitionNumber`` where slices of several lie among each
        other, ``AcquisitionTime`` where a break of more than `BREAK_S` parts such. Of every second or third slice,
        ``SpacingBetweenSlices``, ``InstanceNumber`` that begins anew, ``AcquisitionTime`` where they overlap; else "".
    """
    if len(_by_value(list(slices), CONTRAST_TAGS)) > 1:
        return "contrast agent"
    timed = sorted((moment, i) for i, one in enumerate(slices) if (moment := _moment(one)) is not None)
    parts: list[list[Slice]] = [[]]
    for n, ((date, seconds), i) in enumerate(timed):
        if n and (date != timed[n - 1][0][0] or seconds - timed[n - 1][0][1] > BREAK_S):
            parts.append([])
        parts[-1].append(slices[i])
    numbered = _by_value(list(slices), ("AcquisitionNumber", "FrameAcquisitionNumber"))
    for tag, found in (("AcquisitionNumber", numbered), ("AcquisitionTime", parts)):
        if 1 < len(found) < len(slices) and min(map(len, found)) >= _FEW and _overlap(found):
            return tag
    locations_mm = _locations_mm(slices)
    if locations_mm is None or len(slices) < 2 * _FEW or _repeated(locations_mm):
        return ""
    step_mm = geometry.median(np.diff(np.sort(locations_mm)))
    spacings, thick, numbers = (
        {one.values.get(tag) for one in slices} for tag in ("SpacingBetweenSlices", "SliceThickness", "InstanceNumber")
    )
    spacing_mm = (finite(str(next(iter(spacings)))) if len(spacings) == 1 else None) or step_mm
    if (n := round(spacing_mm / step_mm)) in (2, 3) and abs(spacing_mm - n * step_mm) <= _NUMBER_TOLERANCE * step_mm:
        return "SpacingBetweenSlices"
    overlaps = step_mm < _OVERLAP_SHARE * min(finite(str(text)) or 0.0 for text in thick)
    if not overlaps and 3 * len(numbers) > 2 * len(slices):
        return ""
    ordered = in_place(slices)
    for n in (2, 3):
        parts = [ordered[k::n] for k in range(n)]
        of = sorted(({one.values.get("InstanceNumber") for one in part} for part in parts), key=len)
        if len(of[0]) == len(slices) // n > 1 and all(of[0] <= other for other in of):
            return "InstanceNumber"
        times = sorted([moment for one in part if (moment := _moment(one))] for part in parts)
        breaks = (min(later)[1] - max(one)[1] for one, later in itertools.pairwise(times) if one and later)
        if overlaps and len(timed) == len(slices) and min(breaks) >= _NEXT_SCAN_S:
            return "AcquisitionTime"
    return ""


def in_place(slices: Sequence[Slice]) -> list[Slice]:
    """Slices along their normal; as they are where they have no order."""
    locations_mm = _locations_mm(slices)
    return list(slices) if locations_mm is None else [slices[int(i)] for i in np.argsort(locations_mm, kind="stable")]


def taken(values: Values) -> tuple[str, str]:
    """AcquisitionDate, and AcquisitionTime with its zone, of a slice, or what an enhanced image has in their place."""
    both = str(values.get("FrameAcquisitionDateTime") or values.get("AcquisitionDateTime", ""))
    date, time = str(values.get("AcquisitionDate", "")), str(values.get("AcquisitionTime", ""))
    if "FrameAcquisitionDateTime" in values or not time:
        date, time = both[:8] or date, both[8:] or time
    return date, time if re.search("[+-]", time) else time + str(values.get("TimezoneOffsetFromUTC", ""))


def _split(slices: list[Slice]) -> list[Acquisition]:
    locations_mm = _locations_mm(slices)
    if locations_mm is None:
        return [Acquisition(slices)]
    n_repeated = _repeated(locations_mm)
    distinct = {id(one.values): one.values for one in slices}.values()
    if len({_of(values, *_TELLING_TAGS) for values in distinct}) == 1:  # as in nearly every series
        return _in_time(slices, locations_mm) if n_repeated else [Acquisition(slices)]
    uneven = _uneven(locations_mm)
    telling = _TELLING if n_repeated or uneven else _DECIDING
    for tag, decides_alone, keywords in telling:
        parts = _by_value(slices, keywords)
        if not 1 < len(parts) < len(slices):
            continue
        if n_repeated:
            better = sum(map(_n_repeated, parts)) < n_repeated
        else:
            even = all(len(part) >= _FEW and not _is_uneven(part) for part in parts)
            decides = decides_alone and (tag not in _NUMBERS or _are_apart(parts, keywords))
            better = even and (uneven or decides) and _overlap(parts)
        if better:
            return [Acquisition(deeper.slices, tag) for part in parts for deeper in _split(part)]
    return _in_time(slices, locations_mm) if n_repeated else [Acquisition(slices)]


def _are_apart(parts: Sequence[Sequence[Slice]], keywords: Sequence[str]) -> bool:
    numbers = [finite(max(_of(part[0].values, *keywords))) for part in parts]  # of two keywords, one is filled
    if None in numbers:
        return False
    ordered = sorted(number for number in numbers if number is not None)
    return all(b > a * (1 + _NUMBER_TOLERANCE) for a, b in itertools.pairwise(ordered))


def _overlap(parts: Sequence[Sequence[Slice]]) -> bool:
    """Whether parts lie among each other, and not one beside the other."""
    ranges = sorted((mm.min(), mm.max()) for part in parts if (mm := _locations_mm(part)) is not None)
    return all(below[1] > above[0] for below, above in itertools.pairwise(ranges))


def _in_time(slices: list[Slice], locations_mm: np.ndarray) -> list[Acquisition]:
    """The first, the second, ... image in each place, where their times differ there."""
    places: list[list[int]] = []
    for i in map(int, np.argsort(locations_mm, kind="stable")):
        if not places or abs(locations_mm[places[-1][0]] - locations_mm[i]) >= geometry.POSITION_TOLERANCE_MM:
            places.append([])
        places[-1].append(i)
    parts: list[list[Slice]] = []
    for place in places:
        times = [_moment(slices[i]) for i in place]
        if None in times or len(set(times)) < len(times):
            return [Acquisition(slices)]
        for rank, i in enumerate(sorted(place, key=lambda i: _moment(slices[i]) or ("", 0.0))):
            if rank == len(parts):
                parts.append([])
            parts[rank].append(slices[i])
    return [Acquisition(part, "AcquisitionTime") for part in parts]


def _by_value(slices: list[Slice], keywords: Sequence[str]) -> list[list[Slice]]:
    parts: dict[Hashable, list[Slice]] = {}
    for one in slices:
        parts.setdefault(_of(one.values, *keywords), []).append(one)
    return sorted(parts.values(), key=lambda part: min(_moment(one) or ("", 0.0) for one in part))


def _moment(one: Slice) -> tuple[str, float] | None:
    seconds = time_of_day_s(one.taken[1])
    return None if seconds is None else (day(one.taken[0]), seconds)


def _tags(slices: Sequence[Slice]) -> set[Hashable]:
    """The values that the slices of one acquisition share; SeriesNumber is held apart."""
    return {
        (
            values.get("FrameOfReferenceUID") or values.get("StudyInstanceUID", ""),
            *(values.get(keyword, "") for keyword in SHARED),
        )
        for values in {id(one.values): one.values for one in slices}.values()
    }


def _parallel(keys: Sequence[Any], series: Mapping[Any, Sequence[Slice]]) -> list[list[Any]]:
    if len(keys) == 1:
        return [list(keys)]
    groups: list[tuple[np.ndarray | None, list[Any]]] = []
    for key in keys:
        orientation = _numbers((str(series[key][0].values.get("ImageOrientationPatient", "")),), 6)
        own = None if orientation is None else orientation[0]
        for other, members in groups:
            if own is not None and other is not None and _is_parallel(own, other):
                members.append(key)
                break
        else:
            groups.append((own, [key]))
    return [members for _, members in groups]


def _is_parallel(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one - other).max() <= geometry.ORIENTATION_TOLERANCE)


def _locations_mm(slices: Sequence[Slice]) -> np.ndarray | None:
    """Places along the normal; None where slices have none, or are not parallel."""
    told = dict.fromkeys(str(one.values.get("ImageOrientationPatient", "")) for one in slices)
    orientations = _numbers(tuple(told), 6)
    positions = _numbers(tuple([one.position for one in slices]), 3)
    if orientations is None or positions is None or not geometry.is_orientation(orientations[0]):
        return None
    if not all(_is_parallel(orientations[0], other) for other in orientations[1:]):
        return None
    return geometry.slice_locations_mm(positions, orientations[0])


@lru_cache(maxsize=4)  # one series is asked several times
def _numbers(texts: tuple[str, ...], length: int) -> np.ndarray | None:
    numbers = [finite_numbers(text, length) for text in texts]
    return None if None in numbers else np.array(numbers)


def _n_places(slices: Sequence[Slice]) -> int:
    return len(slices) - _n_repeated(slices)


def _n_repeated(slices: Sequence[Slice]) -> int:
    """How many slices lie where another one does."""
    locations_mm = _locations_mm(slices)
    return 0 if locations_mm is None else _repeated(locations_mm)


def _repeated(locations_mm: np.ndarray) -> int:
    return int((np.diff(np.sort(locations_mm)) < geometry.POSITION_TOLERANCE_MM).sum())


def _is_uneven(slices: Sequence[Slice]) -> bool:
    locations_mm = _locations_mm(slices)
    return locations_mm is not None and _uneven(locations_mm)


def _uneven(locations_mm: np.ndarray) -> bool:
    ordered = np.sort(locations_mm)
    places = ordered[np.diff(ordered, prepend=-np.inf) >= geometry.POSITION_TOLERANCE_MM]
    return bool(geometry.uneven_steps(places))


def _of(values: Values, *keywords: str) -> tuple[str, ...]:
    return _folded(tuple(map(values.get, keywords)))


@lru_cache(maxsize=256)  # the slices of a series repeat them
def _folded(told: tuple[str | int | None, ...]) -> tuple[str, ...]:
    return tuple("" if value is None else str(value).strip().casefold() for value in told)


#: What tells acquisitions of one series apart, the first that does: its name, whether it does so too where their slices
#: lie evenly among each other, and its tags.
_TELLING: tuple[tuple[str, bool, tuple[str, ...]], ...] = (
    ("contrast agent", True, CONTRAST_TAGS),
    ("EchoNumbers", True, ("EchoNumbers",)),
    ("EchoTime", False, ("EffectiveEchoTime", "EchoTime")),
    ("DiffusionBValue", True, ("DiffusionBValue",)),
    ("temporal position", True, ("TemporalPositionIdentifier", "TemporalPositionIndex")),
    ("AcquisitionNumber", False, ("AcquisitionNumber", "FrameAcquisitionNumber")),
    ("InversionTime", True, ("InversionTime", "InversionTimes")),
    *(
        (tag, True, (tag,))
        for tag in (
            "ImageType", "FlipAngle", "RepetitionTime", "SeriesNumber", "SeriesDescription", "ProtocolName",
            "SequenceName", "ScanningSequence", "ScanOptions", "StudyInstanceUID",
        )
    ),
)  # fmt: skip
_NUMBERS = ("InversionTime", "FlipAngle", "RepetitionTime")
_DECIDING = tuple(one for one in _TELLING if one[1])
_TELLING_TAGS = tuple(tag for *_, tags in _TELLING for tag in tags)
