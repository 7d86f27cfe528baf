"""What the tests notice: a seeded sample of small faults in each named room, one at a time (``make mutation``).

The faults are Cosmic Ray's (https://cosmic-ray.readthedocs.io), and "return None", which it has not. Its own runner
takes one test command for all modules and starts PyTorch and MONAI anew for each fault, minutes where seconds do;
mutmut 3 changes functions alone, and leaves constants and class bodies as they are. So the running is done here: in a
copy of the tree, each fault in a fork of a process that has imported the libraries, by its room's tests, the module's
own first.
"""

from __future__ import annotations

import argparse
import ast
import csv
import gc
import hashlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import parso
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

ROOMS = ("evaluation", "cohort/splits", "cohort/layouts", "transforms")
LEAST = 0.9
"""Of the faults that are not equivalent."""

EQUIVALENT = Path(__file__).with_name("mutation_equivalent.csv")
#: Modules whose own tests lie in another room.
TESTED_BY = dict.fromkeys(("evaluation_folder", "model_pictures"), "../cli/test_cli_evaluate.py")
#: The same program in CPython (small numbers and interned texts are one object), or settings that need an argument.
NO_FAULT = re.compile("(Eq_Is|NotEq_IsNot|Is_Eq|IsNot_NotEq)$|^Variable|^NoOp")
#: What takes long to import, and nothing of this package.
LIBRARIES = (
    "highdicom", "ignite.engine", "matplotlib.pyplot", "mlflow", "monai.bundle", "monai.transforms", "nibabel",
    "pandas", "pydicom", "pytest", "scipy.stats", "SimpleITK", "sklearn.metrics", "statsmodels.api", "torch",
)  # fmt: skip
_LONGEST_S = 900
"""For the tests of one module, without a fault."""


class ReturnNone(Operator):
    """A function gives back nothing."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Where a value is returned."""
        if node.type == "return_stmt" and node.children[1].get_code().strip() != "None":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The statement with None for its value."""
        node.children[1] = parso.python.tree.Keyword("None", node.children[1].start_pos, prefix=" ")
        return node

    @classmethod
    def examples(cls) -> Iterable[Any]:
        """None: Cosmic Ray's own test of operators does not see this one."""
        return ()


@dataclass(frozen=True)
class Mutant:
    """One fault: in which module (below the package), in which line, what the line becomes, and the whole text."""

    module: str
    line: int
    before: str
    after: str
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is told by; without the line's number, which moves."""
        return self.module, self.before, self.after


def sample(package: Path, room: str, n: int, seed: int) -> list[Mutant]:
    """Places drawn evenly from all of a room, one fault for each.

    Args:
        package: The package's folder.
        room: Below it, such as ``cohort/splits``.
        n: How many, where there are as many.
        seed: Of the draw.
    """
    operators = {name: OperatorProvider()[name] for name in OperatorProvider() if not NO_FAULT.search(name)}
    operators["ReturnNone"] = ReturnNone
    ranked: list[tuple[bytes, Path, list[tuple[Operator, int]]]] = []
    for path in sorted((package / room).glob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines, nodes = text.splitlines(), list(_nodes(parso.parse(text)))
        places: dict[Any, list[tuple[Operator, int]]] = {}
        for operator in (operators[name]() for name in sorted(operators)):
            positions = (position for node in nodes for position in operator.mutation_positions(node))
            for occurrence, position in enumerate(positions):
                places.setdefault(position, []).append((operator, occurrence))
        for (start, stop), faults in places.items():
            # By the line's text rather than its number: what changes elsewhere leaves the draw as it is.
            name = f"{seed} {path.relative_to(package)} {lines[start[0] - 1]} {start[1]} {stop[1]}"
            ranked.append((hashlib.sha256(name.encode()).digest(), path, faults))
    drawn: list[Mutant] = []
    for digest, path, faults in sorted(ranked, key=lambda place: place[0]):
        made = _mutant(package, path, *random.Random(digest).choice(faults)) if len(drawn) < n else None
        drawn += [made] if made is not None else []
    return sorted(drawn, key=lambda mutant: (mutant.module, mutant.line, mutant.after))


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)


def _mutant(package: Path, path: Path, operator: Operator, occurrence: int) -> Mutant | None:
    """None where it is no program, or the same one."""
    text = path.read_text(encoding="utf-8")
    mutated = mutate_code(text, operator, occurrence)
    try:
        if mutated is None or _meaning(mutated) == _meaning(text):
            return None
    except SyntaxError:
        return None
    old, new = text.splitlines(), mutated.splitlines()
    index = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b and a.strip()), len(new) - 1)
    after = " ".join(new[index].split()) if len(new) == len(old) else "(left out)"
    return Mutant(path.relative_to(package).as_posix(), index + 1, " ".join(old[index].split()), after, mutated)


def _meaning(text: str) -> str:
    """A module's syntax without annotations, which nobody evaluates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
        compile(text, "module", "exec")
    for node in ast.walk(tree):
        if isinstance(node, (ast.arg, ast.AnnAssign)):
            node.annotation = ast.Constant(None)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
    return ast.dump(tree)


def tests_of(tree: Path, module: str) -> list[str]:
    """A module's own examples, the mirrored tests, and the others of its room, as pytest takes them."""
    path = Path(module)
    folder = tree / "tests" / path.parent
    own = [*folder.glob(f"test_{path.stem}.py"), *sorted(folder.glob(f"test_{path.stem}_*.py"))]
    if not own and path.stem in TESTED_BY:
        own = [folder / TESTED_BY[path.stem]]
    return [str(one) for one in dict.fromkeys((tree / "mgmt_monai" / path, *own, *sorted(folder.glob("test_*.py"))))]


def run_tests(tree: Path, module: str, timeout_s: float, writes_bytecode: bool = False) -> str:
    """``passed``, ``failed`` or ``hung``, in a fork that is killed with all that it started.

    Args:
        tree: The copy of the repository.
        module: Below the package.
        timeout_s: For its tests, in seconds.
        writes_bytecode: Keep what is compiled; never of a fault.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        gc.freeze()  # else every collection goes through, and so copies, all that the libraries hold
        os.chdir(tree)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        sys.path[:0] = [str(tree)]
        sys.dont_write_bytecode = not writes_bytecode
        os.environ["PYTHONDONTWRITEBYTECODE"] = "" if writes_bytecode else "1"
        import pytest

        # Its faulthandler would wait for ever for a watching thread of the parent's, which a fork has not.
        words = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
        words += ["-o", "faulthandler_timeout=0", "--rootdir", str(tree)]
        os._exit(int(pytest.main([*words, *tests_of(tree, module)])))
    deadline = time.monotonic() + timeout_s
    status = None
    while status is None and time.monotonic() < deadline:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = code if ended else time.sleep(0.02)
    with suppress(ProcessLookupError):  # nothing is left of it
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
        return "hung"
    return "passed" if status == 0 else "failed"


def judged(tree: Path, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, and whether its room's tests notice it.

    Args:
        tree: A copy of the repository; it is as before when this ends.
        mutants: From `sample` of the same tree.

    Yields:
        In the order given. Tests that take much longer than without the fault have noticed it.
    """
    whole: dict[str, float] = {}
    for mutant in mutants:
        path = tree / "mgmt_monai" / mutant.module
        if mutant.module not in whole:
            begun = time.monotonic()
            if run_tests(tree, mutant.module, _LONGEST_S, writes_bytecode=True) != "passed":
                sys.exit(f"its tests fail without any fault: {' '.join(tests_of(tree, mutant.module))}")
            whole[mutant.module] = time.monotonic() - begun
        text, status = path.read_text(encoding="utf-8"), path.stat()
        path.write_text(mutant.text, encoding="utf-8")
        try:
            yield mutant, run_tests(tree, mutant.module, 30 + 5 * whole[mutant.module]) != "passed"
        finally:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # what was compiled of it still holds


def copied_tree(root: Path, into: Path) -> Path:
    """The repository's working tree, with what its tests look for beside it."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "_build", "runs", "mlruns*", "*.egg-info", "build", "dist")
    tree = Path(shutil.copytree(root, into / "tree", ignore=lambda at, names: left_out(at, names)))
    (into / "shared").symlink_to(root.resolve().parent / "shared")
    return tree


def main() -> None:
    """Print the table and the survivors; exit code 1 where more than a tenth of a room's faults survive."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("rooms", nargs="*", default=ROOMS, help="below the package [evaluation, splits, ...]")
    parser.add_argument("--sample", type=int, default=100, help="faults a room [100]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="of these the modules whose path holds this")
    options = parser.parse_args()
    with EQUIVALENT.open(encoding="utf-8") as stream:
        equivalent = {(row["module"], row["before"], row["after"]) for row in csv.DictReader(stream)}
    for library in LIBRARIES:
        import_module(library)
    table, least = (
        ["| room | faults | noticed | survived | equivalent | noticed, of the others |", "|---|" + 5 * "---|"],
        1.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        tree = copied_tree(Path(__file__).parents[1], Path(folder))
        os.environ |= {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
        for room in options.rooms:
            drawn = sample(tree / "mgmt_monai", room, options.sample, options.seed)
            drawn = [mutant for mutant in drawn if options.only in mutant.module]
            faults = [mutant for mutant in drawn if mutant.key not in equivalent]
            n_noticed = 0
            for mutant, noticed in judged(tree, faults):
                n_noticed += noticed
                if not noticed:
                    click.echo(f"mgmt_monai/{mutant.module}:{mutant.line}: {mutant.before}  ->  {mutant.after}")
            share = n_noticed / max(1, len(faults))
            least = min(least, share)
            counts = (len(drawn), n_noticed, len(faults) - n_noticed, len(drawn) - len(faults))
            table.append(f"| {room} | {' | '.join(map(str, counts))} | {100 * share:.0f} % |")
            click.echo(table[-1])
    click.echo("\n".join([f"\nSeed {options.seed}, {datetime.now(UTC):%Y-%m-%d}:\n", *table]))
    sys.exit(int(least < LEAST))


if __name__ == "__main__":
    main()
