"""Who a DICOM header says the patient is, as hashes: enough to tell people apart, nothing that can be read."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from mgmt_monai.cohort.tables.aliases import normalised

#: The tags a person is told by.
PERSON_TAGS = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "OtherPatientIDs")

#: Nobody who is scanned was born before; the dates below it stand for "not known".
FIRST_BIRTH_YEAR = 1890

_NO_BIRTH_DATES = frozenset({"19000101", "19010101", "19700101", "20000101", "11111111", "99991231"})

#: What de-identifying software and technicians write where a name or a number is expected.
_NO_NAME = re.compile(
    r"(anon\w*|deident\w*|de id\w*|unknown|unbekannt|inconnu|desconocido|unnamed|no ?name|none|null|nil|na|nan|nn|"
    r"n a|not available|patient|pat|subject|sub|case|name|patient name|patient id|test|demo|dummy|phantom|removed|"
    r"redacted|deleted|hidden|masked|confidential|private|research|study|pseudon\w*|x+|z+)"
    r"( (patient|subject|name|id|study|\d+))*"
)
#: Fewer letters and digits are others' too: 1-11 is not 11-1.
_TELLING_LENGTH = 5

_TITLES = frozenset({"dr", "prof", "med", "mr", "mrs", "ms", "miss", "herr", "frau", "sr", "jr", "mme", "dott"})
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "\u0131": "i", "þ": "th", "æ": "a", "œ": "o"})
_UMLAUTS = str.maketrans({"ä": "a", "ö": "o", "ü": "u"})


@dataclass(frozen=True, order=True)
class Person:
    """What stands for one person's tags; each part is "" where the tag is empty or names nobody.

    Args:
        patient_id: For the PatientID.
        called: For the PatientName, read as an identifier: de-identified sets repeat the patient's number there.
        names: For the PatientName, one text a writing (Latin letters, others): the hashes of its words, sorted.
        birth_date: For the PatientBirthDate: the hashes of year, month and day.
        sex: ``F``, ``M`` or "".
        others: For each of OtherPatientIDs.
        numbers: For the number in each of these texts that holds one: ``Brats-00007`` and ``7`` are one.
        spelt: For the PatientID's letters and digits (`runs_of`), of `_TELLING_LENGTH` or more.
    """

    patient_id: str
    called: str
    names: tuple[str, ...]
    birth_date: str
    sex: str
    others: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    spelt: str = ""


@lru_cache(maxsize=256)  # the series of a patient say the same
def _person(told: tuple[str, ...]) -> Person:
    number, name, born, sex, others = (text.strip() for text in told)
    ids = [text for text in (number, *others.split("\\")) if not _is_nobody(text)]
    repeats = name and normalised(name) == normalised(number)
    return Person(
        patient_id="" if _is_nobody(number) else id_hash(number),
        called="" if _is_nobody(name) else id_hash(name),
        names=() if repeats else _writings(name),
        birth_date=_birth_date(born),
        sex=sex.upper() if sex.upper() in ("F", "M") else "",
        others=tuple(sorted({id_hash(text) for text in others.split("\\") if not _is_nobody(text)})),
        numbers=tuple(dict.fromkeys(filter(None, map(number_hash, (*ids, name))))),
        spelt=""
        if _is_nobody(number) or len(letters := "".join(runs_of(number))) < _TELLING_LENGTH
        else _hash(letters),
    )


def people_of(headers: Iterable[Mapping[str, str | int]]) -> tuple[Person, ...]:
    """Every person of a series, each once, sorted."""
    raw = {tuple([str(values.get(tag, "")) for tag in PERSON_TAGS]) for values in headers}
    return tuple(sorted(set(map(_person, raw))))


def place_of(headers: Iterable[Mapping[str, str | int]]) -> tuple[str, str]:
    """Where a series was made: hashes of its InstitutionName and StationName, "" where one is empty or names nobody."""
    rows = list(headers)
    told = [[str(values.get(tag, "")) for values in rows] for tag in ("InstitutionName", "StationName")]
    first = (next((text for text in texts if not _is_nobody(text)), "") for texts in told)
    name, station = (_hash(" ".join(text.casefold().split())) if text else "" for text in first)
    return name, station


def id_hash(text: str) -> str:
    """Twelve hexadecimal digits for an identifier, the same for all its spellings; "" for none.

    Args:
        text: A PatientID, or a patient's name in the cohort.
    """
    return _hash(normalised(text)) if text.strip() else ""


def runs_of(patient_id: str) -> list[str]:
    """The words of an identifier, without case, leading zeros and the authority behind ``^``."""
    number = re.sub(r"(?<!\d)0+(?=\d)", "", patient_id.partition("^")[0].casefold())
    return re.findall(r"[^\W_]+", number)


def number_hash(text: str) -> str:
    """The same for the one number in an identifier, however many zeros lead it; "" where there is none, or several."""
    runs = re.findall(r"\d+", text)
    return _hash(str(int(runs[0]))) if len(runs) == 1 and len(runs[0]) < 20 else ""


def same_name(one: Person, other: Person) -> bool | None:
    """Whether two people's names agree; None where one has none, or they are written in different scripts.

    Returns:
        True where the words of one are among those of the other, at least two of them or all: a middle name may be
        missing.
    """
    answers = [
        _agree(a.split(), b.split()) for a in one.names for b in other.names if a.startswith("@") == b.startswith("@")
    ]
    return any(answers) if answers else None


def may_be_one(one: Person, other: Person, is_rare: Callable[[str], bool]) -> bool:
    """Whether two people may be one: mistyped, or told of incompletely.

    Args:
        one: A person.
        other: Another, of another patient.
        is_rare: Whether few have this word, or none has more: what many share joins nobody.

    Returns:
        True for one name with birth dates that differ in year, month or day alone, or in their order, or of which one
        is not known; or for one birth date with a word of the name in common. Of two sexes, for both the same.
    """
    born = (one.birth_date.split(), other.birth_date.split())
    if "sexes" in contradict(one, other):
        return bool(same_name(one, other) and born[0] and born[0] == born[1])
    if same_name(one, other) and (not all(born) or _are_near(*born)):
        return True
    words = {word for name in one.names for word in name.split()} & {w for name in other.names for w in name.split()}
    return bool(born[0]) and born[0] == born[1] and any(is_rare(word) for word in words - {"@"})


def contradict(one: Person, other: Person) -> list[str]:
    """In what two people differ: of ``names``, ``birth dates``, ``sexes``."""
    born, sex = (one.birth_date, other.birth_date), (one.sex, other.sex)
    differ = {
        "names": same_name(one, other) is False,
        "birth dates": all(born) and born[0] != born[1],
        "sexes": all(sex) and sex[0] != sex[1],
    }
    return [what for what, is_so in differ.items() if is_so]


def _agree(a: list[str], b: list[str]) -> bool:
    fewer, more = sorted((set(a) - {"@"}, set(b) - {"@"}), key=len)
    return fewer == more or (len(fewer) > 1 and fewer <= more)


def _writings(name: str) -> tuple[str, ...]:
    r"""A name's writings (PS3.5 6.2: alphabetic=ideographic=phonetic), each as hashed words."""
    found = set()
    for writing in name.split("="):
        parts = [*writing.split("^"), "", "", ""][:3]  # family, given, middle; then prefix and suffix
        words = _words(" ".join(parts)) - _TITLES
        if not words or _NO_NAME.fullmatch(" ".join(sorted(words))) or _is_nobody(writing):
            continue
        latin = all(word.isascii() for word in words)
        found.add(" ".join([*([] if latin else ["@"]), *sorted(map(_hash, words))]))
    return tuple(sorted(found))


def _words(text: str) -> set[str]:
    """The words of a name without case, accents and hyphens; "ue" and "ü" are one, as registries write both."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS).translate(_UMLAUTS)
    plain = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    for long, short in (("ae", "a"), ("oe", "o"), ("ue", "u")):
        plain = plain.replace(long, short)
    return set(re.findall(r"\w+", plain.replace("'", "").replace("\u2019", "").replace("_", " ")))


def _is_nobody(text: str) -> bool:
    plain = " ".join(re.findall(r"[^\W_]+", text.casefold()))
    return not plain or _NO_NAME.fullmatch(plain) is not None


def _birth_date(text: str) -> str:
    digits = text.replace(".", "").replace("-", "")
    parts = digits[:4], digits[4:6], digits[6:]
    try:
        born = date(*map(int, parts))
    except ValueError:
        return ""
    known = len(digits) == 8 and born.year >= FIRST_BIRTH_YEAR and digits not in _NO_BIRTH_DATES
    return " ".join(map(_hash, parts)) if known else ""


def _are_near(one: list[str], other: list[str]) -> bool:
    """Birth dates that differ in one part, or in the order of month and day."""
    return sum(a == b for a, b in zip(one, other, strict=True)) == 2 or [one[0], one[2], one[1]] == other


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
