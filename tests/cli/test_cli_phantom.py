import pytest
from click.testing import CliRunner

from mgmt_monai.cli.phantom import command
from mgmt_monai.phantom import PhantomError


def test_phantom_command_writes_cohort_and_montage(tmp_path):
    arguments = [str(tmp_path / "made"), "--patients", "2", "--effect", "1", "--seed", "4", "--workers", "1"]
    result = CliRunner().invoke(command, [*arguments, "--montage", str(tmp_path / "look.png")])
    assert result.exit_code == 0, result.output
    assert "reachable AUC 0.760" in result.output  # Phi(1 / sqrt 2) = Phi(0.7071)
    assert (tmp_path / "made" / "train_labels.csv").is_file()
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")


def test_phantom_command_with_one_patient_is_refused(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "made"), "--patients", "1"])
    assert isinstance(result.exception, PhantomError)
    assert not (tmp_path / "made").exists()


def test_effects_by_modality_and_missing_series(tmp_path):
    words = [
        "--effects",
        "T1w=1,T1wCE=1,T2w=1,FLAIR=1",
        "--missing",
        "FLAIR=0/1",
        "--montage",
        str(tmp_path / "look.png"),
    ]
    result = CliRunner().invoke(command, [str(tmp_path / "made"), "--patients", "2", "--workers", "1", *words])
    assert result.exit_code == 0, result.output
    # Four independent effects of 1 are one of 2: Phi(2 / sqrt 2).
    assert "effect 2, reachable AUC 0.921 (FLAIR 0.760, T1w 0.760, T1wCE 0.760, T2w 0.760)" in result.output
    assert len(list((tmp_path / "made/train").glob("*/FLAIR"))) == 1
    assert (tmp_path / "look.png").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ["--effects", "T1w"],
        ["--effects", "T1w=1,T1w=2"],
        ["--effects", "T1w=a"],
        ["--effects", "T1w=1/2"],
        ["--effects", ""],
        ["--effects", "T1w=1", "--effect", "3"],
        ["--shared", "0.5"],
        ["--missing", "FLAIR=0/1/1"],
        ["--missing", "FLAIR="],
    ],
)
def test_effects_that_cannot_be_read_are_refused(tmp_path, words):
    result = CliRunner().invoke(command, [str(tmp_path / "made"), "--patients", "2", *words])
    assert result.exit_code == 2 and "Error" in result.output
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "option", ["--patients", "--effect", "--effects", "--shared", "--missing", "--seed", "--workers", "--montage"]
)
def test_phantom_help_names_option(option):
    assert option in CliRunner().invoke(command, ["--help"]).output
