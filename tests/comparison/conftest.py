"""A finished comparison of the session's phantom."""

import shutil
import signal

import pytest
from small_comparison import comparison_words, kill_when, start_comparison, unfinished

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
def ended_comparison(comparison_data, tmp_path_factory):
    """A comparison named ``small`` as Ctrl-C or a scheduler left it: the log, and what was not finished in MLflow."""
    runs = tmp_path_factory.mktemp("comparison") / "runs"
    words, log = comparison_words(comparison_data, runs, "small"), runs.parent / "log.txt"
    # Killed in the middle of the first training, gone on with, and asked to end among the controls.
    kill_when(start_comparison(words, log), lambda: list(runs.rglob("last.pt")))
    among_controls = start_comparison(words, log)
    code = kill_when(among_controls, lambda: list(runs.rglob("*-blank-*/transfer/best.pt")), by=signal.SIGTERM)
    return runs, code, log.read_text(), unfinished(runs)


@pytest.fixture(scope="session")
def finished_comparison(comparison_data, ended_comparison):
    """The folder ``runs`` with that comparison, gone on with and finished. Not to be changed."""
    runs = ended_comparison[0]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MGMT_DATA_DIR"):
            patch.delenv(name, raising=False)
        assert main(comparison_words(comparison_data, runs, "small")) == 0
    return runs
