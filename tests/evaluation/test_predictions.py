"""The predictions table: what is taken, what is refused and by which words."""

import os

import numpy as np
import pandas as pd
import pytest

from mgmt_monai.evaluation.predictions import (
    PATIENT_COLUMNS,
    SLICE_COLUMNS,
    EvaluationError,
    patients_from_slices,
    read_patients,
    read_slices,
    write_patients,
    write_slices,
)

HEADER = "patient_id,modality,stage,split,fold,seed,label,probability,n_slices"
ROW = "00009,T1w,transfer,test,0,42,1,0.25,3"


@pytest.fixture
def slices() -> pd.DataFrame:
    rows = [
        ("00009", "T1w", "transfer", "test", 0, 42, 1, 0.5, 4),
        ("00100", "T1w", "transfer", "test", 0, 42, 0, 0.75, 7),
        ("00009", "T1w", "transfer", "test", 0, 42, 1, 0.25, 5),
        ("00009", "T1w", "transfer", "test", 0, 42, 1, 0.75, 6),
    ]
    return pd.DataFrame(rows, columns=list(SLICE_COLUMNS))


def _file(tmp_path, *lines):
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_read_keeps_leading_zeros_and_types(tmp_path):
    table = read_patients(_file(tmp_path, HEADER, ROW, "NA,T1w,transfer,test,0,42,0,1e-3,1"))
    assert table["patient_id"].tolist() == ["00009", "NA"]
    assert table["probability"].tolist() == [0.25, 0.001]
    assert [str(table[column].dtype) for column in ("fold", "seed", "label", "n_slices")] == ["int64"] * 4


def test_read_columns_in_another_order(tmp_path):
    header = ",".join(reversed(HEADER.split(",")))
    table = read_patients(_file(tmp_path, header, ",".join(reversed(ROW.split(",")))))
    assert tuple(table.columns) == PATIENT_COLUMNS
    assert table["n_slices"].tolist() == [3]


def test_read_with_byte_order_mark_and_blank_lines_counts_lines_as_an_editor_does(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_text(f"{HEADER}\r\n\r\n{ROW.replace('0.25', '2')}\r\n", encoding="utf-8-sig")
    with pytest.raises(EvaluationError, match=r"line 3, column probability"):
        read_patients(path)


def test_write_then_read_gives_the_same_bits(tmp_path):
    random = np.random.default_rng(3)
    probability = np.concatenate([random.random(200), random.random(200).astype(np.float32), [0, 1, 5e-324]])
    n = len(probability)
    table = pd.DataFrame(
        {
            "patient_id": [f"{number:05d}" for number in range(n)],
            "modality": "FLAIR",
            "stage": "fine_tune",
            "split": "test",
            "fold": 0,
            "seed": 1,
            "label": np.arange(n) % 2,
            "probability": probability,
            "n_slices": 2,
        }
    )
    write_patients(table, tmp_path / "p.csv")
    back = read_patients(tmp_path / "p.csv")
    assert back["probability"].to_numpy().tobytes() == probability.tobytes()
    assert back["patient_id"].tolist() == table["patient_id"].tolist()


def test_write_slices_then_read(tmp_path, slices):
    write_slices(slices, tmp_path / "s.csv")
    assert read_slices(tmp_path / "s.csv")["slice_index"].tolist() == [4, 7, 5, 6]


def test_write_failing_half_way_leaves_the_old_file_and_nothing_else(tmp_path, slices, monkeypatch):
    path = tmp_path / "s.csv"
    path.write_text("old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EvaluationError, match="No space left on device"):
        write_slices(slices, path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.csv"]


def test_write_into_no_folder_names_the_path(tmp_path, slices):
    with pytest.raises(EvaluationError, match=r"none/s\.csv"):
        write_slices(slices, tmp_path / "none" / "s.csv")


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("patient_id", "", "text without blanks"),
        ("patient_id", " 00009", "text without blanks"),
        ("split", "val", "one of train, validation, test"),
        ("fold", "-1", "a whole number from 0"),
        ("seed", "1.5", "a whole number from 0"),
        ("label", "2", "0 (unmethylated) or 1 (methylated)"),
        ("label", "", "0 (unmethylated) or 1 (methylated)"),
        ("probability", "1.01", "a number from 0 to 1"),
        ("probability", "nan", "a number from 0 to 1"),
        ("probability", "0,5", "9 values"),
        ("n_slices", "0", "a whole number from 1"),
    ],
)
def test_read_bad_value_names_line_column_expected_and_found(tmp_path, column, value, expected):
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {"patient_id": "00010", column: value}
    path = _file(tmp_path, HEADER, ROW, ",".join(cells.values()))
    with pytest.raises(EvaluationError) as error:
        read_patients(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line 3")
    assert expected in message
    assert "\n" not in message
    if "," not in value:
        assert f"column {column}" in message
        assert f"found {value!r}" in message


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (HEADER.replace("seed,", ""), "without seed"),
        (HEADER + ",site", "with unknown site"),
        (HEADER.replace("seed", "fold"), "with twice fold"),
        ("", "without patient_id"),
    ],
    ids=["missing", "unknown", "twice", "empty"],
)
def test_read_bad_header_names_the_columns(tmp_path, header, found):
    with pytest.raises(EvaluationError, match=f"line 1: .*{found}"):
        read_patients(_file(tmp_path, header, ROW))


@pytest.mark.parametrize(
    ("second", "found"),
    [
        (ROW, "patient 00009 a second time"),
        ("00009,FLAIR,transfer,test,0,42,0,0.5,3", "expected 1 as on patient 00009's other rows, found 0"),
        ("00009,T1w,transfer,train,0,42,1,0.5,3", "a second time"),
    ],
    ids=["duplicate", "two labels", "two splits"],
)
def test_read_contradicting_rows_are_refused_by_name(tmp_path, second, found):
    with pytest.raises(EvaluationError, match=found):
        read_patients(_file(tmp_path, HEADER, ROW, second))


def test_slices_of_one_patient_in_two_splits_are_refused(slices):
    slices.loc[2, "split"] = "train"
    with pytest.raises(EvaluationError, match="expected test as on patient 00009's other rows, found train"):
        patients_from_slices(slices)


def test_read_without_rows_or_file(tmp_path):
    with pytest.raises(EvaluationError, match="expected at least one prediction"):
        read_patients(_file(tmp_path, HEADER))
    with pytest.raises(EvaluationError, match=r"absent\.csv: .*No such file"):
        read_patients(tmp_path / "absent.csv")


def test_read_binary_file_is_refused(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(EvaluationError, match="expected UTF-8 text"):
        read_patients(path)


def test_patients_from_slices_means_and_counts(slices):
    table = patients_from_slices(slices)
    assert tuple(table.columns) == PATIENT_COLUMNS
    assert table["patient_id"].tolist() == ["00009", "00100"]
    assert table["probability"].tolist() == [0.5, 0.75]  # (0.5 + 0.25 + 0.75) / 3
    assert table["n_slices"].tolist() == [3, 1]
    assert table["label"].tolist() == [1, 0]


def test_patients_from_slices_keeps_models_apart(slices):
    both = pd.concat([slices, slices.assign(stage="fine_tune", probability=1.0)])
    table = patients_from_slices(both)
    assert list(zip(table["stage"], table["probability"], strict=True)) == [
        ("transfer", 0.5),
        ("transfer", 0.75),
        ("fine_tune", 1.0),
        ("fine_tune", 1.0),
    ]


def test_patients_from_slices_of_certain_slices_stays_within_one(slices):
    many = pd.concat([slices.iloc[:1]] * 7).assign(slice_index=range(7), probability=1 - 2**-53)
    assert patients_from_slices(many)["probability"].tolist() == [1 - 2**-53]


def test_patient_id_as_a_number_is_refused(slices):
    with pytest.raises(EvaluationError, match=r"row 0, column patient_id: .*'00009'.*found 9"):
        patients_from_slices(slices.assign(patient_id=9))
