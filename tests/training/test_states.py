"""A training's folder in each state it can be left in, and what each command does with it: the table of the page."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.exchange.run_source import open_source
from mgmt_monai.tracking import tracking_uri
from mgmt_monai.training.record import record
from mgmt_monai.training.run_directory import RunDirectory, run_in

PAGE = Path(__file__).parents[2] / "docs/how-to/resume.md"
CONFIG = {"experiment_name": "mgmt", "modality": "T1w", "control": "none", "backbone": "resnet-10"}
ROWS = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in
        re.findall(r"^  \|.*\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)]  # fmt: skip
TABLE = {row[0]: dict(zip(ROWS[0][1:], row[1:], strict=True)) for row in ROWS[2:]}


def stopped(output_dir: Path, status: str = "running") -> Path:
    directory = RunDirectory(output_dir, "T1w", "a", resume=False)
    directory.claim(CONFIG)
    directory.open("hash")
    for stage in ("transfer", "fine_tune"):
        (directory.path / stage).mkdir()
        torch.save({"weight": torch.arange(1000.0)}, directory.path / stage / "best.pt")
        torch.save({"network": {"weight": torch.arange(1000.0)}}, directory.path / stage / "last.pt")
    directory.write_json("metrics.json", {"fine_tune": {}})
    directory.write_json("mlflow.json", {"the settings": {"kind": "params", "value": {"seed": "0"}, "told": None}})
    directory.update(status=status)
    directory.close()
    return directory.path


def begun(output_dir: Path) -> None:
    (output_dir / "t1w" / "a").mkdir(parents=True)
    (output_dir / "t1w" / "a" / "config.json").touch()


def in_use(output_dir: Path) -> RunDirectory:
    stopped(output_dir, "running")
    held = RunDirectory(output_dir, "T1w", "a", resume=True)
    held.claim(CONFIG)
    return held


def damaged(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda output_dir: (stopped(output_dir) / name).write_bytes(content)


def changed(name: str, change: Callable[[bytearray], object], status: str = "running") -> Callable[[Path], object]:
    def make(output_dir: Path) -> None:
        path = stopped(output_dir, status) / name
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return make


def flip(content: bytearray) -> None:
    content[content.index(torch.arange(1000.0).numpy().tobytes()) + 2000] ^= 1


def cut(content: bytearray) -> None:
    del content[len(content) // 2 :]


STATES: dict[str, list[Callable[[Path], object]]] = {
    "stopped while it began": [begun],
    "in use": [in_use],
    "`running`, but killed; `killed`; `failed`": [
        lambda output_dir, status=status: stopped(output_dir, status) for status in ("running", "killed", "failed")
    ],
    "`finished`": [lambda output_dir: stopped(output_dir, "finished")],
    "`diverged`": [lambda output_dir: stopped(output_dir, "diverged")],
    "`run.json`, `config.json` or `mlflow.json` damaged": [
        *(damaged("run.json", content) for content in (b"", b"{}", b"\0\0", b'{"status": 1}', b'{"status": "killed"}')),
        *(damaged("config.json", content) for content in (b"", b"garbage", b"[]", b"\xff\xfe")),
        *(damaged("mlflow.json", content) for content in (b"", b"[1]", b'{"a": {}}')),
    ],
    "a checkpoint damaged": [
        *(changed(f"{stage}/{name}.pt", change) for stage, name, change in (
            ("transfer", "last", flip), ("fine_tune", "last", cut), ("transfer", "best", flip))),
        changed("fine_tune/best.pt", flip, "failed"),
        damaged("fine_tune/last.pt", b""),
    ],
}  # fmt: skip

CASES = [
    pytest.param(state, make, command, id=f"{state.replace('`', '')}-{i}-{command.strip('`')}")
    for state, ways in STATES.items()
    for i, make in enumerate(ways)
    for command in ROWS[0][1:]
]


def done(command: str, output_dir: Path, made_store: Path) -> str:
    """What a command does, in the words of the table; an error that is not told in one line passes."""
    folder = output_dir / "t1w" / "a"
    if command == "`record`":
        shutil.copy(made_store, output_dir / "mlruns.db")
        record(folder, tracking_uri(output_dir), output_dir)
        return "records"
    if command == "`export`":
        with open_source(folder, "", output_dir):
            return "exports"
    directory = RunDirectory(output_dir, "T1w", "a", resume=command == "`--resume true`")
    try:
        directory.claim(CONFIG)
        outcome = "resumes" if directory.resumes else "begins"  # before `open`: whoever opens it again goes on with it
        directory.open("hash")
        return outcome
    finally:
        directory.close()


def test_page_has_every_state() -> None:
    assert list(TABLE) == list(STATES)


@pytest.mark.parametrize(("state", "make", "command"), CASES)
def test_command_does_with_a_folder_what_the_page_says(
    state: str,
    make: Callable[[Path], object],
    command: str,
    tmp_path_factory: pytest.TempPathFactory,
    made_store: Path,
) -> None:
    folder = tmp_path_factory.mktemp("state")  # never the name of a deleted one: MLflow keeps the stores it has opened
    held = make(folder)
    outcome = "refused"
    with suppress(MgmtMonaiError):
        outcome = done(command, folder, made_store)
    if isinstance(held, RunDirectory):
        held.close()
    assert outcome == TABLE[state][command]


@pytest.mark.parametrize("change", [flip, cut])
def test_damaged_checkpoint_is_named_with_what_to_do(change: Callable[[bytearray], object], tmp_path: Path) -> None:
    changed("transfer/last.pt", change)(tmp_path)
    resumed = RunDirectory(tmp_path, "T1w", "a", resume=True)
    with pytest.raises(MgmtMonaiError, match=r"transfer/last\.pt: expected a checkpoint, .* Delete .*/transfer: with"):
        resumed.claim(CONFIG)
    shutil.rmtree(tmp_path / "t1w" / "a" / "transfer")
    again = RunDirectory(tmp_path, "T1w", "a", resume=True)  # what held it before has let go of it
    again.claim(CONFIG)
    again.close()


def test_damaged_state_names_its_file_and_what_to_do(tmp_path: Path) -> None:
    path = stopped(tmp_path)
    (path / "run.json").write_text(json.dumps({"status": "killed"}))
    with pytest.raises(MgmtMonaiError) as error:
        run_in(path).state  # noqa: B018
    assert str(error.value) == (
        f"{path}/run.json: expected the state of a training, found one without mlflow_run_id, manifest_hash, "
        f"described. Put the file back from a copy, or move {path} away and start again."
    )
