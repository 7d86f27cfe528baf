"""Numbers, days and times out of the text that headers hold, and what of it may be told."""

import hashlib
import math
import re
from functools import lru_cache

#: What makers, their devices and kinds of images are called: words that name nobody.
_EQUIPMENT = re.compile(
    r"siemens|healthineers|healthcare|ge|gems|hc|medical|systems|system|philips|toshiba|canon|mec|mr|mri|"
    r"nmr|hitachi|bruker|biospin|fonar|hyperfine|esaote|united|imaging|uih|neusoft|mediso|paramed|shimadzu|"
    r"research|aera|amira|altea|avanto|avantofit|biograph|mmr|concerto|cima|espree|essenza|fit|free|"
    r"harmony|impact|lumina|magnetom|open|prisma|prismafit|skyra|skyrafit|sola|sonata|symphony|"
    r"symphonytim|terra|trio|triotim|verio|vida|vision|achieva|ambition|dstream|elition|evolution|"
    r"gyroscan|ingenia|intera|intero|mx|nt|omega|panorama|prodiva|release|sr|tx|xr|architect|artist|brivo|"
    r"creator|discovery|echospeed|excite|explorer|genesis|hd|hde|hdx|hdxt|horizon|lx|optima|pioneer|plus|"
    r"premier|signa|twin|voyager|pet|air|galan|orian|titan|vantage|zgv|airis|altaire|aperto|centauri|"
    r"echelon|oasis|oval|swoop|umr|magneto|phantom|made|scanner|model|ct|cr|dx|mg|nm|ot|pt|px|rf|rg|sc|seg|"
    r"sm|us|xa|ko|doc|pr|reg|rtdose|rtimage|rtplan|rtstruct|rwv|spect|es|io|ecg|rgb|argb|cmyk|hsv|"
    r"monochrome|palette|color|ybr|full|partial|ict|rct",
    re.IGNORECASE,
)


def told(value: str | int) -> str:
    """What of a header may stand in a message, a table or a log.

    Returns:
        The value itself where it is made of numbers, standard UIDs, single letters and the names of makers, devices and
        kinds of images; else ``text`` and six hexadecimal digits, the same for equal ones: any text may name somebody.

    Example:
        >>> told("SIEMENS"), told("TrioTim 3T"), told("98.5"), told("2D"), told("Doe 3T")
        ('SIEMENS', 'TrioTim 3T', '98.5', '2D', 'text 25f2ec')
    """
    text = str(value)
    words = re.findall(r"[^\W\d_]+", text)
    is_long = re.search(r"\d{6}", re.sub(r"\d*\.\d+|1\.2\.840\.10008[.\d]*", "", text))  # as a day has
    if not is_long and all((len(word) == 1 and word.isascii()) or _EQUIPMENT.fullmatch(word) for word in words):
        return text
    return f"text {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:6]}"


def finite(text: str | int) -> float | None:
    """The number that a text says; None where it says none, infinity or not-a-number.

    Example:
        >>> finite(" 1.5e3"), finite("1e400"), finite("nan"), finite("")
        (1500.0, None, None, None)
    """
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@lru_cache(maxsize=1024)
def finite_numbers(text: str, count: int) -> tuple[float, ...] | None:
    r"""As many finite numbers as a text with ``\`` between them says; None where it says others, or not as many.

    Args:
        text: A value of a tag. The slices of a series repeat most of them: what was read is kept.
        count: How many are expected.

    Example:
        >>> finite_numbers("1\\0.5", 2), finite_numbers("1\\nan", 2), finite_numbers("", 1)
        ((1.0, 0.5), None, None)
    """
    try:
        numbers = tuple(map(float, text.split("\\")))
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def day(text: str) -> str:
    """The day that a text of the kind DA says, as YYYYMMDD; "" where it says none.

    Args:
        text: ``20200131``, or with the dots or dashes of old files.

    Example:
        >>> day("2020.01.31"), day("20201350"), day("")
        ('20200131', '', '')

    Source: PS3.5 section 6.2, DA.
    """
    match = re.fullmatch(r"(\d{4})([.-]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])", text.strip())
    return "" if match is None else f"{match[1]}{match[3]}{match[4]}"


def time_of_day_s(text: str) -> float | None:
    """The time that a text of the kind TM says, in seconds since midnight; None where it says none.

    Args:
        text: ``093000.5``, ``0930``, ``09:30:00``; a leading zero that a number has lost is put back (``93000``), and a
            time zone (``+0100``) passed over.

    Example:
        >>> time_of_day_s("93000") == time_of_day_s("09:30:00") == 34200, time_of_day_s("101500.25")
        (True, 36900.25)
        >>> time_of_day_s("x"), time_of_day_s("10.16")
        (None, None)

    Source: PS3.5 section 6.2, TM.
    """
    whole, _, fraction = _ZONE.sub("", text).strip().partition(".")
    whole = whole.replace(":", "")
    if not re.fullmatch(r"\d{1,6}", whole) or not re.fullmatch(r"\d*", fraction):
        return None
    if fraction and len(whole) < 5:  # a fraction is one of seconds: 10.16 may be a time in other hands, or none
        return None
    whole = f"0{whole}" if len(whole) % 2 else whole
    hours, minutes, seconds = (int(f"{whole:0<6}"[at : at + 2]) for at in (0, 2, 4))
    if hours > 23 or minutes > 59 or seconds > 60:  # 60: a leap second
        return None
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{fraction or 0}")


def zone_s(text: str) -> float | None:
    """How far ahead of UTC a time is that ends in its zone, in seconds; None where it says none.

    Example:
        >>> zone_s("093000.5+0130"), zone_s("0930")
        (5400.0, None)

    Source: PS3.5 section 6.2, DT.
    """
    match = _ZONE.search(text)
    return match and float(f"{match[1]}{60 * (60 * int(match[2]) + int(match[3]))}")


_ZONE = re.compile(r"([+-])(\d\d)([0-5]\d)\s*\Z")
