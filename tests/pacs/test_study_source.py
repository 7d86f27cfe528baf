"""Headers of every kind: what is missing, odd or in another alphabet gives one line or a valid object."""

import errno
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from faulty_storage import faulty, needs_compiler
from pydicom.dataset import Dataset

from mgmt_monai.cohort.series import Series
from mgmt_monai.inference.prediction import SeriesPrediction, StudyPrediction
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.result import write_object
from mgmt_monai.pacs.secondary_capture import secondary_captures
from mgmt_monai.pacs.structured_report import structured_report
from mgmt_monai.pacs.study_source import is_uid, read_source

IDENTIFIED = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}

FRAGMENTS = (
    "ge/anatomical/001",
    "ge/anatomical/001_implicit",
    "ge/anatomical/001_single_slice",
    "generic/anatomical/002_non_isotropic",
    "generic/compressed_j2k/001",
    "generic/compressed_jpegls/001",
    "generic/compressed_rle/001",
    "hitachi/anatomical/001",
    "hyperfine/anatomical/001",
    "philips/anatomical/002",
    "siemens/anatomical/001_implicit",
)


@pytest.fixture
def one_slice(make_dicom: Callable[..., Path], tmp_path: Path) -> Callable[..., Series]:
    """A series of one file with the given attributes."""

    def make(**attributes: object) -> Series:
        path = make_dicom(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16), **{**IDENTIFIED, **attributes})
        return Series("case", "T1w", (path,), range(1))

    return make


def results(series: Series, say: Callable[..., SeriesPrediction]) -> list[pydicom.Dataset]:
    """Report and page on the first slice."""
    study = StudyPrediction("case", (say("T1w", slice_indices=(0,)),), {}, "2026-01-02T03:04:05+00:00")
    sources = [read_source(series)]
    return [
        structured_report(study, sources),
        *secondary_captures([np.zeros((4, 4, 3), np.uint8)], study, sources),
    ]


def reread(objects: list[pydicom.Dataset], folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(write_object(one, folder / f"{number}.result")) for number, one in enumerate(objects)]


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_real_series_get_valid_results(
    shared_data: Path, say: Callable[..., SeriesPrediction], tmp_path: Path, fragment: str
) -> None:
    folder = shared_data / "dicom/dicom2nifti/tests/data" / fragment
    files = tuple(sorted(folder.glob("*.dcm")))
    first = pydicom.dcmread(files[0], stop_before_pixels=True)
    n_frames = int(first.get("NumberOfFrames", 1))
    frames = tuple(range(n_frames)) if n_frames > 1 else None

    objects = results(Series("case", "T1w", files, range(n_frames if frames else len(files)), frames), say)

    for one in reread(objects, tmp_path):
        assert one.StudyInstanceUID == first.StudyInstanceUID
        assert str(one.get("PatientName")) == str(first.get("PatientName") or "")
    for path in tmp_path.glob("*.result"):
        if shutil.which("dciodvfy"):
            said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
            assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"PatientID": None, "PatientName": None, "PatientBirthDate": None}, id="none"),
        pytest.param({"PatientID": "", "PatientName": "", "PatientBirthDate": ""}, id="empty"),
    ],
)
def test_missing_identity_becomes_empty(
    one_slice: Callable[..., Series], say: Callable[..., SeriesPrediction], tmp_path: Path, attributes: dict
) -> None:
    for one in reread(results(one_slice(**attributes), say), tmp_path):
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
            assert keyword in one
            assert not one[keyword].value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "FEMALE"),
        ("PatientBirthDate", "1970"),
        ("StudyDate", "05/04/2021"),
        ("StudyDate", "20210230"),
        ("StudyTime", "noon"),
        ("PatientSex", ["M", "F"]),
        ("PatientName", "A" * 65),
        ("PatientName", "Doe^Jane=" + "B" * 65),
        ("PatientName", "A^B^C^D^E^F"),
        ("PatientName", ["Doe^Jane", "Roe^Richard"]),
        ("AccessionNumber", "1" * 17),
        ("StudyID", ["1", "2"]),
    ],
)
def test_values_that_no_object_may_have_become_empty(
    one_slice: Callable[..., Series],
    say: Callable[..., SeriesPrediction],
    tmp_path: Path,
    keyword: str,
    value: str,
) -> None:
    for one in reread(results(one_slice(**{keyword: value}), say), tmp_path):
        assert not one[keyword].value


@pytest.mark.filterwarnings("ignore")
def test_optional_value_of_a_forbidden_form_is_left_out(
    one_slice: Callable[..., Series], say: Callable[..., SeriesPrediction], tmp_path: Path
) -> None:
    series = one_slice(PatientAge="0Y", PatientSize=1.75)

    for one in reread(results(series, say), tmp_path):
        assert "PatientAge" not in one
        assert one.PatientSize == 1.75


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", ["4711" * 20, ["4711", "4712"], "47\n11"], ids=["long", "several", "line feed"])
def test_patient_id_that_no_object_may_have_is_refused(one_slice: Callable[..., Series], value: object) -> None:
    with pytest.raises(
        PacsError, match=r"a\.dcm: expected a PatientID as the standard has it .* found another"
    ) as error:
        read_source(one_slice(PatientID=value))
    assert "4711" not in str(error.value)


def item(**values: str) -> list[Dataset]:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return [made]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        pytest.param("ProcedureCodeSequence", item(CodeValue="12345" * 4, CodeMeaning="MRI"), id="code too long"),
        pytest.param("ReferencedStudySequence", item(), id="item without content"),
        pytest.param("OtherPatientIDsSequence", item(PatientID="4711" * 20), id="text too long in an item"),
        pytest.param("StudyDescription", "Head\nwith contrast", id="line feed"),
        pytest.param("StudyDescription", "Kopf \x1b$B", id="escape"),
        pytest.param("AdmittingDiagnosesDescription", ["glioma", "d" * 65], id="second text too long"),
        pytest.param("PatientComments", "c" * 10241, id="long text too long"),
        pytest.param("PhysiciansOfRecord", "A" * 65, id="name too long"),
        pytest.param("PregnancyStatus", 9, id="no enumerated number"),
        pytest.param("PregnancyStatus", [1, 4], id="two numbers"),
        pytest.param("SmokingStatus", "OFTEN", id="no enumerated word"),
        pytest.param("PatientWeight", "71.000000000000000000", id="number too long"),
        pytest.param("PatientAge", ["031Y", "032Y"], id="two ages"),
        pytest.param("IssuerOfPatientID", ["a", "b"], id="two issuers"),
        pytest.param("PatientBirthTime", "2561", id="no time"),
        pytest.param("ReferencedStudySequence", item(ReferencedSOPInstanceUID="1..2"), id="no UID"),
        pytest.param(
            "OtherPatientIDsSequence", item(PatientID="1", PatientBirthDate="20210230"), id="no day, in an item"
        ),
    ],
)
def test_content_of_a_forbidden_form_is_left_out(
    one_slice: Callable[..., Series], say: Callable[..., SeriesPrediction], tmp_path: Path, keyword: str, value: object
) -> None:
    for one in reread(results(one_slice(**{keyword: value}), say), tmp_path):
        assert keyword not in one


@pytest.mark.filterwarnings("ignore")
def test_report_of_a_source_with_many_forbidden_values_is_read_without_error(
    one_slice: Callable[..., Series], say: Callable[..., SeriesPrediction], tmp_path: Path
) -> None:
    series = one_slice(
        PatientName="A" * 65, PatientSex="X", PatientAge="31", PregnancyStatus=9, PatientWeight="71.000000000000000000",
        StudyDate="20210230", StudyTime="2561", AccessionNumber="1" * 17, StudyID=["1", "2"], SmokingStatus="OFTEN",
    )  # fmt: skip
    reread(results(series, say), tmp_path)
    for path in sorted(tmp_path.glob("*.result")) if shutil.which("dciodvfy") else ():
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == []
    if reader := shutil.which("tid1500reader"):
        out = tmp_path / "read.json"
        subprocess.run([reader, "--inputDICOM", str(tmp_path / "0.result"), "--outputMetadata", str(out)], check=True)
        assert '"MM011"' in out.read_text()


@pytest.mark.filterwarnings("ignore")
def test_long_text_of_several_lines_is_kept(
    one_slice: Callable[..., Series], say: Callable[..., SeriesPrediction], tmp_path: Path
) -> None:
    for one in reread(results(one_slice(PatientComments="one\r\ntwo\tthree"), say), tmp_path):
        assert one.PatientComments == "one\r\ntwo\tthree"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 126", "Διονυσιος^"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    ],
)
def test_names_keep_their_letters(
    one_slice: Callable[..., Series],
    say: Callable[..., SeriesPrediction],
    tmp_path: Path,
    character_set: str,
    name: str,
) -> None:
    series = one_slice(SpecificCharacterSet=character_set, PatientName=name)

    assert [str(one.PatientName) for one in reread(results(series, say), tmp_path)] == [name, name]


def test_nobody_is_told_of_the_patient(
    one_slice: Callable[..., Series],
    say: Callable[..., SeriesPrediction],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    series = one_slice(PatientName="Singlename", PatientID="secret-id")  # highdicom warns of such a name, with it
    caplog.set_level(logging.DEBUG)
    recwarn.clear()

    results(series, say)

    told = caplog.text + "".join(str(one.message) for one in recwarn)
    assert [secret for secret in ("Singlename", "secret-id", "1970") if secret in told] == []


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_file_that_cannot_be_referred_to_is_refused(one_slice: Callable[..., Series], keyword: str) -> None:
    series = one_slice()
    dataset = pydicom.dcmread(series.files[0])
    delattr(dataset, keyword)
    dataset.save_as(series.files[0])

    with pytest.raises(PacsError, match=rf"a\.dcm: expected a {keyword}, found none"):
        read_source(series)


def test_files_of_two_series_are_refused(make_dicom: Callable[..., Path], tmp_path: Path) -> None:
    pixels = np.zeros((4, 4), np.uint16)
    files = tuple(
        make_dicom(tmp_path / f"{uid}.dcm", pixels, StudyInstanceUID="1.2.3", SeriesInstanceUID=uid)
        for uid in ("1.2.4", "1.2.5")
    )

    with pytest.raises(PacsError, match="expected one SeriesInstanceUID in the T1w series, found 2"):
        read_source(Series("case", "T1w", files, range(2)))


def test_nifti_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PacsError, match=r"t1\.nii\.gz: expected DICOM, found NIfTI"):
        read_source(Series("case", "T1w", (tmp_path / "t1.nii.gz",), range(3)))


@pytest.mark.parametrize("content", [b"", b"not DICOM at all", b"\0" * 128 + b"DICM" + b"\xff" * 40])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)

    with pytest.raises(PacsError, match=r"a\.dcm: expected a"):
        read_source(Series("case", "T1w", (path,), range(1)))


def test_source_of_an_unknown_kind_is_refused(
    one_slice: Callable[..., Series], say: Callable[..., SeriesPrediction]
) -> None:
    with pytest.raises(PacsError, match=r"expected images of a kind that the standard knows, found 1\.2\.3\.999"):
        results(one_slice(SOPClassUID="1.2.3.999"), say)


def test_object_that_is_there_is_kept(
    one_slice: Callable[..., Series], say: Callable[..., SeriesPrediction], tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "sr.dcm"
    first, second = results(one_slice(), say)[0], results(one_slice(), say)[0]
    write_object(first, path)

    with pytest.raises(PacsError, match=r"sr\.dcm is there already"):
        write_object(second, path)

    assert pydicom.dcmread(path).SOPInstanceUID == first.SOPInstanceUID
    write_object(second, path, overwrite=True)
    assert pydicom.dcmread(path).SOPInstanceUID == second.SOPInstanceUID


@pytest.mark.parametrize("text", ["1.2.840", "2.25.123", "1" * 64, "1.02.3"])
def test_uids_are_taken(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize("text", ["", "..", "1..2", ".1", "1.", "1/2", "1.2\n", "a", "1" * 65, "\uff11.2", None, 12])
def test_others_are_no_uids(text: object) -> None:
    assert not is_uid(text)


@needs_compiler
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_header_that_the_machine_does_not_give_is_the_machines_fault(
    one_slice: Callable[..., Series], number: int
) -> None:
    (path,) = one_slice().files
    code = (
        "import sys\nfrom pathlib import Path\nfrom mgmt_monai.cohort.series import Series\n"
        "from mgmt_monai.pacs.study_source import read_source\n"
        "read_source(Series('case', 'T1w', (Path(sys.argv[1]),), range(1)))"
    )
    environment = faulty("read", number, path.name)
    ran = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True)
    assert "MachineError" in ran.stderr.splitlines()[-1] and "the machine is at fault" in ran.stderr
    assert "PacsError" not in ran.stderr
