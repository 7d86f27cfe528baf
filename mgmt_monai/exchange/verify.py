"""A bundle held against MONAI's own checks, and run through its doors, in fresh processes without this package."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mgmt_monai.cohort.patients import FUSION
from mgmt_monai.errors import printable
from mgmt_monai.exchange.bundle_folder import BundleFolder
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.trust import CACHE, RESULTS, foreign_code
from mgmt_monai.json_file import JsonFileError, read_json
from mgmt_monai.machine import scratch
from mgmt_monai.phantom import write_phantom

#: What each process is started with: `python -m MODULE ARGUMENTS`, but this package is not there.
_WITHOUT_US = "import runpy, sys; sys.modules['mgmt_monai'] = None; sys.argv = sys.argv[1:]; "
_MODULE = f"{_WITHOUT_US}runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
_PROPERTIES = f"""{_WITHOUT_US}import json
from monai.bundle import ConfigWorkflow
for name, files, kind, meta_file, overrides in json.loads(sys.argv[0]):
    try:
        workflow = ConfigWorkflow(files, meta_file=meta_file, logging_file=False, workflow_type=kind, **overrides)
        workflow.initialize()
        lacking = workflow.check_properties()
        fault = f"missing or not where MONAI looks for it: {{', '.join(lacking)}}" if lacking else ''
    except Exception as error:
        fault = ' '.join(str(error.__cause__ or error).split())
    print(json.dumps(['checked', name, fault]))
"""
_DOOR = f"""{_WITHOUT_US}import json
from monai.bundle import ConfigWorkflow, create_workflow
door, files, kind, overrides = json.loads(sys.argv[0])
sys.path.insert(0, overrides['bundle_root'])
if door == 'create_workflow':
    workflow = create_workflow(config_file=files, workflow_type=kind, logging_file=False, **overrides)
else:
    workflow = ConfigWorkflow(files, workflow_type=kind, logging_file=False, **overrides)
    workflow.initialize()
workflow.trainer.run() if door == 'trainer.run()' else workflow.run()
workflow.finalize()
"""

#: Of the environment: what would find this package, take a training to the user's own store, or its data elsewhere.
_NOT_PASSED_ON = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "MGMT_DATA_DIR")

#: The configs of a bundle, each with those it is read after, and MONAI's kind of workflow.
WORKFLOWS = {
    "train": (("train",), "train"),
    "multi_gpu_train": (("train", "multi_gpu_train"), "train"),
    "evaluate": (("train", "evaluate"), "train"),
    "inference": (("inference",), "infer"),
}

#: What each config is run through: an id of ``python -m monai.bundle run``, or what a script calls.
DOORS = {
    "train": ("run", "training", "create_workflow", "trainer.run()"),
    "evaluate": ("run", "create_workflow"),
    "inference": ("run", "create_workflow"),
}
_WRITTEN = {
    "train": ("*/*/transfer/best.pt", "*/*/fine_tune/best.pt", "*/*/predictions.csv"),
    "evaluate": ("predictions.csv", "metrics.json"),
    "inference": ("prediction.json",),
}

#: A training that takes seconds: one epoch a stage, of small pictures.
_SHORT = {"transfer_epochs": 1, "fine_tune_epochs": 1, "image_size": 64, "bootstrap_resamples": 50}

#: Patients of the made cohort that the training configs are held against: two of each label in each split.
_N_PATIENTS = 16

#: What makes that cohort enough for a training config, whatever its own split was.
_SPLIT = {"test_fraction": 0.25, "train_fraction": 0.67, "split_seed": 0, "exclusions": "none"}


@dataclass(frozen=True)
class Check:
    """One thing that was tried, and why it failed; empty where it did not."""

    name: str
    fault: str

    @property
    def passed(self) -> bool:
        """Whether it did not fail."""
        return not self.fault


def verify_bundle(
    bundle: BundleFolder, study: Path | None = None, schema: Path | None = None, trust: bool = False
) -> Iterator[Check]:
    """Try everything that MONAI's users expect of a bundle. This runs the bundle's code.

    Args:
        bundle: As `open_bundle` read it.
        study: What the prediction is made of; None for a made one.
        schema: A JSON schema for ``metadata.json``, such as MONAI's own; None for the packaged one, a narrower one.
        trust: Whether code that is not this version's own may be run.

    Yields:
        Each check as soon as it is done.

    Raises:
        ExchangeError: There is such code and it is not trusted, or no such study or schema; nothing has been run then.
    """
    foreign = "" if trust else foreign_code(bundle)
    if foreign:
        raise ExchangeError(
            f"{bundle.name}: {printable(foreign)}: expected what this version of mgmt-monai writes, found something "
            "else. Verifying runs it: read it, then say --trust-bundle."
        )
    if schema is not None and not schema.is_file():
        raise ExchangeError(f"{schema}: no such schema. Name a JSON file, or leave out --schema.")
    if study is not None and not study.is_dir():
        raise ExchangeError(f"{study}: no such study. Name the folder that holds its series.")
    with scratch(TemporaryDirectory) as folder:
        temporary = Path(folder)
        # A copy: whatever lies in caches is not run, and nothing is written into the bundle.
        root = Path(shutil.copytree(bundle.path, temporary / "bundle", ignore=shutil.ignore_patterns(CACHE, *RESULTS)))
        configs = root / "configs"
        schema_file = temporary / "schema.json"
        packaged = resources.files("mgmt_monai.exchange") / "data" / "metadata.schema.json"
        schema_file.write_bytes(packaged.read_bytes() if schema is None else schema.read_bytes())
        meta_file: list[str | Path] = ["--meta_file", configs / "metadata.json"]
        yield _monai("metadata.json fits the schema", root, "verify_metadata", *meta_file, "--filepath", schema_file)
        network: list[str | Path] = [*meta_file, "--config_file", configs / "inference.json"]
        # MONAI gives a network pictures alone, and a fusion is told whose they are.
        yield from _network(root, temporary, network) if bundle.modality != FUSION else ()

        cohort = write_phantom(temporary / "cohort", n_patients=_N_PATIENTS, effect=0.0, seed=0)
        study = min((cohort / "train").iterdir()) if study is None else study.resolve()
        yield from _properties(root, study, cohort, temporary / "out")
        on_cohort = {"dataset_dir": str(cohort), **_SPLIT}
        yield from _doors("train", root, {**on_cohort, **_SHORT}, temporary / "doors" / "train")
        yield from _doors("evaluate", root, on_cohort, temporary / "doors" / "evaluate")
        yield from _doors("inference", root, {"dataset_dir": str(study)}, temporary / "doors" / "inference")
        yield _prediction(temporary / "doors" / "inference" / "run" / "prediction.json")


def _network(root: Path, temporary: Path, network: Sequence[str | Path]) -> Iterator[Check]:
    yield _monai("the network takes and gives what metadata.json says", root,
                 "verify_net_in_out", "--net_id", "network_def", *network)  # fmt: skip
    yield _monai("models/model.pt exports to TorchScript", root, "ckpt_export", "--net_id", "network_def",
                 "--filepath", temporary / "a.ts", "--ckpt_file", root / "models/model.pt", *network)  # fmt: skip


def _monai(name: str, cwd: Path, *words: str | Path) -> Check:
    return _process(name, cwd, [_MODULE, "monai.bundle", *(str(word) for word in words)])


def _properties(root: Path, study: Path, cohort: Path, out: Path) -> Iterator[Check]:
    asked: list[Any] = []
    faults: dict[str, str] = {}
    for name, (parts, kind) in WORKFLOWS.items():
        files = [root / "configs" / f"{part}.json" for part in parts]
        data = {"dataset_dir": str(study)} if kind == "infer" else {"dataset_dir": str(cohort), **_SPLIT}
        overrides = {**data, "bundle_root": str(root), "output_dir": str(out)}
        if all(file.is_file() for file in files):
            texts = [str(file) for file in files]
            asked.append([name, texts, kind, str(root / "configs" / "metadata.json"), overrides])
        faults[name] = "it is not there"
    done = _run(root, [_PROPERTIES, json.dumps(asked)])
    faults |= dict.fromkeys([job[0] for job in asked], _told(done.stderr) or f"exit code {done.returncode}")
    for line in done.stdout.splitlines():
        if line.startswith('["checked"'):
            _, name, fault = json.loads(line)
            faults[name] = fault
    for name, fault in faults.items():
        yield Check(f"{name}.json has MONAI's properties", fault)


def _doors(name: str, root: Path, settings: Mapping[str, Any], out: Path) -> Iterator[Check]:
    """Run a config through each of its doors, two processes at a time, and hold what they wrote against the first's."""
    parts, kind = WORKFLOWS[name]
    files = [str(root / "configs" / f"{part}.json") for part in parts]

    def through(door: str) -> Check:
        overrides = {"bundle_root": str(root), "output_dir": str(out / door), **settings}
        words = [_DOOR, json.dumps([door, files, kind, overrides])]
        if door in ("run", "training"):
            options = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
            words = [_MODULE, "monai.bundle", "run", door, "--config_file", str(files), *options]
        (out / door).mkdir(parents=True)
        return _process(f"{name}.json runs: {door}", out, words)

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(through, DOORS[name])
    contents = {
        door: {part: path.read_bytes() for part in _WRITTEN[name] for path in (out / door).glob(part)}
        for door in DOORS[name]
    }
    first = contents[DOORS[name][0]]
    other = [door for door, content in contents.items() if not content or not content.items() <= first.items()]
    yield Check(f"{name}.json gives the same bytes each time", ", ".join(other) and f"not by {', '.join(other)}")


def _prediction(path: Path) -> Check:
    name = "the prediction is a probability"
    try:
        probability = read_json(path)["probability"]
    except (JsonFileError, KeyError, TypeError):
        return Check(name, "expected prediction.json with a probability, found none")
    fits = isinstance(probability, float) and 0 <= probability <= 1
    return Check(name, "" if fits else f"expected a number from 0 to 1, found {probability!r}")


def _process(name: str, cwd: Path, words: Sequence[str]) -> Check:
    done = _run(cwd, words)
    return Check(name, "" if done.returncode == 0 else _told(done.stderr) or f"exit code {done.returncode}")


def _run(cwd: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    ours = {key: value for key, value in os.environ.items() if key not in _NOT_PASSED_ON}
    environment = {**ours, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def _told(stderr: str) -> str:
    """What went wrong, of all that a process printed: the first error of a traceback, else its last line."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception|Warning): ", line)]
    return (errors or [line.strip() for line in lines[-1:]] or [""])[0]
