import errno
import logging
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from faulty_storage import faulty, needs_compiler
from tqdm import tqdm

from mgmt_monai import __version__
from mgmt_monai.cli.main import COMMANDS, main
from mgmt_monai.errors import MgmtMonaiError

HEAVY = {"torch", "monai", "mlflow", "SimpleITK", "matplotlib", "sklearn", "scipy", "pandas"}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Makes `mgmt-monai fake` do what the test hands it."""

    def install(body: Callable[[], object]) -> None:
        module = ModuleType("mgmt_monai.cli.fake")
        module.command = click.command("fake")(body)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(COMMANDS, "fake", "Does what a test wants.")

    return install


def raising(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


def imported_by(*args: str) -> set[str]:
    """The top-level modules in memory after `mgmt-monai` ran with these words in a process of its own."""
    code = (
        "import sys; from mgmt_monai.cli.main import main; code = main(sys.argv[1:]); "
        "print('modules', *{name.split('.')[0] for name in sys.modules}); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


STEERING = "a\x1b]2;b\x07\x9b\u202ec\x00"
SHOWN = "a<1b>]2;b<07><9b><202e>c<00>"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda: click.echo(STEERING), id="line"),
        pytest.param(lambda: click.echo(STEERING, err=True), id="line on stderr"),
        pytest.param(lambda: sys.stdout.writelines([STEERING]), id="stream"),
        pytest.param(lambda: logging.getLogger("a").warning("%s", STEERING), id="log"),
        pytest.param(lambda: list(tqdm([1], desc=STEERING)), id="bar"),
        pytest.param(raising(MgmtMonaiError(STEERING)), id="error"),
        pytest.param(raising(click.ClickException(STEERING)), id="click's error"),
        pytest.param(raising(click.UsageError(STEERING)), id="wrong usage"),
    ],
)
def test_no_control_character_reaches_the_terminal(
    command: Callable[[Callable[[], object]], None], capfd: pytest.CaptureFixture[str], body: Callable[[], object]
) -> None:
    command(body)
    before = sys.stdout, sys.stderr, logging.getLogRecordFactory()
    logging.basicConfig(level="INFO", force=True)
    main(["fake"])
    told = "".join(capfd.readouterr())
    assert SHOWN in told
    assert not re.search("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202e]", told)
    assert before == (sys.stdout, sys.stderr, logging.getLogRecordFactory())


def test_main_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, short_help in COMMANDS.items():
        assert f"{name} {short_help}" in shown


def test_main_help_imports_nothing_heavy() -> None:
    modules = imported_by("--help")
    assert "mgmt_monai" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_imports_nothing_heavy(name: str) -> None:
    assert not imported_by(name, "--help") & HEAVY


def test_main_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mgmt-monai {__version__}\n"


@pytest.mark.parametrize("args", [["trane"], ["--fast"], ["fake", "--fast"]], ids=["command", "option", "its option"])
def test_main_wrong_usage(args: list[str], command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(lambda: None)
    assert main(args) == 2
    assert args[-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MgmtMonaiError("patient 00009: no T1w\nin data/x"), "patient 00009: no T1w in data/x"),
        (OSError(errno.ENOSPC, "No space", "x.csv"), "x.csv could not be written: the disk is full; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied; choose another path"),
    ],
    ids=["own", "full disk", "forbidden path"],
)
def test_main_error_the_user_can_mend(
    error: Exception, expected: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(error))
    assert main(["fake"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {expected}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", [click.UsageError, click.ClickException, MgmtMonaiError, OSError])
@pytest.mark.parametrize("text", ["x" * 9000, "x " * 4500], ids=["word", "words"])
def test_main_tells_no_text_of_thousands_of_letters_whole(
    kind: type[Exception], text: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(errno.EACCES, "Permission denied", text) if kind is OSError else kind(text)
    command(raising(error))
    assert main(["fake"]) in (1, 2)
    assert len(capsys.readouterr().err) < 2200


def test_main_unknown_error_is_raised(command: Callable[..., None]) -> None:
    command(raising(ZeroDivisionError("odd")))
    with pytest.raises(ZeroDivisionError, match="odd"):
        main(["fake"])


def test_main_ctrl_c(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(KeyboardInterrupt()))
    assert main(["fake"]) == 130
    assert capsys.readouterr().err.split() == ["Interrupted."]


def test_main_ctrl_c_is_told_when_what_was_interrupted_has_ended_its_line(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def steps() -> Iterator[int]:
        try:
            yield 1
        finally:
            click.echo("10%", err=True)

    def interrupted() -> None:
        under_way = steps()
        for _ in under_way:
            raise KeyboardInterrupt

    command(interrupted)
    assert main(["fake"]) == 130
    assert capsys.readouterr().err.split() == ["10%", "Interrupted."]


@pytest.mark.parametrize("code", [0, 1])
def test_main_command_sets_the_exit_code(code: int, command: Callable[..., None]) -> None:
    command(lambda: code)
    assert main(["fake"]) == code


def test_main_reader_that_went_away() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mgmt_monai.cli.main", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


def ran_with_libraries(environment: dict[str, str]) -> str:
    """The error of a command in a process of its own."""
    words = [sys.executable, "-m", "mgmt_monai.cli.main", "evaluate", "no.csv"]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr


@needs_compiler
@pytest.mark.parametrize("call", ["open", "read"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_library_that_the_storage_does_not_give_is_told_in_one_line(call: str, number: int) -> None:
    told = ran_with_libraries(faulty(call, number, "numpy/linalg"))
    assert re.match(rf"Error: /\S+/numpy/linalg/__init__\S+: {os.strerror(number)}; this file of Python's envir", told)


@needs_compiler
@pytest.mark.parametrize("package", ["numpy", "numpy/linalg", "pandas"])
def test_library_whose_folder_may_not_be_listed_is_told_in_one_line(package: str) -> None:
    told = ran_with_libraries(faulty("list", errno.EACCES, f"site-packages/{package}"))
    assert re.match(rf"Error: /\S+/{package}: {os.strerror(errno.EACCES)}; this file of Python's envir", told)


def test_library_that_breaks_off_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text("from numpy import core")
    library = tmp_path / f"numpy/core{sysconfig.get_config_var('EXT_SUFFIX')}"
    library.write_bytes(b"\x7fELF")
    told = ran_with_libraries({**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
    assert told.startswith(f"Error: {library}: file too short; this file of Python's environment cannot be read")
