"""A bundle held against MONAI's own checks, and run once, in fresh processes that cannot import this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from mgmt_monai.cohort.phantom import write_phantom
from mgmt_monai.exchange.bundle_folder import BundleFolder

#: What each process is started with: `python -m MODULE ARGUMENTS`, but this package is not there.
_WITHOUT_US = "import runpy, sys; sys.modules['mgmt_monai'] = None; sys.argv = sys.argv[1:]; "
_MODULE = f"{_WITHOUT_US}runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
_PROPERTIES = f"""{_WITHOUT_US}import json
from monai.bundle import ConfigWorkflow
files, kind, meta_file, overrides = json.loads(sys.argv[0])
workflow = ConfigWorkflow(files, meta_file=meta_file, logging_file=False, workflow_type=kind, **overrides)
workflow.initialize()
sys.exit(', '.join(f'{{name}} is missing or not where it belongs' for name in workflow.check_properties()) or 0)
"""

#: The configs of a bundle, each with those it is read after, and MONAI's kind of workflow.
WORKFLOWS = {
    "train": (("train",), "train"),
    "multi_gpu_train": (("train", "multi_gpu_train"), "train"),
    "evaluate": (("train", "evaluate"), "train"),
    "inference": (("inference",), "infer"),
}

#: Patients of the made cohort that the training configs are held against: two of each label in each split.
_N_PATIENTS = 16

#: What makes that cohort enough for a training config, whatever its own split was.
_SPLIT = {"test_fraction": 0.25, "train_fraction": 0.67, "split_seed": 0, "exclusions": "none", "manifest": ""}


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Args:
        name: What, in a few words.
        fault: Why it failed; empty where it did not.
    """

    name: str
    fault: str

    @property
    def passed(self) -> bool:
        """Whether it did not fail."""
        return not self.fault


def verify_bundle(bundle: BundleFolder, study: Path | None = None, schema: Path | None = None) -> Iterator[Check]:
    """Try everything that MONAI's users expect of a bundle. This runs the bundle's code.

    Args:
        bundle: As `open_bundle` read it.
        study: What the prediction is made of; None for a made one.
        schema: A JSON schema for ``metadata.json``, such as MONAI's own; None for the packaged one, which asks for more.

    Yields:
        Each check as soon as it is done.
    """
    root = bundle.path.resolve()
    configs = root / "configs"
    with TemporaryDirectory() as folder:
        temporary = Path(folder)
        schema_file = temporary / "schema.json"
        packaged = resources.files("mgmt_monai.exchange") / "data" / "metadata.schema.json"
        schema_file.write_bytes(packaged.read_bytes() if schema is None else schema.read_bytes())
        meta_file: list[str | Path] = ["--meta_file", configs / "metadata.json"]
        yield _monai("metadata.json fits the schema", root, "verify_metadata", *meta_file, "--filepath", schema_file)
        network: list[str | Path] = [*meta_file, "--config_file", configs / "inference.json"]
        yield _monai("the network takes and gives what metadata.json says", root,
                     "verify_net_in_out", "--net_id", "network_def", *network)  # fmt: skip
        yield _monai("models/model.pt exports to TorchScript", root, "ckpt_export", "--net_id", "network_def",
                     "--filepath", temporary / "model.ts", "--ckpt_file", bundle.model, *network)  # fmt: skip

        cohort = write_phantom(temporary / "cohort", n_patients=_N_PATIENTS, effect=0.0, seed=0)
        if study is None:
            study = min((cohort / "train").iterdir())
        output = {"bundle_root": str(root), "output_dir": str(temporary / "out")}
        for name, (parts, kind) in WORKFLOWS.items():
            own = {"dataset_dir": str(study)} if kind == "infer" else {"dataset_dir": str(cohort), **_SPLIT}
            yield _properties(name, root, [configs / f"{part}.json" for part in parts], kind, {**own, **output})

        yield _monai("a study is predicted", temporary, "run", "--config_file", configs / "inference.json",
                     "--bundle_root", root, "--dataset_dir", study.resolve(),
                     "--output_dir", temporary / "predicted")  # fmt: skip
        yield _prediction(temporary / "predicted" / "prediction.json")


def _monai(name: str, cwd: Path, *words: str | Path) -> Check:
    return _process(name, cwd, [_MODULE, "monai.bundle", *(str(word) for word in words)])


def _properties(name: str, root: Path, files: Sequence[Path], kind: str, overrides: dict[str, object]) -> Check:
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        return Check(f"{name}.json has MONAI's properties", f"expected configs/{missing[0]}, found none")
    asked = [[str(path) for path in files], kind, str(root / "configs" / "metadata.json"), overrides]
    return _process(f"{name}.json has MONAI's properties", root, [_PROPERTIES, json.dumps(asked)])


def _prediction(path: Path) -> Check:
    name = "the prediction is a probability"
    try:
        probability = json.loads(path.read_text(encoding="utf-8"))["probability"]
    except (OSError, ValueError, KeyError, TypeError):
        return Check(name, "expected prediction.json with a probability, found none")
    fits = isinstance(probability, float) and 0 <= probability <= 1
    return Check(name, "" if fits else f"expected a number from 0 to 1, found {probability!r}")


def _process(name: str, cwd: Path, words: Sequence[str]) -> Check:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return Check(name, "")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Check(name, lines[-1] if lines else f"exit code {done.returncode}")
