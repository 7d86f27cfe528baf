"""The table of docs/how-to/cluster.md: every fault of the storage with every command, made for real."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_storage import faulty, needs_compiler
from made_cohorts import write_cohort
from phantom_runs import SMALL

from mgmt_monai.cli.main import main

PAGE = Path(__file__).parents[1] / "docs/how-to/cluster.md"
TINY = {**SMALL, "image_size": 32, "transfer_epochs": 1, "fine_tune_epochs": 1}
QUICK = ("doctor", "manifest build")
SLOW = ("train", "store", "predict", "batch", "export")

Words = Callable[[Path], list[str]]


def faults() -> list[tuple[str, int, str]]:
    """Of the page's table: call, errno and what is said."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "E" in line[:12]]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [
        ("write" if names.startswith("writing") else "read", getattr(errno, name), said)
        for names, said in rows
        for name in names.removeprefix("writing: ").split(", ")
        if name not in ("EAGAIN", "others")  # EAGAIN is what a new process gets: no storage answers so to a read
    ]


def drawn(commands: tuple[str, ...], n: int, seed: int) -> list[pytest.param]:
    """Cases, of which all but the first two are slow, and all where a command trains."""
    every = [(command, *fault) for command in commands for fault in faults()]
    chosen = random.Random(seed).sample(every, min(n, len(every)))
    return [
        pytest.param(*one, id=f"{one[0]} {one[1]} {errno.errorcode[one[2]]}", marks=[pytest.mark.slow] * (k > 1))
        for k, one in enumerate(chosen)
    ]


def told(words: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mgmt_monai.cli.main", *words],
        env={**(environment or os.environ), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def check_said(line: str, number: int, said: str, out: Path) -> None:
    assert os.strerror(number) in line or "the disk is full" in line
    words = re.findall(r"[a-z]{5,}", line.partition(str(out))[2] or line)
    assert set(re.findall(r"[a-z]{5,}", said)) & set(words), line


@needs_compiler
@pytest.mark.parametrize(("command", "call", "number", "said"), drawn(QUICK, 8, seed=1))
def test_quick_command_on_a_healthy_machine_afterwards_is_as_if_nothing_had_been(
    make_dicom, tmp_path, command, call, number, said
):
    data_dir, flag, out = write_cohort(tmp_path / "data", make_dicom), tmp_path / "faulty", tmp_path / "out"
    name = "report.json" if command == "doctor" else "manifest.json"
    out.mkdir()
    place = out if command == "doctor" else out / name
    words = [*command.split(), str(data_dir), "--workers", "1", "--out", str(place)]
    flag.touch()
    ran = told(words, faulty(call, number, "train/00002/T1w" if call == "read" else str(out), flag))
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
    assert ran.returncode == 1
    check_said(line, number, said, out)
    assert list(out.iterdir()) == []
    flag.unlink()
    assert main(words) == 0
    (data_dir / ".mgmt-monai-scan.sqlite").unlink()
    again = (out / name).read_bytes()
    (out / name).unlink()
    assert main(words) == 0
    assert (out / name).read_bytes() == again


@needs_compiler
@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE])
@pytest.mark.parametrize("call", ["list", "stat"])
@pytest.mark.parametrize("command", ["doctor", "manifest build"])
def test_folder_that_the_storage_does_not_give_is_told_in_one_line(make_dicom, tmp_path, command, call, number):
    data_dir, out = write_cohort(tmp_path / "data", make_dicom), tmp_path / "out"
    out.mkdir()
    place = str(out) if command == "doctor" else str(out / "manifest.json")
    ran = told([*command.split(), str(data_dir), "--out", place], faulty(call, number, "train/00002"))
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
    assert ran.returncode == 1
    assert f"train/00002: {os.strerror(number)}; the machine is at fault" in line
    assert not list(out.iterdir())


def answer(path: Path) -> object:
    """What a result says, whenever it was made."""
    document = json.loads(path.read_text())
    del document["created"]
    return document


@pytest.fixture(scope="module")
def slow_commands(
    phantom_dir: Path, finished_run: Path, exported_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Words, str, Callable[[Path], object]]]:
    """By name: the words for an output folder, what the paths hold that are read, and what came out."""
    manifest = tmp_path_factory.mktemp("made") / "manifest.json"
    fractions = ("--test-fraction", "0.25", "--train-fraction", "0.67")
    assert main(["manifest", "build", str(phantom_dir), "--out", str(manifest), *fractions]) == 0
    options = [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    data = ["--dataset_dir", str(phantom_dir), "--manifest", str(manifest)]
    patient = sorted((phantom_dir / "train").iterdir())[5]

    def train(store: str) -> Words:
        return lambda out: ["train", "t1w", *options, *data, "--output_dir", str(out),
                            "--slice_store", store and str(out / store)]  # fmt: skip

    def rows(out: Path) -> object:
        (table,) = (path for path in out.glob("t1w/*/predictions.csv"))
        return table.read_bytes()

    asked = ["--bundle", str(exported_bundle), "--engine", "pytorch"]
    return {
        "train": (train(""), f"{patient.name}/T1w", rows),
        "store": (train("store"), f"{patient.name}/T1w", lambda out: (rows(out), stored(out / "store"))),
        "predict": (
            lambda out: ["predict", str(patient), *asked, "--out", str(out / "one")],
            f"{patient.name}/T1w",
            lambda out: [answer(path) for path in out.glob("one/*/prediction.json")],
        ),
        "batch": (
            lambda out: ["predict", str(phantom_dir), "--batch", *asked, "--out", str(out / "many")],
            f"{patient.name}/T1w",
            lambda out: (out / "many/predictions.csv").read_bytes(),
        ),
        "export": (
            lambda out: ["bundle", "export", str(finished_run), "--out", str(out / "models")],
            "fine_tune/best.pt",
            lambda out: {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()},
        ),
    }


def stored(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("slices.bin"))]


@pytest.fixture(scope="module")
def undisturbed(slow_commands, tmp_path_factory) -> Callable[[str], object]:
    """What each command gives on a healthy machine."""
    kept: dict[str, object] = {}

    def get(command: str) -> object:
        if command not in kept:
            out = tmp_path_factory.mktemp("undisturbed")
            words, _, came_out = slow_commands[command]
            assert told(words(out)).returncode == 0
            kept[command] = came_out(out)
        return kept[command]

    return get


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("command", "call", "number", "said"), drawn(SLOW, 24, seed=2))
def test_command_on_a_healthy_machine_afterwards_is_as_if_nothing_had_been(
    slow_commands, undisturbed, tmp_path, command, call, number, said
):
    words, read, came_out = slow_commands[command]
    out, flag = tmp_path / "out", tmp_path / "faulty"
    out.mkdir()
    flag.touch()
    ran = told(words(out), faulty(call, number, read if call == "read" else str(out), flag))
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    if command == "batch" and call == "read":
        with (out / "many/predictions.csv").open(newline="") as stream:
            (line,) = [row["error"] for row in csv.DictReader(stream) if row["error"]]
    else:
        (line,) = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
    check_said(line, number, said, out)
    flag.unlink()
    ran = told(words(out))
    assert ran.returncode == 0, ran.stderr
    assert came_out(out) == undisturbed(command)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("command", SLOW)
@pytest.mark.parametrize(("call", "number"), [("lock", errno.ENOLCK), ("lock", errno.ENOSYS), ("fsync", errno.EINVAL)])
def test_storage_without_locks_or_fsync_gives_the_same(slow_commands, undisturbed, tmp_path, command, call, number):
    words, _, came_out = slow_commands[command]
    ran = told(words(tmp_path), faulty(call, number, str(tmp_path)))
    assert ran.returncode == 0, ran.stderr
    assert came_out(tmp_path) == undisturbed(command)
