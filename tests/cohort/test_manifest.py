import hashlib
import json
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.manifest import (
    SCHEMA,
    Manifest,
    check_writable,
    read_manifest,
    series_reference,
    write_manifest,
)
from mgmt_monai.cohort.records import PatientRecord, SeriesRecord
from mgmt_monai.cohort.splits.plans import Holdout, KFold, of_fold

T1W = SeriesRecord(
    directory="train/00001/T1w",
    files=["b.dcm", "a.dcm", "ü 影.dcm"],
    frames=None,
    n_slices=3,
    rows=4,
    columns=6,
    plane="axial",
    orientation="LPS",
    pixel_spacing_mm=[0.5, 0.75],
    slice_spacing_mm=2.0,
    gaps=[[0, 1]],
    phase_images=0,
    reason="folder T1w",
    whole_folder=True,
    study="0123456789ab",
    fingerprint="0" * 64,
    digests="0123456789ab" * 3,
    signature="AAAA",
)
FRAMES = replace(T1W, directory="train/00002/T1w", files=["all.dcm"], frames=[2, 0, 1], gaps=[])
MANIFEST = Manifest(
    layout="rsna-miccai-2021",
    labels_sha256="f" * 64,
    split={"method": "holdout", "test_fraction": 0.1, "train_fraction": 0.85, "seed": 0},
    patients=[
        PatientRecord("00001", 1, "train", {"T1w": T1W}),
        PatientRecord("00002", 0, "train", {"T1w": FRAMES}),
        PatientRecord("00003", 1, "test", {}),
    ],
    excluded={"00109": "faulty"},
    left_out=["patient 00007: in the label file, but without images"],
)


@pytest.fixture
def schema() -> dict:
    source = resources.files("mgmt_monai.cohort").joinpath("data/manifest.schema.json")
    return json.loads(source.read_text(encoding="utf-8"))


@pytest.fixture
def rewrite(tmp_path):
    """Writes MANIFEST after `change` did its work on the document, with the hash that then fits."""

    def write(change) -> Path:
        document = {"schema": SCHEMA, **asdict(MANIFEST)}
        document = change(document) or document
        if isinstance(document, dict):
            document["content_hash"] = documented_hash(document)
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(document))
        return path

    return write


def documented_hash(document: dict) -> str:
    """The rule of docs/reference/manifest.md, from the file's own text."""
    notes = ("content_hash", "passed_over", "chosen", "made", "heads")
    content = {key: value for key, value in document.items() if key not in notes}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def refused(path: Path) -> str:
    with pytest.raises(CohortError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_manifest_reads_back_as_written(tmp_path):
    write_manifest(MANIFEST, tmp_path / "größe 1.json")
    assert read_manifest(tmp_path / "größe 1.json") == MANIFEST


def test_written_hash_follows_the_documented_rule(tmp_path):
    write_manifest(MANIFEST, tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    assert document["content_hash"] == documented_hash(document) == MANIFEST.content_hash


def test_documented_example_is_a_manifest(schema, tmp_path):
    page = Path(__file__).parents[2] / "docs/reference/manifest.md"
    text = page.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]
    (tmp_path / "m.json").write_text(text)
    assert read_manifest(tmp_path / "m.json").patients[0].patient_id == "00002"
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def test_order_of_keys_and_layout_of_the_file_do_not_matter(tmp_path):
    write_manifest(MANIFEST, tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    turned = dict(reversed(document.items()))
    turned["patients"] = [dict(reversed(patient.items())) for patient in document["patients"]]
    (tmp_path / "m.json").write_text(json.dumps(turned, indent=7, ensure_ascii=False), encoding="utf-8")
    assert read_manifest(tmp_path / "m.json") == MANIFEST


def leaves(value, path=()):
    """Where every scalar of a document stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path
    else:
        for key, item in items:
            yield from leaves(item, (*path, key))


def test_any_changed_value_is_refused(tmp_path):
    write_manifest(MANIFEST, tmp_path / "m.json")
    text = (tmp_path / "m.json").read_text()
    places = list(leaves(json.loads(text)))
    assert len(places) > 40
    for place in places:
        document = json.loads(text)
        *way, last = place
        holder = document
        for key in way:
            holder = holder[key]
        value = holder[last]
        holder[last] = value + "x" if isinstance(value, str) else 1 if value is None else value + 1
        (tmp_path / "m.json").write_text(json.dumps(document))
        refused(tmp_path / "m.json")


def test_patients_in_another_order_are_another_content():
    turned = replace(MANIFEST, patients=MANIFEST.patients[::-1])
    assert turned.content_hash != MANIFEST.content_hash


def test_tampered_content_is_told_with_both_hashes(tmp_path):
    write_manifest(MANIFEST, tmp_path / "m.json")
    text = (tmp_path / "m.json").read_text()
    (tmp_path / "m.json").write_text(text.replace('"split": "test"', '"split": "train"'))
    message = refused(tmp_path / "m.json")
    assert f"found {MANIFEST.content_hash}: it was changed after it was built" in message


def again(split):
    return lambda document: document["patients"].append({**document["patients"][0], "split": split})


def series_with(**values):
    return lambda document: document["patients"][0]["series"]["T1w"].update(values)


def patient_with(**values):
    return lambda document: document["patients"][0].update(values)


def folds_with(folds, inner_folds, **settings):
    """Three patients in two folds, one repeat and two inner folds, the first one's as given, or other settings."""

    def change(document):
        values = {"method": "kfold", "n_folds": 2, "n_repeats": 1, "n_inner_folds": 2, "seed": 0, **settings}
        document["folds"] = {key: value for key, value in values.items() if value is not None}
        for patient in document["patients"]:
            patient.update(folds=[1], inner_folds=[[0, None]])
        document["patients"][0].update(folds=folds, inner_folds=inner_folds)

    return change


def test_folds_read_back_as_written(rewrite):
    read = read_manifest(rewrite(folds_with([0], [[None, 1]])))
    assert read.folds["n_folds"] == 2
    assert [(p.folds, p.inner_folds) for p in read.patients] == [
        ([0], [[None, 1]]),
        ([1], [[0, None]]),
        ([1], [[0, None]]),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(folds_with([], []), "patient 00001: expected a fold below 2 for each of 1 repeats", id="no fold"),
        pytest.param(folds_with([0, 1], [[None, 1]]), "below 2 for each of 1 repeats, found [0, 1]", id="two repeats"),
        pytest.param(folds_with([2], [[0, 1]]), "a fold below 2 for each of 1 repeats, found [2]", id="too high"),
        pytest.param(folds_with([0], []), "patient 00001: expected an inner fold below 2", id="no inner folds"),
        pytest.param(folds_with([0], [[1, None]]), "outer fold but its own, found [[1, None]]", id="in its own"),
        pytest.param(folds_with([0], [[None, 2]]), "an inner fold below 2", id="inner too high"),
        pytest.param(folds_with([0], [[None, 1]], n_inner_folds=0), "below 0 for each outer", id="inner of none"),
        pytest.param(patient_with(folds=[0]), "a fold below 0 for each of 0 repeats, found [0]", id="fold of none"),
    ],
)
def test_folds_that_do_not_fit_refused(rewrite, change, expected):
    message = refused(rewrite(change))
    assert expected in message
    assert "Split again with 'mgmt-monai manifest split'" in message


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
def test_cohort_of_a_fold(nested):
    folds = [[0], [1], [2]]
    inner = [[[None, 0, 1]], [[1, None, 0]], [[0, 1, None]]]
    patients = [
        replace(p, folds=of, inner_folds=within if nested else [])
        for p, of, within in zip(MANIFEST.patients, folds, inner, strict=True)
    ]
    settings = {"method": "kfold", "n_folds": 3, "n_repeats": 1, "n_inner_folds": 2 * nested, "seed": 0}
    made = of_fold(replace(MANIFEST, patients=patients, folds=settings), 0, 1, 0 if nested else None)
    # plain: the fold after the first is for validation; nested: inner fold 0 of the patients outside fold 1
    expected = ["validation", "test", "train"] if nested else ["train", "test", "validation"]
    assert [p.split for p in made.patients] == expected
    assert (made.split["fold"], made.split["inner_fold"]) == (1, 0 if nested else None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(again("test"), "patient 00001 is in two splits (train, test)", id="two splits"),
        pytest.param(again("train"), "patient 00001 is named 2 times", id="named twice"),
        pytest.param(
            patient_with(split="tset"),
            '00001: split: expected "train" or "validation" or "test"',
            id="split",
        ),
        pytest.param(patient_with(label=2), "patient 00001: label: expected 0 or 1, found 2", id="label"),
        pytest.param(patient_with(label=True), "patient 00001: label: expected integer, found true", id="boolean"),
        pytest.param(patient_with(patient_id=1), "patients[0].patient_id: expected string, found 1", id="identifier"),
        pytest.param(patient_with(patient_id=["1"]), 'patients[0].patient_id: expected string, found ["1"]', id="list"),
        pytest.param(patient_with(series=[]), "patient 00001: series: expected object, found []", id="series"),
        pytest.param(
            lambda d: d["patients"][0].update(series={"T1": d["patients"][0]["series"]["T1w"]}),
            '"FLAIR" or "T1w" or "T1wCE" or "T2w", found "T1"',
            id="modality",
        ),
        pytest.param(
            series_with(directory="../other"),
            'a path inside the folder, found "../other"',
            id="way out",
        ),
        pytest.param(series_with(directory="a\0b"), "T1w.directory: expected a path inside the folder", id="NUL"),
        pytest.param(series_with(files=["a\0b"]), "T1w.files[0]: expected a path inside", id="file with NUL"),
        pytest.param(series_with(directory="/etc"), 'a path inside the folder, found "/etc"', id="absolute"),
        pytest.param(
            series_with(files=["../a.dcm"]), "T1w.files[0]: expected a path inside the folder", id="file's way out"
        ),
        pytest.param(series_with(files=[7]), "T1w.files[0]: expected string, found 7", id="file no text"),
        pytest.param(series_with(files=[]), "T1w.files: [] should be non-empty", id="no file"),
        pytest.param(series_with(n_slices=4), "expected n_slices to be 3, found 4", id="number of slices"),
        pytest.param(series_with(digests="0" * 24), "12 hexadecimal digits a slice in digests", id="digests"),
        pytest.param(series_with(digests="00"), "series.T1w.digests: expected text of the form", id="half a digest"),
        pytest.param(patient_with(folds=[-1]), "patient 00001: folds[0]: -1 is less than the minimum of 0", id="folds"),
        pytest.param(patient_with(columns={"site": 3}), "00001: columns.site: expected string, found 3", id="columns"),
        pytest.param(series_with(gaps=[3]), "T1w.gaps[0]: expected array, found 3", id="gap"),
        pytest.param(series_with(gaps=[[0, "1"]]), 'T1w.gaps[0][1]: expected integer, found "1"', id="gap of text"),
        pytest.param(lambda d: d.update(ignored=[{}]), "ignored[0]: 'finding' is a required property", id="ignored"),
        pytest.param(series_with(frames=[0, 1]), "T1w.files: ", id="frames of several files"),
        pytest.param(
            series_with(files=["a"], frames=[-1]),
            "T1w.frames[0]: -1 is less than",
            id="negative frame",
        ),
        pytest.param(series_with(rows="4"), 'T1w.rows: expected integer, found "4"', id="text for a number"),
        pytest.param(series_with(colour="red"), "('colour' was unexpected)", id="unknown key"),
        pytest.param(lambda d: d.pop("patients") and None, "document: 'patients' is a required", id="no patients"),
        pytest.param(lambda d: d.update(schema="mgmt-monai/manifest/1"), f"expected the schema {SCHEMA}", id="schema"),
        pytest.param(lambda d: [d], f"expected the schema {SCHEMA}, found null", id="list at the top"),
        pytest.param(lambda d: d.update(folds="five"), 'folds: expected object, found "five"', id="folds of text"),
        pytest.param(lambda d: d.update(split="none"), 'split: expected object, found "none"', id="split of text"),
        pytest.param(series_with(n_slices=3.0), "T1w.n_slices: expected integer, found 3.0", id="number with a point"),
        pytest.param(series_with(files=["a\n/../../b"]), "T1w.files[0]: expected a path", id="way out on line 2"),
        pytest.param(folds_with([0], [[None, 1]], n_folds=None), "'n_folds' is a required", id="no n_folds"),
        pytest.param(folds_with([0], [[None, 1]], n_folds="2"), 'n_folds: expected integer, found "2"', id="text"),
        pytest.param(folds_with([0], [[None, 1]], n_repeats=0), "n_repeats: 0 is less than", id="no repeat"),
        pytest.param(folds_with([0], [[None, True]]), "[0][1]: expected integer or null, found true", id="inner"),
        pytest.param(folds_with([0], [None]), "inner_folds[0]: expected array, found null", id="no list"),
    ],
)
def test_manifest_that_breaks_the_rules_refused(rewrite, change, expected):
    assert expected in refused(rewrite(change))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"n": ' + b"9" * 5000 + b"}", b'{"n": NaN}', b'{"name": "\\uD800"}',
    ],
    ids=["empty", "cut", "UTF-16", "deep", "5000 digits", "NaN", "half a character"],
)  # fmt: skip
def test_file_that_is_no_json_refused(tmp_path, content):
    (tmp_path / "m.json").write_bytes(content)
    assert "not a readable JSON file" in refused(tmp_path / "m.json")


def test_absent_manifest_refused(tmp_path):
    assert "no manifest. Build one with 'mgmt-monai manifest build DATA_DIR'" in refused(tmp_path / "m.json")


def test_failing_write_leaves_the_old_manifest(tmp_path, monkeypatch):
    path = tmp_path / "m.json"
    write_manifest(MANIFEST, path)

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CohortError, match=r"cannot write the manifest \(No space left on device\)"):
        write_manifest(replace(MANIFEST, left_out=[]), path)
    assert [file.name for file in tmp_path.iterdir()] == ["m.json"]
    assert read_manifest(path) == MANIFEST


@pytest.mark.parametrize(
    ("name", "expected"),
    [(".", "it is a folder"), ("absent/m.json", "absent is not a folder"), ("file/m.json", "file is not a folder")],
    ids=["folder", "absent folder", "file for a folder"],
)
def test_unwritable_place_refused(tmp_path, name, expected):
    (tmp_path / "file").touch()
    for refuse in (check_writable, lambda path: write_manifest(MANIFEST, path)):
        with pytest.raises(CohortError) as caught:
            refuse(tmp_path / name)
        assert expected in str(caught.value)
        assert "--out" in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_members_and_counts():
    assert [p.patient_id for p in MANIFEST.members("train", "T1w")] == ["00001", "00002"]
    assert MANIFEST.members("test", "T1w") == []
    assert MANIFEST.counts() == {"train": (1, 1), "validation": (0, 0), "test": (0, 1)}


def test_series_reference_names_the_files_under_the_data_directory(tmp_path):
    series = series_reference(MANIFEST.patients[0], "T1w", tmp_path)
    directory = tmp_path / "train" / "00001" / "T1w"
    assert series.files == (directory / "b.dcm", directory / "a.dcm", directory / "ü 影.dcm")
    assert (series.patient_id, series.modality, series.frames, series.slices) == ("00001", "T1w", None, range(3))


def test_series_reference_of_a_multi_frame_file(tmp_path):
    series = series_reference(MANIFEST.patients[1], "T1w", tmp_path)
    assert series.files == (tmp_path / "train/00002/T1w/all.dcm",)
    assert (series.frames, series.n_slices) == ((2, 0, 1), 3)


def test_built_manifest_fits_the_json_schema(schema, make_cohort, make_dicom, make_enhanced, tmp_path):
    data_dir = make_cohort(20, modalities=("T1w", "FLAIR"))
    single = data_dir / "train/00003/FLAIR"
    for path in single.iterdir():
        path.unlink()
    make_enhanced(single / "all.dcm", [(0, 0, 2), (0, 0, 0), (0, 0, 4), (0, 0, 10)])
    plan = Holdout(test_fraction=0.1, train_fraction=0.8, seed=0)
    manifest = KFold(n_folds=3, n_repeats=2, n_inner_folds=2, seed=0).apply(
        build_manifest(data_dir, Sources(), plan, workers=1).manifest
    )
    write_manifest(manifest, tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["patients"][2]["series"]["FLAIR"]["frames"] == [1, 0, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(series_with(directory="../other"), id="way out"),
        pytest.param(series_with(files=["a/../../b", "c", "d"]), id="file's way out"),
        pytest.param(series_with(files=[]), id="no file"),
        pytest.param(series_with(frames=[0]), id="frames of several files"),
        pytest.param(series_with(colour="red"), id="unknown key"),
        pytest.param(patient_with(label=2), id="label"),
        pytest.param(patient_with(split="tset"), id="split"),
        pytest.param(lambda d: d.update(schema="other"), id="schema"),
    ],
)
def test_json_schema_refuses_what_the_reader_refuses(schema, rewrite, change):
    path = rewrite(change)
    refused(path)
    assert not jsonschema.Draft202012Validator(schema).is_valid(json.loads(path.read_text()))


def test_a_manifest_from_before_heads_were_counted_is_built_again(tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(MANIFEST, path)
    counted = {"T1w": {"series": 1, "skull_stripped": 1, "with_skull": 0, "prepared": 0}}
    write_manifest(replace(MANIFEST, heads=counted), path, overwrite=False)
    assert read_manifest(path).heads == counted


def test_json_schema_names_exactly_the_fields_of_the_records(schema):
    document = {"schema": SCHEMA, "content_hash": MANIFEST.content_hash, **asdict(MANIFEST)}
    patient = document["patients"][0]
    definitions = schema["$defs"]
    assert set(schema["properties"]) == {*schema["required"], "chosen", "passed_over", "made", "heads"} == set(document)
    assert set(definitions["patient"]["properties"]) == set(definitions["patient"]["required"]) == set(patient)
    series = definitions["series"]
    assert set(series["properties"]) == set(series["required"]) == set(patient["series"]["T1w"])
