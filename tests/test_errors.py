import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from torch.utils.data import DataLoader, Dataset

import mgmt_monai.errors
from mgmt_monai.errors import MgmtMonaiError, one_line


def raised(call: Callable[[], object]) -> Exception:
    """What the call raises, with its traceback."""
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


def raise_from(error: Exception, cause: Exception | None) -> None:
    raise error from cause


def bundle_run(tmp_path: Path, training: str) -> subprocess.CompletedProcess[str]:
    """`python -m monai.bundle run training` on a config whose job is one expression."""
    config_file = tmp_path / "tiny.json"
    config_file.write_text(
        json.dumps(
            {
                "imports": ["$import mgmt_monai", "$import mgmt_monai.errors"],
                "initialize": ["$mgmt_monai.errors.one_line_errors()"],
                "training": [training],
            }
        )
    )
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(config_file)]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)


class OneFault(Dataset):
    """A data set whose only item the user has to mend."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        try:
            raise MgmtMonaiError("patient 00009: slice missing")
        except MgmtMonaiError as error:
            raise RuntimeError("applying transform X") from error


@pytest.mark.slow
def test_no_control_character_of_a_bundle_run_reaches_the_terminal(tmp_path):
    say = "$__import__('logging').getLogger('a').warning(chr(27) + '[2J'), print(chr(7) + 'b')"
    done = bundle_run(tmp_path, say)
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert "<1b>[2J" in told and "<07>b" in told
    assert not {"\x1b", "\x07"} & set(told)


def test_one_line_own_error_below_monais_wrapper() -> None:
    error = raised(lambda: raise_from(RuntimeError("Failed to evaluate"), MgmtMonaiError("patient 00009:\n no T1w")))
    assert one_line(error) == "patient 00009: no T1w"


def test_one_line_own_error_sent_by_a_worker_process() -> None:
    error = raised(lambda: list(DataLoader(OneFault(), num_workers=1)))
    assert one_line(error) == "patient 00009: slice missing"


@pytest.mark.parametrize(
    "text",
    ["cannot open /data/torch_cohort/a.nii: none (really)", "/home/igloo/torch_1_2_3: no (x)", "in torch_1_2_3: (x)"],
)
def test_path_that_sounds_like_torchs_shared_memory_is_no_lost_process(text: str) -> None:
    assert one_line(RuntimeError(text)) is None


def test_one_line_unknown_error() -> None:
    assert one_line(raised(lambda: raise_from(RuntimeError("odd"), ValueError("odder")))) is None


def test_one_line_fault_while_an_own_error_was_handled() -> None:
    def handle_badly() -> None:
        try:
            raise MgmtMonaiError("patient 00009: no T1w")
        except MgmtMonaiError:
            [][0]

    assert one_line(raised(handle_badly)) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(OSError(errno.ENOSPC, "No space", "/a/b"), "/a/b could not .* disk is full", id="full disk"),
        pytest.param(OSError(errno.ENOSPC, "No space"), "a file could not .* disk is full", id="full, no name"),
        pytest.param(sqlite3.OperationalError("database or disk is full"), "disk is full", id="full database"),
        pytest.param(OSError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied", id="forbidden"),
        pytest.param(OSError(errno.EROFS, "Read-only", "/a/b"), "/a/b: Read-only", id="read-only disk"),
        pytest.param(OSError(errno.ENAMETOOLONG, "Long", "ab" * 99), "(ab){30}[.]{3}: .*[(]198 char", id="long path"),
    ],
)
def test_one_line_system_error(error: Exception, expected: str) -> None:
    assert re.match(expected if expected.startswith(("/", "a ")) else f".*{expected}", one_line(error) or "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full, a disk that is full")
@pytest.mark.parametrize("opened", [False, True], ids=["path", "open file"])
def test_one_line_checkpoint_on_full_disk(opened: bool) -> None:
    def save() -> None:
        if not opened:
            torch.save({"weight": torch.zeros(300_000)}, "/dev/full")
        else:
            with Path("/dev/full").open("wb") as file:
                torch.save({"weight": torch.zeros(300_000)}, file)

    assert re.match("(a checkpoint|a file) could not .* the disk is full", one_line(raised(save)) or "")


def mistyped_by_python() -> str:
    """Python's own words, which newer ones end with "Did you mean 'numerator'?"."""
    told = str(raised(lambda: Fraction(nominator=1)))
    assert "got an unexpected keyword argument 'nominator'" in told
    return told


@pytest.mark.parametrize(
    ("config", "key", "expected"),
    [
        pytest.param(
            {"loss": {"_target_": "DiceLoss", "softmax": "@a"}},
            "loss",
            "the config refers to @a, which it does not define",
            id="reference to nothing",
        ),
        pytest.param({}, "training", "the config has no key 'training'", id="no such key"),
        pytest.param(
            {"net": {"_target_": "mgmt_monai.errors.MgmtMonaiEror"}},
            "net",
            "config: Cannot locate class or function path: 'mgmt_monai.errors.MgmtMonaiEror'.",
            id="mistyped component",
        ),
        pytest.param(
            {"train": {"optimizer": {"_target_": "fractions.Fraction", "nominator": 1}}, "run": "$@train"},
            "run",
            f"config component 'fractions.Fraction': {mistyped_by_python()}",
            id="mistyped argument",
        ),
        pytest.param(
            {"rate": "$1 / 'a'"},
            "rate",
            "config expression \"$1 / 'a'\": TypeError: unsupported operand type(s) for /: 'int' and 'str'",
            id="wrong expression",
        ),
    ],
)
def test_one_line_config_mistake(config: dict, key: str, expected: str) -> None:
    error = raised(lambda: ConfigParser(config).get_parsed_content(key))
    assert one_line(error) == expected


def test_one_line_type_error_inside_a_component() -> None:
    parser = ConfigParser({"x": {"_target_": "fractions.Fraction", "numerator": []}})
    assert one_line(raised(lambda: parser.get_parsed_content("x"))) is None


def test_bundle_run_own_error_ends_in_one_line(tmp_path: Path) -> None:
    fault = "(_ for _ in ()).throw(mgmt_monai.errors.MgmtMonaiError('no data directory'))"
    done = bundle_run(tmp_path, f"${fault}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("\nError: no data directory\n")


@pytest.mark.slow
def test_bundle_run_unknown_error_keeps_its_traceback(tmp_path: Path) -> None:
    done = bundle_run(tmp_path, "$__import__('json').loads('')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "JSONDecodeError" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal on POSIX only")
@pytest.mark.slow
def test_one_line_errors_ctrl_c(tmp_path: Path) -> None:
    done = bundle_run(tmp_path, "$(_ for _ in ()).throw(KeyboardInterrupt())")
    assert done.stderr.endswith("\nInterrupted.\n") and "Traceback" not in done.stderr
    assert done.returncode in (130, -2)  # what a shell, and what a parent process sees of it


def test_errors_import_nothing_heavy() -> None:
    code = f"import sys; import {mgmt_monai.errors.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
