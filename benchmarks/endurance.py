"""Commands that are killed, interrupted, started twice and run on small disks, at moments drawn by a seed.

Each command is run undisturbed twice; what both wrote alike is what every disturbed run must have at its end, when the
same command has been given again (a training with ``--resume true`` where its folder is there, as the page says).
A fault is a traceback, an error that is not one line, another exit code than 0, 1, 130, 143 or the signal's, or a file
that differs then.

    python benchmarks/endurance.py --seed 0 --moments 20 --trials trials.jsonl

Every trial is a line of that file; what stands there is not tried again, so that hours of it can be done in parts.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "mgmt_monai.cli.main"]
SETTINGS = {
    "device": "cpu",
    "image_size": 32,
    "transfer_epochs": 1,
    "fine_tune_epochs": 1,
    "transfer_batch_size": 16,
    "fine_tune_batch_size": 16,
    "transfer_least_steps": 0,
    "bootstrap_resamples": 50,
    "test_fraction": 0.25,
    "train_fraction": 0.67,
}
SMALL = [word for key, value in SETTINGS.items() for word in (f"--{key}", str(value))]

#: Of the moments, this many lie in the first three seconds.
EARLY, EARLY_S = 0.4, 3.0
SIGNALS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
ENDS = {0, 1, 130, 143, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}
LONGEST_S = 1800


@dataclass(frozen=True)
class Subject:
    """A command that writes a folder.

    Args:
        words: The command, given the folder that it may write to.
        compared: Which of its files are compared, below that folder; "" for all.
    """

    words: Callable[[Path], list[str]]
    compared: str = ""


def subjects(made: Path) -> dict[str, Subject]:
    """The commands, on what `prepare` has made."""

    def training(folder: Path) -> list[str]:
        options = {"backbone": "resnet-10", "weights": "none", "dataset_dir": made / "data"}
        options |= {"output_dir": folder / "runs", "run_name": "a", "resume": (folder / "runs/t1w/a").is_dir()}
        return ["train", "t1w", *SMALL, *(word for key, value in options.items() for word in (f"--{key}", str(value)))]

    def store(folder: Path) -> list[str]:
        return [*training(folder), "--slice_store", str(folder / "store")]

    def sweep(folder: Path) -> list[str]:
        return ["compare", "--networks", "resnet-10", "--modalities", "T1w", "--name", "c", "--workers", "1",
                "--bundles", str(ROOT / "bundles"), *SMALL, "--dataset_dir", str(made / "data"),
                "--output_dir", str(folder / "runs")]  # fmt: skip

    def data(folder: Path) -> Path:
        """The cohort where the command may write beside it."""
        if not (folder / "data").exists():
            (folder / "data").mkdir(parents=True)
            for path in (made / "data").iterdir():
                if not path.name.startswith(".") and path.name != "manifest.json":
                    (folder / "data" / path.name).symlink_to(path)
        return folder / "data"

    bundle = str(made / "models/mgmt_t1w")
    return {
        "training": Subject(training, "runs/t1w/a"),
        "sweep": Subject(sweep, "runs/comparisons/c"),
        "export": Subject(lambda folder: ["bundle", "export", str(made / "runs/t1w/a"), "--out", str(folder / "models"),
                                          "--zip"]),
        "doctor": Subject(lambda folder: ["doctor", str(data(folder)), "--out", str(folder / "report")]),
        "manifest": Subject(lambda folder: ["manifest", "build", str(data(folder)), "--out",
                                            str(folder / "manifest.json")]),
        "store": Subject(store, "store"),
        "predict": Subject(lambda folder: ["predict", str(made / "studies"), "--batch", "--bundle", bundle,
                                           "--out", str(folder / "predicted")]),
    }  # fmt: skip


def prepare(made: Path) -> None:
    """A made cohort, a training on it, its bundle, and studies."""
    run(["phantom", str(made / "data"), "--patients", "16"], made / "log", check=True)
    training = subjects(made)["training"].words(made)
    run(training, made / "log", check=True)
    run(["bundle", "export", str(made / "runs/t1w/a"), "--out", str(made / "models")], made / "log", check=True)
    for patient in sorted((made / "data/train").iterdir())[:4]:
        shutil.copytree(patient, made / "studies" / patient.name)


def start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A command whose output is added to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "1000"}
    with log.open("ab") as stream:
        return subprocess.Popen(
            [*COMMAND, *words], stdout=stream, stderr=stream, env=environment, cwd=log.parent, start_new_session=True
        )


def run(words: list[str], log: Path, check: bool = False) -> int:
    """The exit code of a command."""
    process = start(words, log)
    try:
        code = process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    if check and code != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {code}\n{log.read_text(errors='replace')[-3000:]}")
    return code


def digests(subject: Subject, folder: Path) -> dict[str, str]:
    """What a command left, by path; temporary files and the states of a store are not told by their bytes."""
    found = {}
    for path in sorted((folder / subject.compared).rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and "__pycache__" not in name and not name.startswith("data/"):
            told = (
                repr(_plain(torch.load(path, weights_only=True))).encode()
                if path.suffix == ".pt"
                else path.read_bytes()
            )
            found[name] = hashlib.sha256(told).hexdigest()
    return found


def _plain(state: Any) -> Any:
    """A checkpoint's content: the bytes of its file also tell which of its texts were one object in memory."""
    if isinstance(state, dict):
        return [(key, _plain(value)) for key, value in state.items()]
    if isinstance(state, list | tuple):
        return [_plain(value) for value in state]
    return state.numpy().tobytes() if isinstance(state, torch.Tensor) else state


def left_over(folder: Path) -> list[str]:
    """Temporary files."""
    return [path.name for path in folder.rglob(".*") if len(path.name.rpartition(".")[2].split("-")[0]) == 32]


def unrecorded(folder: Path) -> list[str]:
    """Runs that MLflow does not have as finished."""
    path = folder / "runs" / "mlruns.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as store:
        return [f"{name} is {status} in MLflow" for name, status in store.execute("SELECT name, status FROM runs")
                if status != "FINISHED"]  # fmt: skip


def faults_of(code: int, log: Path) -> list[str]:
    """What a user should not meet, of a command that was disturbed."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    faults = [] if code in ENDS else [f"exit code {code}"]
    if "Traceback (most recent call last)" in text:
        faults.append("traceback: " + text.strip().splitlines()[-1][:200])
    if code == 1 and not [line for line in text.splitlines() if line.startswith("Error: ")]:
        faults.append("exit code 1 without a line of why")
    return faults


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[Callable[[], None]]:
    """A disk of a few MB at a folder; what is yielded makes it large."""
    folder.mkdir(parents=True)
    size = f"size={int(megabytes * 1024)}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=4g", str(folder)], check=True)  # type: ignore[func-returns-value]
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def disturbed(subject: Subject, how: str, chance: random.Random, folder: Path, lasts_s: float) -> list[str]:
    """Run a command, disturb it in one way, and see what was left and said."""
    log = folder.with_name(f"{folder.name}.log")
    if how in SIGNALS:
        moment = chance.uniform(0, EARLY_S if chance.random() < EARLY else lasts_s)
        process = start(subject.words(folder), log)
        time.sleep(moment)
        os.killpg(process.pid, SIGNALS[how]) if SIGNALS[how] == signal.SIGKILL else process.send_signal(SIGNALS[how])
        faults = [f"at {moment:.1f} s: {fault}" for fault in faults_of(process.wait(LONGEST_S), log)]
    else:
        words = subject.words(folder)
        processes = [start(words, log.with_suffix(f".{i}.log")) for i in range(int(how.split()[0]))]
        faults = [fault for i, one in enumerate(processes)
                  for fault in faults_of(one.wait(LONGEST_S), log.with_suffix(f".{i}.log"))]  # fmt: skip
    return faults


def finished(subject: Subject, folder: Path, expected: dict[str, str]) -> list[str]:
    """Give the command again, and compare."""
    log = folder.with_name(f"{folder.name}.again.log")
    code = run(subject.words(folder), log)
    text = log.read_text(encoding="utf-8", errors="replace")
    if code != 0 and "is finished: there is nothing to resume" not in text:
        return [f"again: exit code {code}: {(text.strip().splitlines() or ['nothing said'])[-1][:250]}"]
    found = digests(subject, folder)
    differ = [name for name, digest in expected.items() if found.get(name) != digest]
    faults = [f"again: {len(differ)} files differ, such as {differ[0]}"] if differ else []
    return faults + [f"left over: {name}" for name in left_over(folder)[:1]] + unrecorded(folder)[:1]


def endure(subject: Subject, how: str, seed: str, folder: Path, expected: dict[str, str], lasts_s: float) -> list[str]:
    """One trial; its faults."""
    chance = random.Random(seed)
    if how != "small disk":
        faults = disturbed(subject, how, chance, folder, lasts_s)
        return faults + finished(subject, folder, expected)
    megabytes = 120 ** chance.random()
    with small_disk(folder, megabytes) as enlarge:
        log = folder.with_name(f"{folder.name}.log")
        faults = [f"{megabytes:.1f} MB: {fault}" for fault in faults_of(run(subject.words(folder), log), log)]
        enlarge()
        return faults + finished(subject, folder, expected)


def table(counts: dict[tuple[str, str], list[int]], hows: list[str]) -> str:
    """Trials without a fault of all trials, by command and way."""
    names = list(dict.fromkeys(name for name, _ in counts))
    lines = ["| command | " + " | ".join(hows) + " |", "|---" * (len(hows) + 1) + "|"]
    for name in names:
        cells = [f"{counts[name, how][0]} of {counts[name, how][1]}" if (name, how) in counts else "-" for how in hows]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--seed", default=0, show_default=True)
@click.option("--moments", default=20, show_default=True, help="Trials of each signal and command.")
@click.option("--together", default=2, show_default=True, help="Trials of two, and of three, at once.")
@click.option("--disks", default=5, show_default=True, help="Trials on small disks; root alone can make them.")
@click.option("--only", default="", help="Commands, separated by commas  [all]")
@click.option("--share", default=1.0, show_default=True, help="Of the trials, drawn by the seed.")
@click.option("--trials", "kept", type=click.Path(path_type=Path), help="Where trials are kept, and not made again.")
def main(seed: int, moments: int, together: int, disks: int, only: str, share: float, kept: Path | None) -> None:
    """Disturb the commands; exit code 1 where a trial has a fault."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, and its children, ignore it
    hows = [*SIGNALS, "2 at once", "3 at once", "small disk"]
    times = dict(zip(hows, [moments] * 3 + [together] * 2 + [disks if os.geteuid() == 0 else 0], strict=True))
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    done = [json.loads(line) for line in kept.read_text("utf-8").splitlines()] if kept and kept.exists() else []
    for trial in done:
        counts[trial["command"], trial["how"]][0] += not trial["faults"]
        counts[trial["command"], trial["how"]][1] += 1
    known = {(trial["command"], trial["how"], trial["i"]) for trial in done if trial["seed"] == seed}
    with tempfile.TemporaryDirectory(prefix="endurance-") as name:
        made = Path(name) / "made"
        prepare(made)
        chosen = {key: of for key, of in subjects(made).items() if not only or key in only.split(",")}
        # By round, so that a run that is cut off has tried all of them.
        rounds = range(max(times.values()))
        trials = [(key, how, i) for i in rounds for key in chosen for how in hows if i < times[how]]
        if share < 1:
            trials = sorted(random.Random(seed).sample(trials, max(1, round(share * len(trials)))), key=trials.index)
        trials = [trial for trial in trials if trial not in known]
        whole: dict[str, tuple[dict[str, str], float]] = {}
        for key, how, i in trials:
            if key not in whole:
                whole[key] = undisturbed(chosen[key], Path(name) / f"{key}-whole")
            folder = Path(name) / f"{key}-{how.replace(' ', '-')}-{i}"
            faults = endure(chosen[key], how, f"{seed} {key} {how} {i}", folder, *whole[key])
            counts[key, how][0] += not faults
            counts[key, how][1] += 1
            click.echo(f"{key}, {how}, {i}: {'; '.join(faults) or 'ok'}")
            shutil.rmtree(folder, ignore_errors=True)
            if kept is not None:
                with kept.open("a", encoding="utf-8") as stream:
                    trial = {"command": key, "how": how, "seed": seed, "i": i, "faults": faults}
                    stream.write(json.dumps(trial) + "\n")
    click.echo(table(counts, hows))
    sys.exit(any(good < all_ for good, all_ in counts.values()))


def undisturbed(subject: Subject, folder: Path) -> tuple[dict[str, str], float]:
    """What two undisturbed runs wrote alike, and how long the second took in seconds."""
    found = []
    for i in range(2):
        begun = time.monotonic()
        run(subject.words(folder / str(i)), folder / f"{i}.log", check=True)
        lasts_s = time.monotonic() - begun
        found.append(digests(subject, folder / str(i)))
    alike = {name: digest for name, digest in found[0].items() if found[1].get(name) == digest}
    if not alike:
        raise SystemExit(f"{folder}: two undisturbed runs wrote nothing alike")
    return alike, lasts_s


if __name__ == "__main__":
    main()
