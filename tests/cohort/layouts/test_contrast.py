"""What names say of contrast agent, in the languages that clinics write: what each means is by hand."""

import pytest

from mgmt_monai.cohort.layouts.contrast import (
    BOTH,
    DENIED,
    GIVEN,
    SILENT,
    UNSURE,
    said_of_contrast,
    says_agent,
    says_no_agent,
)

# fmt: off
NO_CONTRAST = (
    "SIN CONTRASTE", "vor KM", "SANS GADO", "SENZA CONTRASTO", "NO GAD", "NON GAD", "t1 w/o",
    "T1 without contrast", "t1_tse_tra_nativ", "ohne KM", "AX T1 -C", "T1 pre", "T1 PRE FS", "precontrast",
    "AX T1 NON-CONTRAST", "T1 noncontrast", "avant injection", "T1 sans injection", "antes de contraste", "T1 S/C",
    "T1 s/ contraste", "bez kontrastu", "przed kontrastem", "zonder contrast", "T1 voor contrast", "blanco",
    "kontrastsiz", "kontrast öncesi", "T1 sem contraste", "pré contraste", "T1 prima del mdc", "senza mdc",
    "unenhanced", "t1 unenhanced", "AX T1 preGd", "T1_preKM", "KM-frei", "vorKM", "T1 utan kontrast",
    "T1 uden kontrast", "без контраста", "до контраста", "造影前", "T1 kontraszt nélkül", "ILAÇSIZ", "prä KM",
    "T1 NATIVO", "T1 BASALE", "t1 nie kontrast", "o. KM", "keine KM Gabe", "no contrast", "non con",
    "T1 wo contrast", "w/o con", "without iv contrast", "T1 SE SIN GADOLINIO", "sans_gado", "SIN-CONTRASTE",
    "no-gad", "T1 SIMPLE", "contrast: none", "T1 pre gd", "Ax T1 non-enhanced", "AX T1 without gadolinium",
    "T1 sin civ", "AVANT GADO", "T1 prima di gadolinio", "pre-contrast", "AX T1 SIN CTE", "T1 ohne i.v. KM", "T1 NC",
    "T1 GD-", "T1 ilman tehosteainetta", "T1 nativní", "T1 non iniettato", "T1 kontrastfri", "T1 AVANT", "T1 vor",
    "T1 IV-", "T1 K-", "T1 a vuoto", "T1 s.c.", "T1 nat.", "T1 KM ohne", "T1 przedkontrastowe",
    "T1 bez KL", "T1 před KL", "T1 KL-", "T1 -KL", "T1 bez k.l.", "T1-", "T1 (-)", "T1 C-", "T1 CE-", "T1 Gd -",
    "T1 w/out", "T1 w/out contrast", "T1 W.O.", "T1 s. mdc", "T1 no CM", "T1 noncon", "T1 v. KM", "T1 bez k.",
    "T1 före kontrast", "T1 prije kontrasta", "T1 brez kontrasta", "T1 tanpa kontras", "T1 przed podaniem kontrastu",
    "T1 N.C.", "T1 n/c", "T1 contrast -",
    "T1 kontrast madde öncesi", "kontrast madde verilmeden", "KM'siz", "IVKM'siz", "T1 previo a contraste", "T1 sCIV",
    "T1 Gd(-)", "CE(-)", "KM(-)", "contraste (-)", "CE- T1", "造影(-)", "造影剤なし", "KM nicht gegeben",
    "contrast not given", "contrast refused", "contrast withheld", "T1 C minus", "T1 C0", "T1 0 Gd", "增强前",
    "fara substanta de contrast", "T1_NOCONTRAST", "T1 diretto", "antes de inyectar", "avant PC", "нативная",
    "prior to contrast", "przed podaniem śr. kontrastowego", "до введения контраста", "без введения контраста",
    "sem meio de contraste", "kontrast verilmedi", "T1 Gd\u2212", "without intravenous contrast", "T1 KM none ax",
    "PRE T1 AX", "T1 KM - nicht verabreicht",
    "T1 kontrast verilmeden önce", "T1 kontrasztanyag előtt", "T1 bez kontrastnej látky",
    "T1 sem injeção de contraste", "T1 sans injection de gadolinium", "T1 KM-los", "T1 leer", "T1 in bianco",
    "T1senzamdc",
    "T1 avt gado", "T1 präkontrast", "T1 opaksız", "T1 WOC", "T1 z. contrast", "T1 Gd=0", "T1 neg contrast",  # noqa: RUF001
    "T1 previa al contraste", "T1 antes da injeção", "T1 ennen tehostetta", "T1 ilaç öncesi", "T1 precte",
    "T1 kontrastiton", "T1 kontrasztmentes", "T1 kontrast maddesiz", "T1 før kontrast",
)
CONTRAST = (
    "CON CONTRASTE", "nach KM", "mit KM", "AVEC GADO", "CON CONTRASTO", "T1 GAD", "post gd", "T1+C", "T1 post",
    "T1CE", "T1wCE", "T1C", "t1c", "T1 c", "T1 + GAD", "apres injection", "post KM", "po kontrascie",
    "z kontrastem", "met contrast", "na contrast", "kontrastli", "kontrast sonrasi", "com contraste",
    "pós contraste", "dopo mdc", "con mdc", "w/ contrast", "with contrast", "w con", "enhanced", "sagT1post",
    "postT1", "postGd", "mKM", "T1 mKM", "T1w Gd", "T1_Gd", "AX T1 GADAVIST", "T1 Dotarem", "AX T1 FS POST",
    "T1 POST FS", "AX T1 +gado", "c/ contraste", "después de contraste", "med kontrast", "efter kontrast",
    "с контрастом", "после контраста", "造影後", "ILAÇLI", "T1 POST GAD", "3D T1 TFE+C",  # noqa: RUF001
    "AX T1 FSPGR contrast",
    "T1 W GD", "post contrast w/o fat sat", "sag t1 w/o fs post gad", "AX T1 CON CTE", "T1 po podaniu kontrastu",
    "T1 tehosteaineella", "T1 varjoaineen jälkeen", "T1 PÓS", "T1 dopo", "T1 Spine C POST",
    "COR T1 IV+", "T1 K+", "T1 +K", "T1 IVKM", "T1 AVEC IV", "T1 pokontrastowe", "T1 po kontr.",
    "T1 w/", "AX T1 W/", "T1 w/c", "T1 w/cont", "T1+", "T1W +", "AX T1+", "T1 (+)", "T1 SE +", "T1-GAD", "T1_C+",
    "t1 km+", "T1 po KL", "T1 s KL", "T1 KL", "T1 po k.l.", "T1 +KL", "T1KL", "T1 po podání KL", "T1 con m.d.c.",
    "sin saturacion grasa con contraste", "sans saturation de graisse après injection", "without gap Gd",
    "zonder vetsuppressie met contrast", "ohne Gap KM", "POST SAG T1", "T1 post 10 min",
    "AX T1 POST THINS", "T1 Gd no FS", "T1 post p2",
    "T1 con mc", "T1 post cont", "T1 postcontr.", "T1 + iv", "T1 with CM", "T1 GBCA", "T1 c/ctte",
    "T1 K.M.", "T1 nakon kontrasta", "T1 dengan kontras", "T1 amb contrast", "T1 kontrasztanyag után", "T1 cu contrast",
    "T1 po środku kontrastowym", "T1 ilaç sonrası", "T1 opaklı", "T1 postcte", "T1 z kontrastem", "T1 Gd=0.1",  # noqa: RUF001
)
THE_WHOLE_EXAMINATION = (
    "W/WO", "WITH AND WITHOUT", "BRAIN W/WO CONTRAST", "with and without contrast", "mit und ohne KM",
    "pre and post contrast", "PRE/POST", "T1 PRE POST", "avant et apres gado", "sin y con contraste", "W&WO",
    "W/W/O", "ohne/mit KM", "w and w/o", "sans et avec injection", "bez i z kontrastem", "WO/W", "without and with",
    "T1 C+/-", "T1 +/-", "T1 Gd+/-", "bez a po KL", "T1 W/ & W/O", "T1 C-/C+", "BRAIN W_WO", "Brain w-wo contrast",
)
NOTHING = (
    "AX T1", "T1 post op", "pre op t1", "T1 w/o fat sat", "T1 MPRAGE", "t1_mpr_ns_sag_p2_iso",
    "AX T1 post surgery", "T1 C-spine", "T1 nach RT ohne fs", "T1 post stroke", "T1 prior",
    "T1 post RT", "T1 SE con SAT", "T2 FLAIR w/o FS",
    "T1 w", "T1-W", "T1 - SAG", "T1-SE", "T1 w/ FS", "T1+FS", "T1+T2", "T1 ax - 2", "AX T1 -", "T1 C-T-L", "AX T1 5 CM",
    "T1 CONTROL", "T1 contralateral", "T1 con control", "T1 postcontrol", "T1 CORONAL +5", "T2 TSE - REPEAT",
    "T1 post craniotomy", "T1 post LITT", "T1 post DBS", "T1 post TMZ", "T1 post GK", "T1 post gamma knife",
    "T1 post laser", "T1 post transplant", "T1 post fall", "T1 post MVA", "T1 6 months post", "T1 post 6 months",
    "T1 pos1 HFS", "T1 supine pos", "T1 C1-C2", "T1 GDC", "T1 pre craniotomy", "T1 basal ganglia",
    "T1 k-space", "AX T1 FLAIR -", "T1 S.E.", "T1 I.R.",
)
# fmt: on


@pytest.mark.parametrize(
    ("text", "what"),
    [
        *((text, DENIED) for text in NO_CONTRAST),
        *((text, GIVEN) for text in CONTRAST),
        *((text, BOTH) for text in THE_WHOLE_EXAMINATION),
        *((text, SILENT) for text in NOTHING),
    ],
)
def test_name(text, what):
    assert said_of_contrast(text).what == what


@pytest.mark.parametrize("text", ["sin contraste", "SANS GADO", "vor KM", "przed kontrastem", "öncesi kontrast yok"])
@pytest.mark.parametrize("change", [str.upper, str.title, lambda t: t.replace(" ", "_"), lambda t: t.replace(" ", "-")])
def test_spelling_does_not_matter(text, change):
    assert said_of_contrast(f"AX T1 {change(text)} 3MM").what == DENIED


@pytest.mark.parametrize("text", ["T1 hebben kontrast", "T1 - Gd", "T1 - C", "T1 - kontrast"])
def test_word_of_no_known_language_or_dash_before_contrast_is_not_taken_as_yes(text):
    assert said_of_contrast(text).what == UNSURE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NO",
        "none",
        "Nein",
        "N/A",
        "0",
        "sin contraste",
        "kein KM",
        "BRAK",
        "yok",
        "-",
        "none given",
        "nicht gegeben",
        "0 ml",
        "keine Angabe",
        "nicht",
        "unk",
        "brez",
        "none/none",
        "patient refused",
        "no aplica",
        "No administrado",
        "Pas d'injection",
        "niet",
        "n.v.t.",
        "nej",
        "нет",
        "なし",
        "없음",
        "No contrast agent used",
        "Gadavist 0 ml",
        "GADAVIST - NOT GIVEN",
        "Dotarem 0,0 cc",
        "Gadovist 1.0 mmol/ml, 0 ml",
        "Saline flush 20 ml",
        "NaCl 0.9%",
        "normal saline",
        "Buscopan",
        "0 mg/kg",
        "k.A.",
        "to be given",
        "allergy",
        "pending",
        "NaN",
        "eGFR too low",
        "eGFR 25",
        "low GFR",
        "on hold",
        "IV failed",
        "unable to cannulate",
        "odmowa pacjenta",
        "rehúsa",
        "weigert",
        "Niereninsuffizienz",
        "schwanger",
        "KULLANILMADI",
    ],
)
def test_agent_that_says_there_was_none(text):
    assert says_no_agent(text)


@pytest.mark.parametrize(
    "text",
    ["GADAVIST", "gadoterate meglumine 10 ml", "x", "YES", "Dotarem 0.5 ml", "Applied", "Gadavist 7 ml",
     "Dotarem, no adverse reaction", "Gadovist 0.1 mmol/kg", "No. 2 Gadavist", "non-ionic", "10 ml @ 0 ml/s",
     "Gadovist + NaCl", "Dotarem, saline flush 20 ml", "Dotarem; eGFR > 60", "Gadavist eGFR 75"],
)  # fmt: skip
def test_agent(text):
    assert not says_no_agent(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("MultiHance", True), ("ProHance 15", True), ("Magnevist", True), ("UNK GAD", True), ("造影剤", True),
     ("ja", True), ("IV", True), ("7.5", True), ("verildi", True), ("see protocol", False),
     ("per radiologist", False), ("x", False)],
)  # fmt: skip
def test_text_that_names_an_agent_or_an_amount_or_says_yes(text, expected):
    assert says_agent(text) is expected
