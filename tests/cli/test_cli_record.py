"""``mgmt-monai record``: one folder that is no training does not keep the others from being recorded."""

import shutil
from pathlib import Path

import pytest

from mgmt_monai.cli.main import main

pytestmark = pytest.mark.xdist_group("training")


@pytest.mark.parametrize("empty_first", [True, False])
def test_every_folder_is_recorded_that_can_be(finished_run: Path, tmp_path: Path, capsys, empty_first) -> None:
    runs = tmp_path / "my runs" / "t1w"
    shutil.copytree(finished_run, runs / "trained")
    (runs / "nothing").mkdir()
    folders = [runs / "nothing", runs / "trained"]

    code = main(["record", *map(str, folders if empty_first else folders[::-1])])

    told = capsys.readouterr()
    assert code == 1
    assert told.out.startswith(f"{runs / 'trained'}: run ") and told.out.count("\n") == 1
    nothing = f"Error: {runs / 'nothing'}: expected the folder of a training that has begun, found none"
    assert [line for line in told.err.splitlines() if line.startswith("Error")] == [nothing]
    assert main(["record", str(runs / "trained")]) == 0
