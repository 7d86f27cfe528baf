"""What each kind of series is by its tags alone, classic and enhanced, whatever its name."""

import random

import pydicom
import pytest

from mgmt_monai.cohort.layouts import dicom_tree
from mgmt_monai.cohort.layouts.series_choice import Candidate, choose

ORIGINAL = ["ORIGINAL", "PRIMARY"]
SPIN_T1 = {"ScanningSequence": "SE", "EchoTime": 10, "RepetitionTime": 500}
SPIN_T2 = {"ScanningSequence": "SE", "EchoTime": 95, "RepetitionTime": 4000}
SPIN_FLAIR = {"ScanningSequence": ["SE", "IR"], "EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500}

#: Tags of series that are none of the four, and what they are.
KINDS = [
    ("phase", {"ImageType": [*ORIGINAL, "P", "ND"]}),
    ("phase", {"ImageType": [*ORIGINAL, "R", "ND"]}),
    ("phase", {"ImageType": [*ORIGINAL, "I", "ND"]}),
    ("phase", {"ImageType": [*ORIGINAL, "IMAGINARY"]}),
    ("phase", {"ComplexImageComponent": "REAL"}),
    ("localizer", {"ImageType": [*ORIGINAL, "LOCALIZER"]}),
    ("calculated", {"ImageType": ["DERIVED", "PRIMARY", "M", "SUBTRACT"]}),
    ("calculated", {"ImageType": ["DERIVED", "PRIMARY", "OTHER", "SUBTRACTION"]}),
    ("perfusion", {"ImageType": [*ORIGINAL, "PERFUSION", "NONE"]}),
    ("perfusion", {"ImageType": ["DERIVED", "PRIMARY", "RCBV"]}),
    ("perfusion", {"ImageType": [*ORIGINAL, "ASL"]}),
    ("diffusion", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}),
    ("diffusion", {"ImageType": [*ORIGINAL, "DIFFUSION", "NONE"]}),
    ("diffusion", {"DiffusionBValue": 1000.0}),
    ("diffusion", {"AcquisitionContrast": "DIFFUSION"}),
    ("perfusion", {"AcquisitionContrast": "PERFUSION"}),
    ("angiogram", {"AcquisitionContrast": "TIME_OF_FLIGHT"}),
    ("STIR", {"AcquisitionContrast": "STIR"}),
    ("proton-density", {"AcquisitionContrast": "PROTON_DENSITY"}),
    ("projection", {"ImageType": ["DERIVED", "PRIMARY", "PROJECTION IMAGE"]}),
    ("projection", {"ImageType": ["DERIVED", "SECONDARY", "MAX_IP"]}),
    ("functional", {"ImageType": [*ORIGINAL, "FMRI", "NONE"]}),
    ("echo-planar", {"EchoPlanarPulseSequence": "YES"}),
    ("susceptibility", {"ImageType": [*ORIGINAL, "M", "SWI"]}),
]


@pytest.mark.parametrize(("kind", "tags"), KINDS, ids=[f"{kind} {next(iter(tags.values()))}" for kind, tags in KINDS])
@pytest.mark.parametrize("name", ["AX T1", "xqv"])
def test_other_kind_is_left_out_by_its_tags_whatever_its_name(tmp_path, make_series, kind, tags, name):
    make_series(name, "a/1", **{**SPIN_T1, **tags})
    found = dicom_tree.find(tmp_path)
    assert found.series == []
    assert kind in found.left_out[0].reason


def _item(**values):
    dataset = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return [dataset]


@pytest.mark.parametrize(
    ("own", "groups", "expected"),
    [
        ({"EchoPulseSequence": "SPIN"}, {"echo": 95, "repetition": 4000}, "T2w"),
        ({"EchoPulseSequence": "SPIN"}, {"echo": 10, "repetition": 500}, "T1w"),
        ({"EchoPulseSequence": "SPIN"}, {"echo": 120, "repetition": 9000, "inversion": 2500.0}, "FLAIR"),
        ({"EchoPulseSequence": "GRADIENT", "Spoiling": "RF"}, {"echo": 3, "repetition": 20}, "T1w"),
        ({"EchoPulseSequence": "GRADIENT"}, {"echo": 3, "repetition": 2000, "inversion": 900.0}, "T1w"),
        ({"EchoPulseSequence": "GRADIENT"}, {"echo": 25, "repetition": 700}, "T2*"),
        ({"EchoPlanarPulseSequence": "YES"}, {"echo": 95, "repetition": 4000}, "echo-planar"),
        ({}, {"contrast": "T1"}, "T1w"),
        ({}, {"contrast": "T2"}, "T2w"),
        ({}, {"contrast": "FLUID_ATTENUATED"}, "FLAIR"),
        ({}, {"contrast": "DIFFUSION"}, "diffusion"),
        ({}, {"type": [*ORIGINAL, "LOCALIZER", "NONE"]}, "localizer"),
        ({}, {"type": [*ORIGINAL, "PERFUSION", "NONE"]}, "perfusion"),
        ({}, {"type": ["DERIVED", "PRIMARY", "VOLUME", "SUBTRACTION"]}, "calculated"),
        ({}, {"component": "PHASE"}, "phase"),
        ({}, {"component": "IMAGINARY"}, "phase"),
        ({}, {"b": 800.0}, "diffusion"),
    ],
)
def test_enhanced_image_is_what_its_groups_say(tmp_path, make_enhanced, own, groups, expected):
    path = make_enhanced(tmp_path / "1.dcm", [(0, 0, 0), (0, 0, 5), (0, 0, 10)])
    dataset = pydicom.dcmread(path)
    dataset.PatientID, dataset.SeriesDescription = "P1", "xqv"
    for keyword, value in own.items():
        setattr(dataset, keyword, value)
    shared, frames = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence
    if "repetition" in groups:
        shared.MRTimingAndRelatedParametersSequence = _item(RepetitionTime=groups["repetition"])
        shared.MREchoSequence = _item(EffectiveEchoTime=float(groups["echo"]))
    if "inversion" in groups:
        shared.MRModifierSequence = _item(InversionRecovery="YES", InversionTimes=groups["inversion"])
    for frame in frames:
        told = {"AcquisitionContrast": "contrast", "FrameType": "type", "ComplexImageComponent": "component"}
        frame.MRImageFrameTypeSequence = _item(**{k: groups[name] for k, name in told.items() if name in groups})
        if "b" in groups:
            frame.MRDiffusionSequence = _item(DiffusionBValue=groups["b"])
    dataset.save_as(path)
    found = dicom_tree.find(tmp_path)
    told = [one.modality for one in found.series] or [item.reason for item in found.left_out]
    assert told[0].startswith(expected) or expected in told[0]


#: One examination whose tags say all: what each series is, its tags and times.
EXAMINATION = (
    ("T1w", {**SPIN_T1, "SeriesNumber": "3"}, "100000"),
    ("T2w", {**SPIN_T2, "SeriesNumber": "4"}, "100500"),
    ("FLAIR", {**SPIN_FLAIR, "ScanningSequence": "SE\\IR", "SeriesNumber": "5"}, "101000"),
    ("T1wCE", {**SPIN_T1, "SeriesNumber": "8", "ContrastBolusAgent": "1"}, "103000"),
    ("", {**SPIN_T1, "SeriesNumber": "9", "ImageType": "DERIVED\\PRIMARY\\M\\SUB"}, "103500"),
    ("", {**SPIN_T2, "SeriesNumber": "6", "DiffusionBValue": "1000.0"}, "101500"),
    ("", {**SPIN_T2, "SeriesNumber": "1", "ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "095000"),
)
PLAIN = ("AX T1", "AX T2", "AX FLAIR", "AX T1 POST", "SUB", "DWI", "LOC")


@pytest.mark.parametrize("seed", range(20))
def test_random_names_change_no_choice_where_tags_suffice(seed):
    rng = random.Random(seed)
    letters = "bcdfghjklmnpqrstvwxz"  # no vowels: no word of any language
    names = ["".join(rng.choices(letters, k=7)) for _ in EXAMINATION] if seed else PLAIN
    candidates = [
        Candidate(
            "1.1",
            f"1.{n}",
            {"Modality": "MR", "SeriesDescription": name, **{k: str(v) for k, v in tags.items()}},
            20,
            ("20200101", time),
        )
        for n, (name, (_, tags, time)) in enumerate(zip(names, EXAMINATION, strict=True))
    ]
    rng.shuffle(candidates)
    choice = choose(candidates)
    told = {one.uid: modality for one, (modality, _) in zip(candidates, choice.verdicts, strict=True)}
    assert [told[f"1.{n}"] for n in range(len(EXAMINATION))] == [modality for modality, _, _ in EXAMINATION]
