"""Tags as the makers' scanners write them, read by a person; times in ms."""

import re

import pydicom
import pytest

from mgmt_monai.cohort.layouts.sequence import by_times, contradiction, guess

MR = {"Modality": "MR"}


OF_TEN_LANGUAGES = {
    "localizer": "localizador T1|localisateur|Lokalisator|localizzatore|lokalizatör|локалайзер|Übersicht|3-plan T1|"
    "repérage|scanogramma|pilot",
    "calculated": "T1 sustracción|T1 soustraction|T1 sottrazione mdc|T1 subtração|Subtraktion T1 KM|T1 subtractie|"
    "T1 odejmowanie|T1 çikarma|T1 субтракция|Post-Pre T1|SUB T1|T1_sub|t1_vibe_dixon_F|T1 mapping",
    "another part": "T1 rachis|T1 cervical|T1 lumbaire|T1 LWS|HWS sag T1|Wirbelsäule T1|T1 columna|T1 colonna|"
    "T1 coluna lombar|T1 wervelkolom|T1 kręgosłup|T1 omurga|T1 servikal|T1 позвоночник|T1 шейный отдел|T1 orbites|"
    "T1 selle turcique|T1 silla turca|T1 Hypophyse KM|T1 hipófisis|T1 ipofisi|T1 przysadka|T1 гипофиз|T1 IAM|T1 KHBW|"
    "T1 moelle|T1 genou",
    "dynamic": "DYN T1 vibe|T1 dynamique|T1 dinámico|T1 dynamiczne",
    "diffusion": "difusión|dyfuzja T2|difüzyon|диффузия",
}

NO_OTHER_KIND = {
    "T1w": "T1 post op|T1 OP-Planung|T1 localized tumor|T1 cráneo|T1 głowa|T1 мозг|T1 spin echo|T1 se planar|"
    "sub-01_t1w|T1 subtle|Medulloblastom T1|T1 sagittal|pilot study T1",
    "T1wCE": "VIBE post|T1 VIBE KM|T1 Kopf nach Gado",
    "FLAIR": "FLAIR cerebro",
}


def described(text, **values):
    return {**MR, "SeriesDescription": text, **values}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # GE
        ("AX T1 POST", "T1wCE"),
        ("SAG T1 PRE", "T1w"),
        ("Ax T1 FSE +C", "T1wCE"),
        ("AX T1 C+", "T1wCE"),
        ("Ax T1 W/O", "T1w"),
        ("AX T1 WITHOUT CONTRAST", "T1w"),
        ("AX T1 POST GAD FS", "T1wCE"),
        ("AX T1 PRE GAD", "T1w"),
        ("AX T1 NON-CONTRAST", "T1w"),
        ("Sag BRAVO +C", "T1wCE"),
        ("Accelerated SAG IR-SPGR", "T1w"),
        ("T1 FLAIR", "T1w"),
        ("Ax T1 FLAIR +C", "T1wCE"),
        ("T2 FLAIR AXIAL", "FLAIR"),
        ("Sag CUBE T2 FLAIR", "FLAIR"),
        ("AX T2 FSE", "T2w"),
        ("AX T2 PROPELLER", "T2w"),
        ("AX FLAIR", "FLAIR"),
        ("FLAIR post", "FLAIR"),
        ("AX T2 POST CONTRAST", "T2w"),
        # Siemens
        ("t1_mprage_sag_p2_iso_Gd", "T1wCE"),
        ("t1_mprage_sag_p2_iso", "T1w"),
        ("MP-RAGE", "T1w"),
        ("t1_se_tra_KM", "T1wCE"),
        ("t1_se_tra_nativ", "T1w"),
        ("t1_fl2d_tra", "T1w"),
        ("t1_tse_dark-fluid_tra", "T1w"),
        ("t2_tse_tra", "T2w"),
        ("t2_tse_tra_pat2", "T2w"),
        ("t1_vibe_tra_pat2_ce", "T1wCE"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"),
        ("t2_spc_da-fl_sag_flair", "FLAIR"),
        ("T1_MPR_AX_POST", "T1wCE"),
        # Philips
        ("sT1W_3D_TFE", "T1w"),
        ("sT1W_3D_TFE_GD", "T1wCE"),
        ("T1W_3D_TFE+C", "T1wCE"),
        ("eT1W_SE SENSE", "T1w"),
        ("T2W_TSE", "T2w"),
        ("dT2W", "T2w"),
        ("3D_FLAIR", "FLAIR"),
        ("T2W_FLAIR_SENSE", "FLAIR"),
        # others, and as challenges spell them
        ("T1wCE", "T1wCE"),
        ("T1w", "T1w"),
        ("T2w", "T2w"),
        ("FLAIR", "FLAIR"),
        ("3DT1", "T1w"),
        ("sagT1post", "T1wCE"),
        ("AX T1 GADAVIST", "T1wCE"),
        ("T1Gd", "T1wCE"),
        ("T1 C", "T1wCE"),
        ("AX T1 W CONTRAST", "T1wCE"),
    ],
)
def test_guess_by_words(text, expected):
    told = guess(described(text))
    assert told.modality == expected
    assert "by its name" in told.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localizer", "localizer"),
        ("3 Plane Loc", "localizer"),
        ("AAHead_Scout", "localizer"),
        ("SURVEY", "localizer"),
        ("ASSET calibration", "calibration"),
        ("ADC", "diffusion"),
        ("eADC", "diffusion"),
        ("AX DWI", "diffusion"),
        ("ep2d_diff_3scan_trace_p2_TRACEW", "diffusion"),
        ("DTI_30dir FA", "diffusion"),
        ("AX T2 b1000", "diffusion"),
        ("ep2d_perf_p2", "perfusion"),
        ("DSC PERFUSION", "perfusion"),
        ("T1 DCE", "perfusion"),
        ("3D ASL", "perfusion"),
        ("rCBV", "perfusion"),
        ("BOLD motor", "functional MRI"),
        ("SWI_Images", "susceptibility"),
        ("AX T2*", "susceptibility"),
        ("t2_star_gre", "susceptibility"),
        ("AX T2 GRE", r"T2\*-weighted"),
        ("3D TOF MRA", "an angiogram"),
        ("MIP T1 POST", "projection"),
        ("T1 MAP", "calculated"),
        ("T1 SUBTRACTION", "calculated"),
        ("FSE PD AXIAL OBL", "proton-density"),
        ("COR STIR", "STIR"),
        ("SVS PRESS 135", "spectroscopy"),
        ("AX CISS", "steady-state"),
        ("Screen Save", "screen"),
        ("SAG T1 C-SPINE", "another part"),
        ("AX T1 ORBITS POST", "another part"),
        *((text, kind) for kind, texts in OF_TEN_LANGUAGES.items() for text in texts.split("|")),
        ("T1 espectroscopia", "spectroscopy"),
        ("FAT: Ax T1 LAVA", "calculated"),
        ("t1_vibe_dixon_tra_F", "calculated"),
        ("t1 vibe dixon opp", "calculated"),
        ("T1 out of phase", "calculated"),
        ("REAL: Ax T1", "phase"),
        ("t1_mprage_imag", "phase"),
        ("AX T1 T2", "both T1 and T2"),
        ("MRI HEAD", "neither"),
        ("", "neither"),
        ("AX set2 part1", "neither"),
    ],
)
def test_left_out_by_words(text, expected):
    told = guess(described(text))
    assert told.modality is None
    assert re.search(expected, told.reason)


@pytest.mark.parametrize(
    ("text", "expected"), [(text, kind) for kind, texts in NO_OTHER_KIND.items() for text in texts.split("|")]
)
def test_words_that_only_look_like_another_kind(text, expected):
    assert guess(described(text)).modality == expected


@pytest.mark.parametrize(
    ("protocol", "body", "expected"),
    [
        ("HWS", "", None), ("MRI BRAIN + C-SPINE", "", "T1w"), ("Rachis cervical", "", None), ("Kopf", "", "T1w"),
        ("", "WHOLESPINE", None), ("", "RACHIS", None), ("", "HYPOPHYSE", None), ("", "KOPF", "T1w"), ("", "", "T1w"),
    ],
)  # fmt: skip
def test_another_part_by_protocol_and_body_part(protocol, body, expected):
    assert guess(described("t1_tse_sag", ProtocolName=protocol, BodyPartExamined=body)).modality == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(described("AX T1", ContrastBolusAgent="Gadavist"), "T1wCE", id="agent"),
        pytest.param(described("AX T1", ContrastBolusAgent="NO"), "T1w", id="agent is no"),
        pytest.param(described("AX T1", ContrastBolusIngredient="GADOLINIUM"), "T1wCE", id="ingredient"),
        pytest.param(described("AX T1 POST", ContrastBolusIngredient="NONE"), "T1w", id="ingredient is none"),
        pytest.param(described("AX T1 dixon fat sat"), "T1w", id="fat suppressed"),
        pytest.param(described("T1 in phase"), "T1w", id="in phase"),
        pytest.param(described("AX T1 PRE", ContrastBolusAgent="Gadavist"), "T1wCE", id="agent before words"),
        pytest.param(described("AX T1 post op"), "T1w", id="after surgery, not after contrast"),
        pytest.param(described("AX T1 PRE POST", ContrastBolusAgent="x"), "T1wCE", id="both words, agent"),
        pytest.param({**MR, "ProtocolName": "t2_tse_tra"}, "T2w", id="protocol where there is no description"),
        pytest.param(described("AX T2", ProtocolName="BRAIN W CONTRAST PERFUSION"), "T2w", id="protocol of the whole"),
        pytest.param(
            described(
                "SAG FLAIR", ScanningSequence="SE\\IR", EchoTime="24", RepetitionTime="2500", InversionTime="860"
            ),
            "T1w",
            id="GE's T1 FLAIR without T1",
        ),
        pytest.param(
            described(
                "T1 FLAIR?", ScanningSequence="SE\\IR", EchoTime="120", RepetitionTime="9000", InversionTime="2250"
            ),
            "FLAIR",
            id="times of a FLAIR",
        ),
        pytest.param(
            described(
                "t2_spc_ir", ScanningSequence="SE\\IR", EchoTime="388", RepetitionTime="5000", InversionTime="1800"
            ),
            "FLAIR",
            id="SPACE with fluid nulled",
        ),
        pytest.param(
            described("", ScanningSequence="SE", EchoTime="10", RepetitionTime="500", ContrastBolusAgent="Dotarem"),
            "T1wCE",
            id="times and agent alone",
        ),
        pytest.param(
            {**MR, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1", "SeriesDescription": "T2"}, "T2w", id="enhanced"
        ),
        pytest.param({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "SeriesDescription": "T2"}, "T2w", id="no Modality"),
    ],
)
def test_guess_by_other_tags(values, expected):
    assert guess(values).modality == expected


@pytest.mark.parametrize("keyword", ["ContrastBolusVolume", "ContrastBolusTotalDose"])
@pytest.mark.parametrize(("amount", "expected"), [("7.5", "T1wCE"), ("0", "T1w"), ("none", "T1w")])
def test_amount_of_agent_says_that_it_was_given(keyword, amount, expected):
    told = guess(described("AX T1", **{keyword: amount}))
    assert told.modality == expected
    assert (f"{keyword} 7.5 ml" in told.reason) is (expected == "T1wCE")


@pytest.mark.parametrize(
    ("echo", "repetition", "inversion", "expected"),
    [
        pytest.param("14", "600", "", "T1w", id="T1"),
        pytest.param("100", "4500", "", "T2w", id="T2"),
        pytest.param("120", "9000", "2500", None, id="FLAIR"),
        pytest.param("22", "2300", "", None, id="proton density"),
        pytest.param("", "", "", None, id="none"),
    ],
)
def test_times_decide_between_t1_and_t2_where_both_words_stand(echo, repetition, inversion, expected):
    times = {"EchoTime": echo, "RepetitionTime": repetition, "InversionTime": inversion}
    told = guess(described("AX T1 T2", ScanningSequence="SE", **times))
    assert told.modality == expected
    assert ("unknown: both T1 and T2" in told.reason) is (expected is None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"Modality": "CT", "SeriesDescription": "T1"}, "Modality CT", id="CT"),
        pytest.param({"SeriesDescription": "T1"}, "neither Modality", id="nothing"),
        pytest.param(described("T1", SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), "SOPClassUID", id="secondary capture"),
        pytest.param(described("T1", SamplesPerPixel=3), "colour", id="colour"),
        pytest.param(described("T1", BodyPartExamined="CSPINE"), "another part", id="neck"),
        pytest.param(described("T1", ImageType="ORIGINAL\\PRIMARY\\DIXON\\FAT"), "calculated", id="fat"),
        pytest.param(described("T1", ImageType="ORIGINAL\\PRIMARY\\F\\F\\DERIVED"), "calculated", id="Philips' fat"),
        pytest.param(described("T1", ImageType="ORIGINAL\\PRIMARY\\OPP_PHASE\\ND"), "calculated", id="opposed phase"),
        pytest.param(described("T1", ImageType="ORIGINAL\\PRIMARY\\P\\ND"), "phase", id="phase"),
        pytest.param(described("T1", ImageType="ORIGINAL\\PRIMARY\\SW_P_FFE\\SW_P\\FFE"), "phase", id="SWI phase"),
        pytest.param(described("x", ImageType="DERIVED\\PRIMARY\\DIFFUSION\\ADC\\ND"), "diffusion", id="ADC"),
        pytest.param(described("", ImageType="ORIGINAL\\PRIMARY\\SW_M_FFE\\SW_M\\FFE"), "susceptibility", id="SWIp"),
        pytest.param(described("x", ImageType="ORIGINAL\\PRIMARY\\LOCALIZER"), "localizer", id="localizer"),
        pytest.param(described("AX T2", ScanningSequence="EP\\SE"), "echo-planar", id="echo-planar"),
        pytest.param(
            described("", ScanningSequence="SE", EchoTime="12", RepetitionTime="4000"),
            "proton density",
            id="PD by times",
        ),
    ],
)
def test_left_out_by_other_tags(values, expected):
    told = guess(values)
    assert told.modality is None
    assert expected in told.reason


@pytest.mark.parametrize(
    ("kinds", "echo", "repetition", "inversion", "variant", "expected"),
    [
        pytest.param("SE", "14", "600", "", "", "T1w", id="T1 spin echo"),
        pytest.param("SE", "100", "4500", "", "SK", "T2w", id="T2 turbo spin echo"),
        pytest.param("SE", "22", "2300", "", "", "proton density", id="PD"),
        pytest.param("SE\\IR", "120", "9000", "2500", "", "FLAIR", id="FLAIR"),
        pytest.param("IR", "386.754", "4800", "1650", "", "FLAIR", id="Philips 3D FLAIR"),
        pytest.param("SE\\IR", "60", "5000", "160", "", "STIR", id="STIR"),
        pytest.param("SE\\IR", "24", "2500", "860", "", "T1w", id="T1 FLAIR"),
        pytest.param("GR\\IR", "2.98", "2300", "900", "SP\\MP", "T1w", id="MPRAGE"),
        pytest.param("GR", "3.2", "8.9", "", "SS\\SP\\SK", "T1w", id="SPGR"),
        pytest.param("GR", "20", "600", "", "", "T2*", id="hemorrhage"),
        pytest.param("GR", "2.1", "4.2", "", "SS", None, id="balanced steady state"),
        pytest.param("SE", "50", "1500", "", "", None, id="in between"),
        pytest.param("SE", "60", "4500", "", "", "T2w", id="shortest echo of T2"),
        pytest.param("SE", "59.9", "4500", "", "", None, id="echo just short of T2"),
        pytest.param("SE", "45", "4500", "", "", "proton density", id="longest echo of PD"),
        pytest.param("SE", "45.1", "4500", "", "", None, id="echo just beyond PD"),
        pytest.param("SE", "14", "1100", "", "", "T1w", id="longest repetition of T1"),
        pytest.param("SE", "14", "1100.1", "", "", None, id="repetition just beyond T1"),
        pytest.param("SE", "45", "600", "", "", "T1w", id="longest echo of T1"),
        pytest.param("SE", "45.1", "600", "", "", None, id="echo just beyond T1"),
        pytest.param("SE", "100", "1800", "", "", "T2w", id="shortest repetition of T2"),
        pytest.param("SE", "100", "1799.9", "", "", None, id="repetition just short of T2"),
        pytest.param("SE\\IR", "60", "9000", "1300", "", "FLAIR", id="shortest times of FLAIR"),
        pytest.param("SE\\IR", "59.9", "9000", "1300", "", None, id="echo just short of FLAIR"),
        pytest.param("SE\\IR", "60", "9000", "1299.9", "", None, id="inversion just short of FLAIR"),
        pytest.param("SE\\IR", "45", "2500", "300", "", "T1w", id="shortest inversion of T1"),
        pytest.param("SE\\IR", "45", "2500", "299.9", "", "STIR", id="longest inversion of STIR"),
        pytest.param("GR", "12", "600", "", "SP", "T2*", id="shortest gradient echo of T2*"),
        pytest.param("GR", "11.9", "600", "", "SP", None, id="gradient echo just short of T2*"),
        pytest.param("GR", "10", "9", "", "SP", "T1w", id="longest gradient echo of T1"),
        pytest.param("GR", "10.1", "9", "", "SP", None, id="gradient echo just beyond T1"),
        pytest.param("GR", "3", "9", "300", "", "T1w", id="shortest preparation of T1"),
        pytest.param("GR", "3", "9", "299.9", "", None, id="preparation of fat"),
        pytest.param("GR", "3", "9", "1300", "", None, id="preparation of fluid"),
        pytest.param("IR", "14", "600", "", "", None, id="inversion without its time"),
        pytest.param("SE", "14", "", "", "", None, id="no repetition time"),
        pytest.param("SE", "0.5", "600", "", "", "T1w", id="echo below a millisecond"),
        pytest.param("SE", "-0.5", "600", "", "", None, id="echo time below 0"),
        pytest.param("SE", "", "600", "", "", None, id="no echo time"),
        pytest.param("SE", "0", "600", "", "", None, id="echo time 0"),
        pytest.param("SE", "nan", "600", "", "", None, id="not a number"),
        pytest.param("SE", "abc", "600", "", "", None, id="text"),
        pytest.param("", "14", "600", "", "", None, id="no ScanningSequence"),
    ],
)
def test_by_times(kinds, echo, repetition, inversion, variant, expected):
    told = by_times(
        {
            "ScanningSequence": kinds,
            "EchoTime": echo,
            "RepetitionTime": repetition,
            "InversionTime": inversion,
            "SequenceVariant": variant,
        }
    )
    assert (told[0] if told else None) == expected


@pytest.mark.parametrize(
    ("values", "modality", "expected"),
    [
        pytest.param(described("AX T2 FSE"), "T1w", "T2w", id="another weighting"),
        pytest.param(described("AX T1 POST"), "T1w", "T1wCE", id="after contrast"),
        pytest.param(described("AX T1 PRE"), "T1wCE", "T1w", id="before contrast"),
        pytest.param(described("AX T1"), "T1wCE", None, id="contrast not said"),
        pytest.param(described("AX DWI"), "T2w", "diffusion", id="diffusion"),
        pytest.param(described("HEAD"), "T2w", None, id="says nothing"),
        pytest.param(MR, "T2w", None, id="no tags"),
        pytest.param({"Modality": "CT"}, "T2w", None, id="no MR is another finding"),
        pytest.param(described("T2w"), "T2w", None, id="fits"),
        pytest.param(
            described("T1w", ScanningSequence="SE", EchoTime="100", RepetitionTime="5000"), "T1w", "T2w", id="times"
        ),
        pytest.param(
            described("FLAIR", ScanningSequence="SE", EchoTime="100", RepetitionTime="9000"), "FLAIR", None, id="no TI"
        ),
    ],
)
def test_contradiction(values, modality, expected):
    told = contradiction(values, modality)
    assert told == expected if expected is None else told.startswith(expected)


@pytest.mark.parametrize(
    "text", ["T1 {} POST", "T1 {} KM", "T2 {}", "FLAIR {}", "{}", "DWI{}", "T1 T2 {}", "T1 W/WO {}"]
)
@pytest.mark.parametrize(
    "keyword", ["ContrastBolusAgent", "BodyPartExamined", "ImageType", "ProtocolName", "AcquisitionContrast"]
)
def test_reason_quotes_nothing_of_the_header(text, keyword):
    values = {keyword: "SPINE\\SW_\\SW_Roe ADC Roe", "SeriesDescription": text.format("Roe")}
    told = guess({**MR, **values})
    assert told.reason
    assert "Roe" not in told.reason


def test_real_series(shared_data):
    """What the source's names and the times in the real headers say (read by a person)."""
    folder = shared_data / "dicom/dicom2nifti/tests/data"
    expected = {
        "ge/anatomical/001": "T1w",
        "siemens/anatomical/001": "FLAIR",
        "philips/anatomical/001": "FLAIR",
        "hyperfine/anatomical/001": "FLAIR",
        "hitachi/anatomical/001": None,
        "philips/anatomical/002": None,
    }
    told = {}
    for name in expected:
        dataset = pydicom.dcmread(next(path for path in sorted((folder / name).iterdir()) if _is_dicom(path)))
        told[name] = guess(
            {element.keyword: _text(element.value) for element in dataset if element.VR != "SQ"}
        ).modality
    assert told == expected


def _is_dicom(path):
    return pydicom.misc.is_dicom(path)


def _text(value):
    return "\\".join(map(str, value)) if isinstance(value, pydicom.multival.MultiValue) else str(value)
