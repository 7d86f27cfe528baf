"""Which MR sequence the tags speak of: by the words of the description, and by the times of the sequence."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mgmt_monai.cohort.files.headers import is_phase
from mgmt_monai.cohort.files.values import finite, time_of_day_s, told
from mgmt_monai.cohort.layouts.contrast import (
    BOTH,
    DENIED,
    GIVEN,
    NOTHING,
    UNSURE,
    Said,
    said_of_contrast,
    says_agent,
    says_no_agent,
    without_accents,
)

Values = Mapping[str, str | int]

#: T2-FLAIR inverts this long before it reads, to null fluid (2.0-2.8 s at 1.5-3 T, 1.4 s at 0.064 T); T1 sequences
#: with an inversion (MPRAGE, T1-FLAIR) 0.4-1.2 s, STIR under 0.3 s. Source: McRobbie et al., MRI from Picture to
#: Proton, 3rd ed., chapter 12; the real files that the tests read.
FLUID_NULLING_MS = 1300.0
_FAT_NULLING_MS = 300.0

#: Echo time from which a spin echo is T2-weighted, up to which it is T1- or proton-density-weighted (same source).
_LONG_ECHO_MS, _SHORT_ECHO_MS = 60.0, 45.0
#: Echo time from which a gradient echo is T2*-weighted, up to which a spoiled one is T1-weighted.
_LONG_GRADIENT_ECHO_MS, _SHORT_GRADIENT_ECHO_MS = 12.0, 10.0
#: Repetition time up to which a spin echo is T1-weighted, from which it is not.
_SHORT_REPETITION_MS, _LONG_REPETITION_MS = 1100.0, 1800.0

#: Storage classes of MR images (PS3.4 annex B.5): MR, enhanced MR, enhanced MR colour, legacy converted enhanced MR.
_MR_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.4{tail}" for tail in ("", ".1", ".3", ".4"))

_ANOTHER_PART = "another part of the body"

#: Words, in the spelling that `_words` leaves, of series that are none of the four modalities. The first that fits.
#: Stems, as far as one serves several languages: English, German, French, Spanish, Italian, Portuguese, Dutch, Polish,
#: Turkish, Russian; the Nordic, Czech, Romanian and Hungarian words that differ.
_OTHER_WORDS = tuple(
    (kind, re.compile(rf"(?<!\S)(?:{words})(?!\S)"))
    for kind, words in (
        (
            "a localizer",
            r"loca?|lo[ck]ali[sz](?!ed)\w*|локал\w*|scout\w*|aa\w*scout|survey|topogram\w*|"
            r"s[ck]ano(?:gram\w*)?|pilot(?! stud)|3 ?p(?:l\w*|iani)?|"
            r"3d plane|plan ?scan|reperage|posi[ct]ionn?(?:ador|eur)|centra(?:tura|ge)|ubersicht\w*|smartbrain",
        ),
        (
            "a calibration scan",
            r"cal|[ck]alib\w*|prescan|ref ?scan|sense ref|shim\w*|field ?map\w*|b[01] ?map\w*|noise",
        ),
        (
            "diffusion",
            r"e?adc\w*|dwi\w*|dti\w*|dki|d[iy]f+\w*|диф+уз\w*|trace\w*|tensor|colfa|fa|b\d{2,4}|noddi|ivim",
        ),
        (
            "perfusion",
            r"perf\w*|перфуз\w*|pwi|dsc\w*|dce\w*|rel ?cb[vf]|r?cb[vf]|mtt|ttp|tmax|p?c?asl|pasl|3dasl|ktrans",
        ),
        ("a dynamic series", r"d[iy]n(?:am\w*)?|динам\w*|twist|tricks"),
        ("functional MRI", r"bold|fmri|rs ?fmri"),
        ("susceptibility-weighted", r"swi\w*|swan\w*|tstar|venbold|hemo\w*|heme"),
        ("an angiogram", r"mra|mrv|tof|angio\w*|ангио\w*|veno\w*|ph?leb\w*|fleb\w*|inhance|[23]d pca?"),
        ("spectroscopy", r"mrsi?|csi|e?spe[ck]tro\w*|спектро\w*|svs|press"),
        ("a projection", r"mip|minip|mnip|projection"),
        (
            "a calculated image",
            r"map\w*|inv[12]|t1 rho|minus (?:\S+ )*?t1|(?:(?<!^)sub|sub(?! (?!t[12]\b)[a-z]*\d))|s[uo]\w{0,3}tr\w*|"
            r"суб\w*трак\w*|вычит\w*|ode[cj]\w*|cikar\w*|kivon\w*|"  # noqa: RUF001
            r"dixon(?: \S+)*? (?:f|fat|opp\w*)(?! ?s(?:at|up))|^fat(?! ?s(?:at|up))|fat (?:only|image)|"
            r"opp(?:osed)? ?phase|out ?(?:of ?)?phase",
        ),
        ("a phase image", r"pha|(?<!in )phase|real(?! ?time)|imag|imaginary"),
        ("proton-density-weighted", r"pd|pdw|proton\w*"),
        ("STIR or double inversion", r"stir|dir"),
        ("a steady-state sequence", r"ciss|fiesta\w*|drive|truefisp|trufi|b ?ffe"),
        ("a saved screen", r"screen\w*|save|report|dose|key ?images?|phoenix\w*"),
        ("echo-planar", r"ep2d\w*|epi"),
        (
            _ANOTHER_PART,
            r"(?:orbit|орбит|oczod|petro[su]|felsenb|mastoid|pituit|h?[iy]po(?:ph|f)[iy]|przysad|гипофиз|turc|"
            r"турец|kiefer|sinus|paranas|parot|facial|lar[iy]n)\w*|ia[cm]s?|cai|khbw|rochers?|sell[ae]|sela|silla|tmj|"
            r"atm|nnh|face|faccia",
        ),
    )
)

#: Parts below the head; also where ProtocolName names them, and no head.
_BELOW_HEAD = re.compile(
    r"(?<!\S)(?:(?:\w*spine|spinal|\w*wirbel|\w*wervel|ra[ck]hi|colon+a|coluna|columna|coloana|kregos|omurg|позвон|pater|"
    r"gerinc|rygg|neurax|m[iy]elo|moelle|midoll|medul+a|cervic|[sz]ervik|шеин|грудн|поясн|lumba|lomb|thora|tora[ckx]|"
    r"dorsal|sacr|hals|szyj|boyun|abdom|pelvi|mamm|prostat|knie|ginocc|kolan|колен)\w*|cerv|[ctl] spine|[hbl]?ws|"
    r"[ctl]wk|neck|nek|nacken|cou|collo|cuello|pescoco|шея|chest|breast|heart|cardiac|liver|shoulder|schulter|epaule|"
    r"hombro|spalla|ombro|knee|genoux?|rodilla|joelho)(?!\S)"
)
_HEAD = re.compile(
    r"(?<!\S)(?:brain|head|skull|kopf|schadel|crane|cerveau|tete|testa|beyin|hoofd|"
    r"(?:cran[io]|neurocr|hirn|cerebr|cabe[zc]a|en[ck][ei]f|encephal|glow|mozg|hersen|мозг|голов)\w*)(?!\S)"
)

#: The same for ImageType (PS3.3 C.8.3.1.1.1 and what the makers write).
_OTHER_IMAGE_TYPES = tuple(
    (kind, re.compile(values))
    for kind, values in (
        ("a localizer", r"LOCALI[SZ]ER|SCOUT"),
        ("diffusion", r"E?ADC.*|TRACEW?|FA|DIFFUSION.*|TENSOR.*|IVIM.*"),
        ("perfusion", r"PERFUSION.*|ASL|R?CB[VF]|MTT|TT[PM]|RELCB[VF].*"),
        ("functional MRI", r"FMRI|BOLD"),
        ("susceptibility-weighted", r"SW_.*|SWI"),
        ("an angiogram", r"ANGIO.*|TOF|TIME_OF_FLIGHT|FLOW_ENCODED|PHASE CONTRAST.*"),
        ("proton-density-weighted", r"PROTON_DENSITY"),
        ("STIR or double inversion", r"STIR|DOUBLE_IR"),
        ("a projection", r".*MIP|M.*IP|PROJECTION IMAGE|VOLUME RENDERING|VRT"),
        (
            "a calculated image",
            r"F|FAT|FF|OP|OPP_?PHASE|OUT_?PHASE|SUB|SUBTRACT(ION)?|DIVISION|STD_DEVIATION|METABOLITE_MAP|TEMPERATURE|TAGGING|"
            r"T[12][ _*]?MAP|T2_STAR MAP|B[01][ _]?MAP|MPG|SPECTROSCOPY",
        ),
        ("a saved screen", r"SCREEN SAVE|.*REPORT|POSDISP"),
    )
)

_BODY_PARTS = re.compile(r"hip|ankle|wrist|elbow|hand|foot|extremity|uterus|kidney")

_T1_NAMES = "t1|mprage|e?fspgr|spgr|irspgr|bravo|vibe|flash|tfe|thrive|lava"
_T1 = re.compile(rf"(?<!\S)(?:{_T1_NAMES})(?!\S)")
_T2 = re.compile(r"(?<!\S)t2(?!\S)")
_FLAIR = re.compile(r"(?<!\S)(?:flair\w*|flr|tirm|dark ?fluid)(?!\S)")
_GRADIENT = re.compile(r"(?<!\S)(?:gre|ffe|mpgr|medic|fl[23]d)(?!\S)")
#: What enhanced images say for ScanningSequence and SequenceVariant (PS3.3 C.8.13.4), and for their contrast.
_ENHANCED_KINDS = (
    ("EchoPulseSequence", ("SPIN", "BOTH"), "SE"), ("EchoPulseSequence", ("GRADIENT", "BOTH"), "GR"),
    ("InversionRecovery", ("YES",), "IR"), ("EchoPlanarPulseSequence", ("YES",), "EP"),
    ("Spoiling", ("RF", "GRADIENT", "RF_AND_GRADIENT"), "SP"),
)  # fmt: skip
_WEIGHTINGS = {"T1": "T1w", "T2": "T2w", "FLUID_ATTENUATED": "FLAIR", "T2_STAR": "T2*"}
#: How an agent was given, which some exports leave where they take the agent's name out.
_ROUTE = "ContrastBolusRoute"
#: Of these, text that is no denial, nor names an agent, leaves a doubt.
_UNSURE_TAGS = ("ContrastBolusAgent", "ContrastBolusIngredient", _ROUTE)
#: So many acquisitions in the same places are a dynamic series: the phases of a contrast study are fewer.
_DYNAMIC = 8
#: A bolus that starts later than this after a series is one of the day before: the night lies between.
_HALF_A_DAY_S = 12 * 3600
#: Weightings that fit a modality; makers do not always tell a FLAIR's inversion.
_FITTING_TIMES = {"FLAIR": ("FLAIR", "T2w"), "T1w": ("T1w",), "T1wCE": ("T1w",), "T2w": ("T2w",)}


@dataclass(frozen=True)
class Guess:
    """What a series is taken for.

    Args:
        modality: One of ``MODALITIES``, or None: it is none of these, or nothing says which.
        reason: By what, for people: ``T1 by its name; contrast agent by its name``. No text of the header stands in it.
        certain: For a modality of None: something says that it is another kind. For T1w and T1wCE: tags or words say
            whether contrast agent was given, and none says the opposite.
        agent: This series says that there is contrast agent in the patient.
        by_tag: What the tags of the contrast agent say; None for nothing.
        no_amount: The amount of its contrast agent is said to be 0.
        by_words: What the name says.
    """

    modality: str | None
    reason: str
    certain: bool = True
    agent: bool = False
    by_tag: bool | None = None
    by_words: Said = NOTHING
    no_amount: bool = False


def guess(values: Values) -> Guess:
    """The modality that a series' tags speak of.

    The words of SeriesDescription (of ProtocolName where it is blank) go before the times of the sequence: a copied
    protocol changes times freely, and the times of a T1 and a T2 sequence tell them apart only in the plain cases.
    FLAIR and T2, and T1 FLAIR and FLAIR, are told apart by the times where these are plain. Whether contrast agent was
    given is said by its tags; the words are asked where these are silent.

    Args:
        values: Keyword -> value as `mgmt_monai.cohort.files.tags.FileTags` gives them, of one slice.
    """
    other = _no_mr(values) or _other_kind(values)
    if other is not None:
        return Guess(None, other, agent=other.startswith("perfusion") and " asl " not in f" {_text(values)[1]} ")
    keyword, words = _text(values)
    times = by_times(values)
    modality, reason = _by_words(words, times)
    if modality is None and reason:
        return Guess(None, reason, certain=False)
    if modality is None:
        if times is None:
            return Guess(None, "unknown: neither its name nor the times of the sequence say which", certain=False)
        modality, reason = times
        if modality not in ("T1w", "T2w", "FLAIR"):
            return Guess(None, f"{modality} by {reason}")
    by_tag, agent = _agent(values)
    name = said_of_contrast(str(values.get(keyword, "")))
    if name.what in (NOTHING.what, BOTH) and by_tag is None and not agent:
        name = next((Said(UNSURE, one) for one in _UNSURE_TAGS if not says_no_agent(str(values.get(one, "")))), name)
    given = by_tag if by_tag is not None else {GIVEN: True, UNSURE: True, DENIED: False}.get(name.what)
    if modality != "T1w":
        return Guess(modality, reason, agent=bool(given), by_tag=by_tag, by_words=name)
    agrees = name.what not in ((DENIED,) if given else (GIVEN,)) and (
        by_tag is not None or name.what in (GIVEN, DENIED)
    )
    by = agent if by_tag is not None or (agent and not name.what) else said_by_name(name)
    modality, reason, no_amount = "T1wCE" if given else "T1w", f"{reason}; {by}", by_tag is None and bool(agent)
    return Guess(modality, reason, agrees, agent=bool(given), by_tag=by_tag, by_words=name, no_amount=no_amount)


def said_by_name(said: Said) -> str:
    """What a name says of contrast agent, for people, without its words."""
    told = {
        GIVEN: "contrast agent", DENIED: "no contrast agent", BOTH: "both with and without contrast agent",
        UNSURE: "a contrast word beside an unknown one or a dash",
    }  # fmt: skip
    if said.words in _UNSURE_TAGS:
        return f"{_ROUTE} alone, without an agent" if said.words == _ROUTE else f"unknown words in {said.words}"
    return f"{told[said.what]} by its name" if said.what in told else "nothing says contrast agent"


def contradiction(values: Values, modality: str) -> str | None:
    """What the tags speak of, where it is another sequence than a series is taken for.

    Args:
        values: As for `guess`.
        modality: What the series is taken for, one of ``MODALITIES``.

    Returns:
        For people: ``T2w (T2 by its name)``; None where the tags fit, or say too little.
    """
    if _no_mr(values) is not None:
        return None  # what is no MR image at all is told by its Modality
    told = guess(values)
    if told.modality is None:
        return told.reason if told.certain else None
    both_t1 = {told.modality, modality} == {"T1w", "T1wCE"}
    if told.modality != modality and (told.certain or not both_t1):
        return f"{told.modality} ({told.reason})"
    times = by_times(values)
    return None if times is None or times_fit(values, modality) else f"{times[0]} by {times[1]}"


def times_fit(values: Values, modality: str) -> bool:
    """Whether the times of a sequence are such as a modality has, or say too little.

    Args:
        values: As for `guess`.
        modality: One of ``MODALITIES``.
    """
    times = by_times(values)
    return times is None or times[0] in _FITTING_TIMES[modality]


def by_times(values: Values) -> tuple[str, str] | None:
    """Weighting by the kind of echo and the times, where these are plain.

    Args:
        values: As for `guess`; times in ms.

    Returns:
        ``T1w``, ``T2w``, ``FLAIR``, ``T2*``, ``proton density`` or ``STIR``, and by what; None in between, or without
        the tags.
    """
    echo, repetition, inversion = (_number(values, f"{name}Time") for name in ("Echo", "Repetition", "Inversion"))
    kinds = _kinds(values)
    contrast = str(values.get("AcquisitionContrast", "")).upper()
    told = (_WEIGHTINGS[contrast], f"AcquisitionContrast {contrast}") if contrast in _WEIGHTINGS else None
    if echo is None or echo <= 0:
        return told
    named = (("EchoTime", echo), ("RepetitionTime", repetition), ("InversionTime", inversion))
    reason = ", ".join(f"{name} {value:g} ms" for name, value in named if value)
    if "GR" in kinds and "SE" not in kinds:
        weighting = _gradient_echo(values, echo, inversion)
    elif kinds & {"SE", "IR"}:
        weighting = _spin_echo(echo, repetition, inversion, "IR" in kinds)
    else:
        weighting = None
    return told if weighting is None else (weighting, reason)


def _kinds(values: Values) -> set[str]:
    """ScanningSequence and SequenceVariant, or what enhanced images have in their place."""
    told = {
        part
        for keyword in ("ScanningSequence", "SequenceVariant")
        for part in str(values.get(keyword, "")).upper().split("\\")
        if part
    }
    return told | {kind for keyword, those, kind in _ENHANCED_KINDS if str(values.get(keyword, "")).upper() in those}


def _gradient_echo(values: Values, echo: float, inversion: float | None) -> str | None:
    if echo >= _LONG_GRADIENT_ECHO_MS:
        return "T2*"
    spoiled = {"SP", "MP"} & _kinds(values)
    prepared = inversion is not None and _FAT_NULLING_MS <= inversion < FLUID_NULLING_MS
    return "T1w" if echo <= _SHORT_GRADIENT_ECHO_MS and (spoiled or prepared) else None


def _spin_echo(echo: float, repetition: float | None, inversion: float | None, inverted: bool) -> str | None:
    if inversion:
        if inversion >= FLUID_NULLING_MS:
            return "FLAIR" if echo >= _LONG_ECHO_MS else None
        if inversion < _FAT_NULLING_MS:
            return "STIR"
        return "T1w" if echo <= _SHORT_ECHO_MS else None
    if inverted or repetition is None:
        return None
    if repetition <= _SHORT_REPETITION_MS:
        return "T1w" if echo <= _SHORT_ECHO_MS else None
    if repetition < _LONG_REPETITION_MS:
        return None
    if echo >= _LONG_ECHO_MS:
        return "T2w"
    return "proton density" if echo <= _SHORT_ECHO_MS else None


def _no_mr(values: Values) -> str | None:
    modality, storage = str(values.get("Modality", "")), str(values.get("SOPClassUID", ""))
    if modality not in ("", "MR"):
        return f"no MR image (Modality {told(modality)})"
    if storage and storage not in _MR_CLASSES:
        return f"no MR image (SOPClassUID {told(storage)})"
    if not modality and not storage:
        return "no MR image (neither Modality nor SOPClassUID)"
    samples = values.get("SamplesPerPixel", 1)
    return "a colour image (SamplesPerPixel 3)" if samples == 3 else None


def _other_kind(values: Values) -> str | None:
    body = _words(str(values.get("BodyPartExamined", "")))
    if _BODY_PARTS.fullmatch(body) or _BELOW_HEAD.search(body) or _OTHER_WORDS[-1][1].search(body):
        return f"{_ANOTHER_PART} (BodyPartExamined)"
    image_type = str(values.get("ImageType", "")).upper()
    if is_phase(values):
        return "a phase image (ImageType)"
    contrast = str(values.get("AcquisitionContrast", "")).upper()
    for kind, pattern in _OTHER_IMAGE_TYPES:
        if any(pattern.fullmatch(value) for value in image_type.split("\\")[2:]):
            return f"{kind} (ImageType)"
        if pattern.fullmatch(contrast):
            return f"{kind} (AcquisitionContrast)"
    if finite(str(values.get("DiffusionBValue", "")).split("\\")[0]):
        return "diffusion (DiffusionBValue)"
    n_points = finite(str(values.get("NumberOfTemporalPositions", "")))
    if n_points is not None and n_points >= _DYNAMIC:
        return f"a dynamic series (each slice {n_points:g} times)"
    words = _text(values)[1]
    for kind, pattern in _OTHER_WORDS:
        if pattern.search(words):
            return f"{kind} (by its name)"
    protocol = _words(str(values.get("ProtocolName", "")))
    if _BELOW_HEAD.search(words) or (_BELOW_HEAD.search(protocol) and not _HEAD.search(f"{words} {protocol}")):
        return f"{_ANOTHER_PART} (by its name)"
    if "EP" in _kinds(values):
        return "echo-planar: diffusion, perfusion or functional MRI (ScanningSequence EP)"
    return None


def _by_words(words: str, times: tuple[str, str] | None) -> tuple[str | None, str]:
    t1, t2, flair = _T1.search(words), _T2.search(words), _FLAIR.search(words)
    weighting = times[0] if times else None
    if flair:
        said = "FLAIR by its name"
        if t1 and weighting != "FLAIR":
            return "T1w", "T1 and FLAIR by its name"
        if weighting == "T1w" and times:
            return "T1w", f"{said}, but {times[1]}"
        return "FLAIR", said
    if t1 and t2:
        if weighting in ("T1w", "T2w") and times:
            return weighting, f"both T1 and T2 by its name, {times[1]}"
        return None, "unknown: both T1 and T2 by its name"
    if t1:
        return "T1w", "T1 by its name"
    if t2:
        if weighting == "FLAIR" and times:
            return "FLAIR", f"T2 by its name, {times[1]}"
        if weighting == "T2*" or _GRADIENT.search(words):
            return None, "T2*-weighted (T2 by its name, a gradient echo)"
        return "T2w", "T2 by its name"
    return None, ""


def _agent(values: Values) -> tuple[bool | None, str]:
    """What the tags of the contrast agent say, and by which value; nothing (None) of an agent whose amount is 0."""
    administered = str(values.get("ContrastBolusAgentAdministered", "")).upper()
    if administered in ("YES", "NO"):
        given = administered == "YES"
        return given, f"{'' if given else 'no '}contrast agent by ContrastBolusAgentAdministered"
    named = next((tag for tag in ("ContrastBolusAgent", "ContrastBolusIngredient") if tag in values), "")
    text = str(values.get(named, "")).strip()
    if text and says_no_agent(text):
        return False, f"no contrast agent by {named}"
    amounts = {
        keyword: amount
        for keyword in ("ContrastBolusVolume", "ContrastBolusTotalDose")
        if (amount := finite(str(values.get(keyword, "")))) is not None
    }
    filled = [f"{keyword} {amount:g} ml" for keyword, amount in amounts.items() if amount]
    if not filled and not (text and says_agent(text)):
        return None, ""
    bolus, taken = (time_of_day_s(str(values.get(f"{name}Time", ""))) for name in ("ContrastBolusStart", "Acquisition"))
    if bolus is not None and taken is not None and 0 < bolus - taken < _HALF_A_DAY_S:
        return False, "taken before the contrast agent by ContrastBolusStartTime"
    if text and amounts and not filled:
        return None, f"{named} beside {next(iter(amounts))} 0"
    return True, f"contrast agent by {named if text else filled[0]}"


def _text(values: Values) -> tuple[str, str]:
    for keyword in ("SeriesDescription", "ProtocolName"):
        words = _words(str(values.get(keyword, "")))
        if words:
            return keyword, words
    return "SeriesDescription", ""


def _words(text: str) -> str:
    """Lower-case words with single spaces between, with the ways people glue and abbreviate them taken apart.

    Example:
        >>> _words("sagT1W_3D_TFE+C"), _words("Ax T2* w/o"), _words("t1_mprage_pat2 (pre)")
        ('sag t1 3d tfe c', 'ax tstar w o', 't1 mprage pat2 pre')
    """
    text = without_accents(text)
    for pattern, plain in _SPELLINGS:
        text = pattern.sub(plain, text)
    return " ".join(text.split())


_SPELLINGS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"t2 ?\*|t2[\W_]?star", " tstar "),
        (r"mp[\W_]?rage", " mprage "),
        (r"(?<!\w)post ?(?:-|minus) ?pre(?!\w)", " sub "),
        (r"[\W_]+", " "),
        # Glued before: 'sagT1', '3DT1', 'eT1W', 'postT1'; but not the acceleration 'pat2'.
        (
            r"(?<!\w)((?:ax|axial|sag|sagittal|cor|coronal|tra|trans|obl|[23]d|fs|[ft]se|post|pre|gd|ir)*[sedw]?)"
            r"(t[12]|tstar|flair|mprage)(?!\d)",
            r" \1 \2 ",
        ),
        # Glued behind: 'T1W', 'T1WI', 'T1wCE'.
        (r"(?<!\S)(t[12]) +w(?:i|eighted)?(?!\w)", r"\1 "),
        (r"(?<!\S)(t[12]) +w(?=ce(?!\w)|gd|gad|flair|post|pre|c(?!\w))", r"\1 "),
    )
)


def _number(values: Values, keyword: str) -> float | None:
    for name in (keyword, f"Effective{keyword}", f"{keyword}s"):  # the latter two: enhanced images
        number = finite(str(values.get(name, "")).split("\\")[0])
        if number is not None:
            return number
    return None
