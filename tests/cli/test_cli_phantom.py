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


@pytest.mark.parametrize("option", ["--patients", "--effect", "--seed", "--workers", "--montage"])
def test_phantom_help_names_option(option):
    assert option in CliRunner().invoke(command, ["--help"]).output
