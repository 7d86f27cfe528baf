from pathlib import Path

import pytest

from mgmt_monai.cohort.phantom import write_phantom


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom of 16 patients in which there is something to find. Not to be changed: copy it."""
    return write_phantom(tmp_path_factory.mktemp("phantom") / "phantom", n_patients=16, effect=3.0, seed=0)
