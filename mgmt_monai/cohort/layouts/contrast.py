"""What a name says of contrast agent, in the languages that clinics write: given, not given, or nothing that counts."""

import re
import unicodedata
from typing import NamedTuple

GIVEN, DENIED, BOTH, UNSURE, SILENT = "given", "denied", "both", "unsure", ""
"""What a text says: contrast agent, none (yet), both (of the whole examination), a word in doubt, nothing."""


class Said(NamedTuple):
    """What a text says of contrast agent, ``what`` (`GIVEN`, ...), by which words."""

    what: str
    words: str = ""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


NOTHING = Said(SILENT)

#: In small letters without accents. English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Turkish; the
#: Nordic, Czech, Romanian, Hungarian, Russian and Greek words that differ. Each needs a contrast word behind it...
_DENIES = _set(
    "no non not nicht nao nie kein keine keinen ningun aucun aucune nessun nenhum geen brak ss o without wo ohne sans "
    "sin senza sem bez beze zonder uden utan uten ilman ilma fara brez neg tanpa без χωρις minus"
)
_BEFORE = _set(
    "v pre prae pra vor for avant avt ennen antes previ previo previa previos prima prior before ante przed voor pred "
    "innan fore prije inden enne inainte до πριν"
)
_WITH = _set("with w mit m avec con com met z ze ile med s c cu incl including amb dengan с με")  # noqa: RUF001
_AFTER = _set("post after nach apres tras despues dopo pos apos depois po na efter etter jalkeen dupa nakon после μετα")
#: ... but these say it alone, at the end or before a word of `_NEUTRAL`.
_ALONE = _set("without wo ohne sans sin senza sem bez beze zonder uden uten pre prae post pos")
#: Where nothing follows, these say it alone too: "T1 vor", "T1 dopo", "T1 avec".
_LAST = (_BEFORE | _AFTER | _set("with mit avec con com met med cu amb με")) - _set(
    "prior po na pa i v previ previo previa previos"
)
#: Before contrast, by themselves.
_NATIVE = re.compile(
    r"nat|nati[vf]\w*|natief|vuoto|bianco|leer|natywn\w*|нативн\w*|dirett[oa]|plain|blanco|blank|basal[ei]?|simple|unenhanced|nce?"
)
#: Behind the contrast word.
_DENIED_BEHIND = _set(
    "oncesi oncesinde once onde nelkul elott free frei los none no nein non neg negative negativo yok vor vorher minus "
    "maddesiz"
)
_GIVEN_BEHIND = _set("sonrasi sonra utan yes ja oui si sim da nach nachher jalkeen verildikten")
#: Between a preposition and its contrast word.
_FILLERS = _set(
    "of to de del della al da di do dos des du dem der den la le les el il lo l d i iv ev the any medio meio mezzo "
    "agente produit srodek srodka srodku sr podaniu podaniem podani administration administracion administracao "
    "somministrazione toediening gabe substanta substancji substancia substance введения введением введении"
)
_AND = _set("and und et y e en ed i oder or ou ve und och og a et u и και")

#: Between the contrast word and what is said of it.
_CARRIERS = _set("madde maddesi maddeden ilac mittel medium media agent agente anyag was were wurde is est fue foi e")
#: Behind it, after a denial: "contrast not given"; or by themselves.
_DONE = re.compile(
    r"given|administ\w*|used|applied|injec\w*|gegeben|verabreicht|appli\w*|injiz\w*|somminist\w*|iniett\w*|inyect\w*|"
    r"injet\w*|utili\w*|usado|podan\w*|gegeven|toegediend|gitt|givet|введ[её]н\w*|вводил\w*"
)
_REFUSED = re.compile(
    r"refus\w*|declin\w*|withh[eo]ld|abgelehnt|verweigert|rifiut\w*|rechaz\w*|recus\w*|geweigerd|отказ\w*|verilme\w*"
)
#: "6 months post".
_SPANS = re.compile(
    r"(?:day|week|month|year|hour|h?r|mo|wk|yr)s?|m[oe]na?t\w*|jahre?|woche\w*|tage?|mois|mes(?:es)?|mesi|dias?"
)
#: What may be absent beside contrast.
_ABSENT = re.compile(
    r"fat|fs|fatsat|sat|mt|mtc|fc|flow\w*|gat\w*|trig\w*|arms?|dixon|spa?ir|motion|breath\w*|sedat\w*|sense|grappa|"
    r"gap|\w*satura\w*|\w*sup+r\w*|asset|filter|norm\w*|comp\w*|angio|fett\w*|grasa|graisse|grasso|gordura|vet|stir|dwi|swi|coil"
)

_AGENTS = (
    r"dotarem|artirem|clariscan|magnevist|prohance|multihance|omniscan|optimark|elucirem|vueway|primovist|eovist|"
    r"ablavar|vasovist|dotagraf|pixxoscan|cyclolux|magnegita|magnograf|magnescope|hance|feraheme|ferumox\w*"
)
_NOUN = re.compile(
    rf"contra?st\w*|contras?|kontra[sz]\w*|[ck]ontr|(?:iv)?km|kl|gbca|kmg|km[gm]abe|gd(?!c$)\w{{0,5}}|gad\w*|mdc|pdc|civ|enh\w*|inj|in[jy]e[ck]\w*|injet\w*|"
    rf"iniez\w*|iniett\w*|tehoste?\w*|varjoain\w*|ce|agent\w*|bolus|{_AGENTS}|контраст\w*|ку|гадо\w*|σκιαγραφ\w*"
)
#: Only behind one of the words above: alone they are anything.
_NOUN_BEHIND = _set("c con cont cte ctte cm mc pc k iv ev ilac medium")
#: Glued together, and the one-word forms.
_GLUED = r"(?:contra?st\w*|kontra\w*|[ck]ont(?:ra?s?)?|km|kl|gd|gad\w*|enh\w*|inj\w*|mdc|ce|cte)"
_GLUED_DENIED = re.compile(
    rf"(?:pre|prae?|przed|non?|un|vor|ohne|sin|sans|senza|sem|bez|zonder|anti){_GLUED}"
    r"|(?:\w*kontra\w*|ilac?|(?:iv)?km|gad\w*)s[iu]z|kontra\w*(?:oncesi|iton|mentes)"
    r"|[ck]ontra\w*fr(?:ei|i|ee)|km ?frei|minusc|prec|precon|noncon|smdc|woc|wocon|opaks[iu]z"
)
_GLUED_GIVEN = re.compile(
    rf"(?:post|nach|mit|apres|dopo|pos|met|na|con){_GLUED}"
    r"|pokontra\w*|kontra\w*l[iu]|ilac?l[iu]|kontra\w*sonrasi|plusc|mkm|postc|postcon|[mw]ce|opakl[iu]"
)
#: What the text of an agent begins with where there was none (nv: n.v.t.) ...
_NOTHING = re.compile(
    r"n|na|to|egfr|allerg\w*|extravas\w*|nil|null|kein\w*|nichts?|zadn\w*|brez|unk|unknown|none|not|nothing|ningun\w*|aucune?|rien|nessun\w*|"
    r"nenhum\w*|nan|pending|planned|tbd|unspecified|cancel\w*|abandon\w*|contraindic\w*|uygulanma\w*|geen|niet|nej|ne|nei|ikke|inte|ej|ei|hayir|nincs|nu|niciun\w*|brak|yok|nie|nein|no|non|nao|pas|without|"
    r"wo|ohne|sans|sin|senza|sem|bez|zonder|utan|uden|ilman|minusc|false|entfallt|δεν|οχι|нет|не|без|なし|無し?|无|没有|沒有|없음"
)
#: What is given instead, or against the motion of the bowel; and why none is given.
_OTHER_DRUG = re.compile(
    r"saline|nacl|kochsalz\w*|physiolog\w*|water|wasser|cl|buscopan|glucagon|hyoscin\w*|e?gfr|low|held|hold|fail\w*|"
    r"defer\w*|abort\w*|unable|could|odmow\w*|rehus\w*|weiger\w*|lehnt|reddet\w*|\w+ilmadi|renal\w*|nieren\w*|ckd|"
    r"[ck]reat\w*|pregnan\w*|schwanger\w*"
)
#: What says in the text of an agent that there was one, beside the words for it.
_YES = re.compile(r"[1-9]\d*|y|t|true|tak|evet|verildi|iv|c|with|mit|avec|con|com|met")
#: ... unless an agent or an amount stands behind it ("No. 2 Gadavist"), or it is another word ("non-ionic").
_SOMETHING = re.compile(r"gad\w*|gd\w*|ioni\w*|[1-9]\d*")
_AMOUNT = re.compile(r"(\d+(?:[.,]\d*)?)\s*(?:(?:ml|cc|cm3|mg|g|mmol|мл)\b(?!\s*/(?!\s*kg))|\Z)")
_CJK = ((DENIED, re.compile("(?:造影|增强|增強|조영)[제剤剂]? ?(?:前|なし|無|전|없|\\(?-)|[非未无無](?:造影|增强|增強)"
                            "|単純|平扫|平掃")),
        (GIVEN, re.compile("造影|增强|增強|조영")))  # fmt: skip

#: Words that stand before a contrast word and change nothing of it: planes, sequences, parts of the body, what is done.
_NEUTRAL = _set(
    "t ax axial axi sag sagittal cor coronal coro tra trans transv transversal obl oblique tse se fse gre irse ir "
    "mprage mpr mp rage vibe flash space cube bravo fspgr efspgr spgr irspgr tfe ffe thrive lava tir tirm flair "
    "dark fluid stir fs fat sat fatsat fatsup dixon spair spir w wi weighted iso thin thick vol volume recon rec "
    "rekon reformat stealth nav navi navigation brainlab gk gamma knife tumor tumour brain head cranial kopf "
    "schadel hirn crane cerveau tete cerebro cerebral cabeza cabeca craneo cranio encefalo testa glowa glowy mozg "
    "mozgu beyin kafa hoofd hersenen mr mri rm irm mrt protocol routine hr hires high res hd isotropic whole full "
    "dynamic dyn late delayed early first second third repeat rpt new old motion blade propeller arms gdc nd dis "
    "td ti te tr sense gw black blood cap m ph multi echo mt on off elic eff spine neck orbit orbits sella stereo "
    "stereotactic mm cm ns thins mip volumetric reformatted reformats smartbrain vista delay rr fil magnetization"
)
#: What may stand behind a lone `post`: not what is done to a patient, before or after which a T1 may be.
_OF_SEQUENCE = (_NEUTRAL | _DENIES | _BEFORE | _WITH | _AFTER) - _set("gk gamma knife tumor tumour sat")


def said_of_contrast(text: str) -> Said:
    """What a description, a protocol's name or the text of an agent says of contrast agent.

    Every contrast word votes, with the word before (or behind) it: "ohne KM", "kontrast oncesi", "sans gado", "w/o".
    A text with votes both ways names the whole examination and decides nothing. A contrast word behind a word of no
    known language, or behind a dash that may be a minus ("T1 - Gd"), is `UNSURE`: what it says may be a denial.

    Example:
        >>> said_of_contrast("T1 SIN CONTRASTE").what, said_of_contrast("ax t1 nach KM").what
        ('denied', 'given')
        >>> said_of_contrast("BRAIN W/WO").what, said_of_contrast("T1 post op").what
        ('both', '')
    """
    text = unicodedata.normalize("NFKC", text).translate(_DASHES)
    for what, pattern in _CJK:
        match = pattern.search(text)
        if match:
            return Said(what, match[0])
    tokens = _tokens(text)
    votes: list[tuple[str, str]] = []
    bound: set[int] = set()  # contrast words whose vote has been cast by the word before them
    for i, token in enumerate(tokens):
        if token == "both":
            votes += [(GIVEN, "with"), (DENIED, "and without")]
        elif _NATIVE.fullmatch(token) or _GLUED_DENIED.fullmatch(token):
            if not token.startswith("basal") or _stands_alone(tokens, i + 1):
                votes.append((DENIED, token))
        elif token in _DENIES | _BEFORE:
            votes += _of_preposition(tokens, i, DENIED, bound)
        elif token in _WITH | _AFTER:
            votes += _of_preposition(tokens, i, GIVEN, bound)
        elif _GLUED_GIVEN.fullmatch(token) and i not in bound:
            votes.append((GIVEN, token))
        elif _NOUN.fullmatch(token) and i not in bound:
            votes.append(_of_noun(tokens, i))
    votes = [vote for vote in votes if vote[0]]
    kinds = {what for what, _ in votes}
    words = ", ".join(dict.fromkeys(word for _, word in votes))
    if {GIVEN, DENIED} <= kinds:
        return Said(BOTH, words)
    return Said(next((what for what in (DENIED, GIVEN, UNSURE) if what in kinds), SILENT), words)


def says_no_agent(text: str) -> bool:
    """Whether the text of an agent says that there was none.

    Example:
        >>> [says_no_agent(text) for text in ("", "NONE", "sin contraste", "n/a", "GADAVIST 10ml")]
        [True, True, True, True, False]
    """
    tokens = _tokens(text)
    amounts = [float(one.replace(",", ".")) for one in _AMOUNT.findall(text.lower())]
    other = any(map(_OTHER_DRUG.fullmatch, tokens)) and not any(map(_NOUN.fullmatch, tokens))
    if not tokens or (amounts and not any(amounts)) or other or any(map(_REFUSED.fullmatch, tokens)):
        return True
    if _NOTHING.fullmatch(tokens[0]) and not any(map(_SOMETHING.fullmatch, tokens)):
        return True
    return said_of_contrast(text).what == DENIED


def says_agent(text: str) -> bool:
    """Whether the text of an agent names one, an amount, or says yes: others may say why there was none.

    Example:
        >>> [says_agent(text) for text in ("Gadovist", "10", "IV", "ja", "see protocol")]
        [True, True, True, True, False]
    """
    patterns = (_YES, _DONE, _NOUN)
    words = any(token in _GIVEN_BEHIND or any(one.fullmatch(token) for one in patterns) for token in _tokens(text))
    return words or said_of_contrast(text).what == GIVEN


def without_accents(text: str) -> str:
    """A text in small letters, without accents."""
    text = text.lower().translate(str.maketrans("łßøæı", "lsoai"))
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))


def _of_preposition(tokens: list[str], at: int, what: str, bound: set[int]) -> list[tuple[str, str]]:
    token = tokens[at]
    follows = at + 1
    prepositions = _DENIES | _BEFORE | _WITH | _AFTER
    joined = False
    while follows < len(tokens) and (
        tokens[follows] in _FILLERS | _AND
        or (joined and tokens[follows] in prepositions)
        or (tokens[follows] in prepositions and tokens[follows] not in ("c", "con") and len(token) > 1)
    ):
        joined = joined or tokens[follows] in _AND
        follows += 1
    if follows == len(tokens) and follows > at + 1 and tokens[-1] in _NOUN_BEHIND:  # "avec IV"
        follows -= 1
    target = tokens[follows] if follows < len(tokens) else ""
    if target and (_NOUN.fullmatch(target) or target in _NOUN_BEHIND):
        words = " ".join(tokens[at : follows + 1])
        while follows < len(tokens) and _NOUN.fullmatch(tokens[follows]):  # "sem injeção de contraste"
            bound.add(follows)
            follows += 1
            while follows < len(tokens) and tokens[follows] in _FILLERS:
                follows += 1
        return [(what, words)]
    others = set(tokens[at + 1 : follows]) & ((_DENIES | _BEFORE) if what == GIVEN else (_WITH | _AFTER))
    if joined and others:
        return [(GIVEN, "with"), (DENIED, "and without")]
    before = tokens[at - 1] if at else ""
    further = tokens[follows + 1] if token in _DENIES and target.isalpha() and follows + 1 < len(tokens) else ""
    if len(token) > 1 and _NOUN.fullmatch(further) and not (_ABSENT.fullmatch(target) or target in _OF_SEQUENCE):
        bound.add(follows + 1)  # "without intravenous contrast"
        return [(what, f"{token} {target} {further}")]
    is_noun = token in _WITH and (
        before in prepositions or (token == "met" and before in ("brain", "head", "cerebral"))
    )
    if token not in _ALONE and (target or token not in _LAST or is_noun):  # "non con", "brain met"
        return []
    position = token == "pos" and (target or not (before in _NEUTRAL or before.isdigit()))  # "supine pos", "pos1"
    absent = token in _DENIES and _ABSENT.fullmatch(target)
    if position or absent or _SPANS.fullmatch(before) or not _stands_alone(tokens, follows):
        return []
    return [(what, token)]


def _stands_alone(tokens: list[str], follows: int) -> bool:
    """Whether what follows is nothing, or speaks of the sequence only: "post ax 3 mm", not "post craniotomy"."""
    target, further = [*tokens[follows : follows + 2], "", ""][:2]
    if target.isdigit():
        return not _SPANS.fullmatch(further)
    return len(target) <= 1 or target in _OF_SEQUENCE


def _of_noun(tokens: list[str], at: int) -> tuple[str, str]:
    token = tokens[at]
    before, follows = tokens[at - 1] if at else "", at + 1
    while follows < len(tokens) and tokens[follows] in _CARRIERS:
        follows += 1
    behind, further = [*tokens[follows : follows + 2], "", ""][:2]
    if behind in _GIVEN_BEHIND:
        return GIVEN, f"{token} {behind}"
    ends = (
        not further
        or _DONE.fullmatch(further)
        or (_stands_alone(tokens, follows + 1) and not _ABSENT.fullmatch(further))
    )
    denied = ends if behind in _DENIES else behind in _DENIED_BEHIND or _REFUSED.fullmatch(behind)
    if denied:
        return DENIED, f"{token} {behind}"
    known = (
        not before.isalpha() or len(before) == 1 or before in _NEUTRAL | _FILLERS | _AND | _WITH | _AFTER
        or _NOUN.fullmatch(before) or _ABSENT.fullmatch(before) or token in ("enh", "enhanced", "ce")
    )  # fmt: skip
    return (GIVEN, token) if known else (UNSURE, f"{before} {token}")


def _tokens(text: str) -> list[str]:
    text = re.sub(r"(?<=[a-z])(?=[A-Z][A-Za-z])", " ", text)  # vorKM, PostGd
    text = without_accents(text)
    for pattern, plain in _SPELLINGS:
        text = pattern.sub(plain, text)
    return [token for token in re.split(r"[\W_]+", unicodedata.normalize("NFC", text)) if token]


_CONTRAST = r"(?:c|ce|con|gd|gad\w*|km|kl|post\w*|pre\w*|nativ\w*|kontrast\w*|contrast\w*)"
_SHORT = r"(?:c|ce|gd|gado?|km|kl)"  # what stands beside a plus or minus
_DASHES = str.maketrans("\u2212\u2013\u2014", "---")  # minus, en and em dash
_SPELLINGS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"(?<![a-z])(?:w[ _-]?[/\\]? ?(?:[/\\&+]|and)? ?w[/\\]?o(?:ut)?|m[/\\]o|c[/\\]s)(?![a-z])", " both "),
        (r"\+ ?[/\\] ?-|- ?[/\\] ?\+", " both "),
        (r"(?<![a-z])w[/\\]?o ?[/\\&+] ?w(?![a-z])", " both "),
        (r"(?<![a-z])(?:w[/\\]o(?:ut)?|w\.o\.?)(?![a-z])", " without "),
        (r"(?<![a-z])(?:(i|k|c)\. ?(v|l|m|e)\.?|(n)[/.](c)\.?)(?![a-z])", r" \1\2\3\4 "),
        (r"(?<![a-z])m\.d\.c\.?(?![a-z])", " mdc "),
        (r"(?<![a-z])k\. ?a\.?(?![a-z])", " none "),
        (r"(?<![a-z])z\.\s?(?=contr|gd|gad)", " zonder "),  # Dutch; the Polish "z" (with) has no dot
        (r"(?<![a-z])ilac (?=once|sonra|verild)", " kontrast "),
        (r"(?<![a-z])(?:gd|gad\w*|km|[ck]ontrast\w*) ?[=:] ?0(?![\d.,])", " minusc "),
        (r"(?<![a-z])s\. ?c\.?(?![a-z])", " sin c "),
        (r"(?<![a-z])s ?(?=civ(?![a-z]))", " sin "),
        (r"['\u2019](?=[sl][iu]z?(?![a-z]))", ""),
        (rf"(?<![^\W_]){_SHORT}(?: ?minus(?![a-z])|-(?=[\s_]))|(?<![^\W_])c0(?![^\W_])", " minusc "),
        (r"(?<![^\W_])(?:\w*[ck]ontrast\w*|c|ce|gd|gado?|km|kl) ?\(-\)", " minusc "),
        (r"(?<![\w.,])0 ?(?:(?:ml|mg|cc) ?)?(?=(?:gd|gad\w*|km|kl|[ck]ontrast\w*)(?![a-z]))", " no "),
        (r"(?<![a-z])(?:iv|k) ?\+|\+ ?(?:iv|k)(?![a-z])", " plusc "),
        (r"(?<![a-z])(?:iv|k)-(?!\w)", " minusc "),
        # Cut off, or all that is said: 'T1 w/', 'T1+', 'T1 (+)', 'T1-'.
        (r"(?<![a-z])w[/\\]\W*\Z|(?<=t1)w?(?:\+(?![^\W_])| ?\(\+\))", " plusc "),
        (r"(?<=t1|se|fs)\s?\+\W*\Z|(?<=t1w|tse|tfe|mpr)\s?\+\W*\Z|(?<=rage|spgr|vibe)\s?\+\W*\Z", " plusc "),
        (r"(?<=t1)w?(?:-\W*\Z| ?\(-\))", " minusc "),
        (r"(?<![a-z])w[/\\](?=\s?[a-z])", " with "),
        (r"(?<![a-z])s(?:[/\\]\s?(?=[a-z])|\.\s?(?=mdc|contr|gad|gd))", " sin "),
        (rf"(?:\+\s?|\bplus )(?:{_SHORT}|con|cm|contrast\w*|kontrast\w*)(?![a-z])|(?<![a-z])c ?\+", " plusc "),
        (rf"(?<![^\W_])-{_SHORT}(?![a-z])|(?<=[\W_])(?:{_SHORT}|[ck]ontrast\w*) ?-(?! ?\w)", " minusc "),
        # A dash between spaces may be a minus or a comma: 'T1 - Gd'.
        (rf"[\s_]-[\s_]+(?:{_SHORT}|contrast\w*|kontrast\w*)(?![^\W_])", " dash kontrast "),
        # Glued to the weighting: 'T1wCE', 'T1post', 'postT1', 'T1C'.
        (rf"(?<![a-z0-9])([a-z]*?)(t1)w?i?(?=(?:{_CONTRAST}|[\W_]|\Z)(?![a-z]))", r" \1 \2 "),
        (r"(?<![a-z0-9])t1[\W_]*c(?![a-z]|\d(?!\w)|[ -]?sp|-t)", " t1 plusc "),
        (r"(?<![a-z0-9])([mw])(?=(?:ce|km)(?![a-z]))", r"\1 "),
        (r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", " "),
    )
)
