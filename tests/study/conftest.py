"""A finished study of the session's phantom."""

import pytest
from small_study import study_words

from mgmt_monai.cli.main import main


@pytest.fixture(scope="session")
def finished_study(phantom_dir, tmp_path_factory):
    """The folder ``runs`` with a finished study named ``small``. Not to be changed."""
    runs = tmp_path_factory.mktemp("study") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MGMT_DATA_DIR"):
            patch.delenv(name, raising=False)
        assert main(study_words(phantom_dir, runs, "small")) == 0
    return runs
