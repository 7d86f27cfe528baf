"""A finished comparison of the session's phantom."""

import shutil

import pytest
from small_comparison import comparison_words

from mgmt_monai.cli.main import main


@pytest.fixture(scope="session")
def comparison_data(phantom_dir, tmp_path_factory):
    """The phantom with what could tell who a patient is: a column of its own for each, and a reason that names one."""
    data = tmp_path_factory.mktemp("comparison-data") / "phantom"
    shutil.copytree(phantom_dir, data, ignore=shutil.ignore_patterns("manifest.json", ".*"))
    patients = sorted(path.name for path in (data / "train").iterdir())
    columns = data.parent / "columns.csv"
    rows = [f"{name},accession-{name},{'AB'[n % 2]}" for n, name in enumerate(patients)]
    columns.write_text("\n".join(["patient_id,accession,site", *rows]) + "\n")
    excluded = data.parent / "excluded.csv"
    excluded.write_text(f"patient_id,reason\n{patients[-1]},same head as {patients[0]}\n")
    words = [
        "--columns",
        str(columns),
        "--exclude",
        str(excluded),
        "--test-fraction",
        "0.25",
        "--train-fraction",
        "0.67",
    ]
    assert main(["manifest", "build", str(data), *words]) == 0
    return data


@pytest.fixture(scope="session")
def finished_comparison(comparison_data, tmp_path_factory):
    """The folder ``runs`` with a finished comparison named ``small``. Not to be changed."""
    runs = tmp_path_factory.mktemp("comparison") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MGMT_DATA_DIR"):
            patch.delenv(name, raising=False)
        assert main(comparison_words(comparison_data, runs, "small")) == 0
    return runs
