import json

import pytest
from bids_validator import BIDSValidator

from mgmt_monai.cohort.layouts import bids, find_series


def chosen(found):
    return {series.modality: series.files[0] for series in found.series}


@pytest.fixture
def subject(make_nifti):
    """Writes ``sub-01``'s files, named as the BIDS validator, an independent reader, has them."""

    def make(*ends, session=""):
        folder, stem = (f"sub-01/ses-{session}", f"sub-01_ses-{session}") if session else ("sub-01", "sub-01")
        paths = [f"{folder}/anat/{stem}_{end}" for end in ends]
        assert [path for path in paths if not BIDSValidator().is_bids(f"/{path}")] == []
        make_nifti(*paths)

    return make


@pytest.mark.parametrize("session", ["", "01"])
def test_four_modalities(tmp_path, subject, session):
    subject("T1w.nii.gz", "ce-gadolinium_T1w.nii.gz", "T2w.nii", "FLAIR.nii.gz", session=session)
    assert bids.recognises(tmp_path)
    stem = "sub-01_ses-01" if session else "sub-01"
    found = bids.find(tmp_path)
    assert chosen(found) == {
        "FLAIR": f"{stem}_FLAIR.nii.gz",
        "T1w": f"{stem}_T1w.nii.gz",
        "T1wCE": f"{stem}_ce-gadolinium_T1w.nii.gz",
        "T2w": f"{stem}_T2w.nii",
    }
    assert (found.patients, found.findings, found.left_out) == ({"sub-01"}, [], [])


@pytest.mark.parametrize(
    ("ends", "sidecar", "expected"),
    [
        pytest.param(["T1w"], {"ContrastBolusIngredient": "GADOLINIUM"}, "T1wCE", id="ingredient"),
        pytest.param(["T1w"], {"ContrastBolusIngredient": "NONE"}, "T1w", id="ingredient none"),
        pytest.param(["T1w"], {"SeriesDescription": "t1_mprage nach KM"}, "T1wCE", id="description"),
        pytest.param(["ce-gd_T1w"], {"SeriesDescription": "T1 sin contraste"}, "T1wCE", id="ce before description"),
        pytest.param(["ce-none_T1w"], {}, "T1w", id="ce-none"),
        pytest.param(["acq-postcontrast_T1w"], {}, "T1wCE", id="acq"),
        pytest.param(["T1w"], {}, "T1w", id="nothing"),
        pytest.param(["T2w"], {"SeriesDescription": "AX T2 FLAIR"}, "T2w", id="suffix before description"),
    ],
)
def test_suffix_says_the_sequence_and_tags_or_names_the_contrast(tmp_path, subject, ends, sidecar, expected):
    subject(*(f"{end}.nii.gz" for end in ends))
    (tmp_path / f"sub-01/anat/sub-01_{ends[0]}.json").write_text(json.dumps(sidecar))
    assert list(chosen(bids.find(tmp_path))) == [expected]


def test_one_without_ce_beside_one_with_is_before_contrast(tmp_path, subject):
    subject("ce-gd_T1w.nii.gz", "acq-3D_T1w.nii.gz")
    for name, number in (("ce-gd_T1w", 3), ("acq-3D_T1w", 9)):  # though it was taken later
        (tmp_path / f"sub-01/anat/sub-01_{name}.json").write_text(json.dumps({"SeriesNumber": number}))
    assert chosen(bids.find(tmp_path)) == {"T1w": "sub-01_acq-3D_T1w.nii.gz", "T1wCE": "sub-01_ce-gd_T1w.nii.gz"}


def test_lowest_run_is_taken_and_told(tmp_path, subject):
    subject("run-10_T2w.nii.gz", "run-9_T2w.nii.gz")
    found = bids.find(tmp_path)
    assert chosen(found) == {"T2w": "sub-01_run-9_T2w.nii.gz"}
    assert [(finding.id, finding.modality) for finding in found.findings] == [("D034", "T2w")]


@pytest.mark.parametrize(
    ("sessions", "times", "first"),
    [
        (["10", "9"], {}, "9"),
        (["postop", "preop"], {}, "preop"),
        (["a", "initial"], {}, "initial"),
        (["recurrence", "z"], {}, "z"),
        (["a", "b"], {"a": "2020-05-01T10:00:00", "b": "2019-05-01T10:00:00"}, "b"),
    ],
)
def test_first_session_is_taken_and_told(tmp_path, subject, sessions, times, first):
    for session in sessions:
        subject("T1w.nii.gz", "T2w.nii.gz", session=session)
    if times:
        rows = "".join(f"ses-{session}\t{time}\n" for session, time in times.items())
        (tmp_path / "sub-01/sub-01_sessions.tsv").write_text("session_id\tacq_time\n" + rows)
    found = bids.find(tmp_path)
    assert set(chosen(found).values()) == {f"sub-01_ses-{first}_{end}.nii.gz" for end in ("T1w", "T2w")}
    (note,) = found.findings
    assert note.id == "D034"
    assert f"took the first, ses-{first}, and left out" in note.text
    assert len(found.left_out) == 2


def test_derivatives_sourcedata_and_what_is_ignored_are_left_alone(tmp_path, subject, make_nifti):
    subject("T1w.nii.gz", "FLAIR.nii.gz", "PDw.nii.gz", "part-phase_T2w.nii.gz")
    make_nifti("derivatives/x/sub-01/anat/sub-01_T2w.nii.gz", "sourcedata/sub-02/anat/sub-02_T2w.nii.gz")
    (tmp_path / ".bidsignore").write_text("# what is not ready\n*_FLAIR.nii.gz\n")
    found = bids.find(tmp_path)
    assert chosen(found) == {"T1w": "sub-01_T1w.nii.gz"}
    assert found.patients == {"sub-01"}
    assert {item.what: item.reason for item in found.left_out} == {
        "sub-01_FLAIR.nii.gz": "named in .bidsignore",
        "sub-01_PDw.nii.gz": "of suffix PDw, none of T1w, T2w, FLAIR",
        "sub-01_part-phase_T2w.nii.gz": "a phase image",
    }


@pytest.mark.parametrize("line", ["sub-01/anat/sub-01_FLAIR.nii.gz", "*_FLAIR.nii.gz", "sub-01/anat/*_FLAIR*"])
def test_one_subject_is_read_as_it_is_in_its_data_set(tmp_path, subject, line):
    subject("T1w.nii.gz", "FLAIR.nii.gz")
    (tmp_path / ".bidsignore").write_bytes(f"\ufeff{line}\r\n".encode())
    assert chosen(bids.find(tmp_path / "sub-01")) == chosen(bids.find(tmp_path)) == {"T1w": "sub-01_T1w.nii.gz"}


def test_what_a_later_line_of_bidsignore_takes_back_is_read(tmp_path, subject):
    subject("T1w.nii.gz", "FLAIR.nii.gz")
    (tmp_path / ".bidsignore").write_text("sub-*/anat/*.nii.gz\n!*_T1w.nii.gz\n")
    assert chosen(bids.find(tmp_path)) == {"T1w": "sub-01_T1w.nii.gz"}


def test_subject_without_images_is_told(tmp_path, subject):
    subject("T1w.nii.gz")
    (tmp_path / "sub-02").mkdir()
    assert [(f.id, f.patient_id) for f in find_series(tmp_path).findings] == [("D035", "sub-02")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "not a readable JSON file"),
        (b"", "not a readable JSON file"),
        (b"[" * 100_000, "not a readable JSON file"),
        (b"\xff\xfe{}", "not a readable JSON file"),
        (b'{"EchoTime": NaN}', "NaN is no number of JSON"),
        (b'{"Doe": "\\ud800"}', "not a readable JSON file"),
        (b'{"SeriesNumber": ' + b"9" * 5000 + b"}", "not a readable JSON file"),
        (b'{"EchoTime": 1, "EchoTime": 2}', "the key 'EchoTime' twice"),
        (b'["Doe"]', "the document: expected object"),
        (b'"Doe"', "the document: expected object"),
        (b'{"AcquisitionTime": ["Doe"]}', "AcquisitionTime: expected string or null"),
        (b'{"AcquisitionTime": 93000}', "AcquisitionTime: expected string or null"),
        (b'{"ContrastBolusIngredient": 5}', "ContrastBolusIngredient: expected string or null"),
        (b'{"EchoTime": "Doe"}', "EchoTime: expected a number"),
        (b'{"EchoTime": true}', "EchoTime: expected number"),
        (b'{"RepetitionTime": [0.5]}', "RepetitionTime: expected number"),
        (b'{"ImageType": ["ORIGINAL", 3]}', "ImageType[1]: expected string"),
        (b'{"SeriesDescription": {"Doe": 1}}', "SeriesDescription: expected string or null"),
        (b" " * (16 * 2**20) + b"{}", "a file of more than 16 MiB"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else str(len(value)),
)
def test_damaged_sidecar_is_one_error_of_its_patient_and_quotes_nothing(tmp_path, subject, content, why):
    subject("T1w.nii.gz")
    (tmp_path / "sub-01/anat/sub-01_T1w.json").write_bytes(content)
    (finding,) = bids.find(tmp_path).findings
    assert (finding.id, finding.patient_id) == ("D001", "sub-01")
    assert finding.path.endswith("sub-01_T1w.json")
    assert why in finding.text
    assert "Doe" not in finding.line


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbf{}", b'{"EchoTime": null, "SliceThickness": "n/a", "RepetitionTime": "0.5"}',
     b'{"EchoTime": [0.01, 0.02], "ImageType": ["ORIGINAL"], "ScanningSequence": "GR", "Units": {"x": [1]}}'],
)  # fmt: skip
def test_sidecar_that_says_little_is_read(tmp_path, subject, content):
    subject("T1w.nii.gz")
    (tmp_path / "sub-01/anat/sub-01_T1w.json").write_bytes(content)
    found = bids.find(tmp_path)
    assert (found.findings, [series.modality for series in found.series]) == ([], ["T1w"])


def test_files_named_after_another_subject_are_errors_and_not_read(tmp_path, subject, make_nifti):
    swapped = {"sub-02": "sub-03", "sub-03": "sub-02", "sub-08": "sub-09"}
    subject("T1w.nii.gz")
    make_nifti(*(f"{folder}/anat/{name}_T1w.nii.gz" for folder, name in swapped.items()))
    found = find_series(tmp_path)
    assert [series.patient_id for series in found.series] == ["sub-01"]
    told = {finding.patient_id: finding.others for finding in found.findings if finding.id == "D047"}
    assert told == {folder: (name,) for folder, name in swapped.items()}
    assert {finding.patient_id for finding in found.findings if finding.id == "D035"} == set(swapped)


@pytest.mark.parametrize("path", ["ses-1/anat/sub-10_ses-2_T1w", "ses-1/anat/sub-10_T1w", "anat/sub-10_ses-1_T1w"])
def test_session_of_file_and_folder_differ(tmp_path, make_nifti, path):
    make_nifti(f"sub-10/{path}.nii.gz", "sub-10/ses-1/anat/sub-10_ses-1_T2w.nii.gz")
    found = find_series(tmp_path)
    assert set(chosen(found)) == {"T2w"}
    (finding,) = found.findings
    assert (finding.id, "move or rename it" in finding.text) == ("D037", True)


@pytest.mark.parametrize("session", ["", "1"])
def test_sidecars_are_inherited_and_the_nearer_goes_before(tmp_path, make_nifti, session):
    agent = {"ContrastBolusIngredient": "GADOLINIUM"}
    told = {"T1w": agent, "T2w": agent, "sub-02/sub-02_T1w": {"ContrastBolusIngredient": "NONE"}, "acq-x_T1w": {}}
    for name in ("01", "02", "03"):
        stem = f"sub-{name}/ses-1/anat/sub-{name}_ses-1" if session else f"sub-{name}/anat/sub-{name}"
        make_nifti(f"{stem}_acq-3D_T1w.nii.gz")
        told |= {f"{stem}_T1w": {"ContrastBolusIngredient": "NONE"}} if name == "03" else {}
    for path, content in told.items():
        (tmp_path / f"{path}.json").write_text(json.dumps(content))
    read = [(series.patient_id, series.modality) for series in find_series(tmp_path).series]
    assert read == [("sub-01", "T1wCE"), ("sub-02", "T1w"), ("sub-03", "T1w")]
    (one,) = bids.find(tmp_path / "sub-01").series
    assert one.modality == "T1wCE", "one subject alone inherits too"


@pytest.mark.parametrize(("suffix", "name"), [("T1ce", "ce-gd_T1w"), ("flair", "FLAIR"), ("t2", "T2w"), ("T2star", "")])
def test_other_suffix_is_told_with_the_name_to_give(tmp_path, make_nifti, suffix, name):
    make_nifti(f"sub-06/anat/sub-06_{suffix}.nii.gz")
    (item,) = bids.find(tmp_path).left_out
    assert item.reason.endswith(f"; rename it to sub-06_{name}.nii.gz" if name else "none of T1w, T2w, FLAIR")


@pytest.mark.parametrize("entities", ["acq-postgado_T1w", "acq-gado_rec-x_T1w"])
def test_words_of_an_entity_that_say_contrast_count_where_ce_is_not_there(tmp_path, make_nifti, entities):
    make_nifti(f"sub-10/anat/sub-10_{entities}.nii.gz")
    assert list(chosen(find_series(tmp_path))) == ["T1wCE"]
