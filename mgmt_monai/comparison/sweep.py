"""A comparison from start, or from where it was stopped, to its record in MLflow."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from tqdm import tqdm

from mgmt_monai.atomic import write_text
from mgmt_monai.cohort.manifest import Manifest, phantom_truth
from mgmt_monai.cohort.splits.plans import KFold
from mgmt_monai.comparison.before_training import check_columns, check_fusable, columns_of, planned_power
from mgmt_monai.comparison.candidate_choice import Choice, choose
from mgmt_monai.comparison.collect import chosen_slices, cohort_summary, curves_of, patient_columns, training_rows
from mgmt_monai.comparison.errors import ComparisonError, ComparisonFaultsError
from mgmt_monai.comparison.feature_controls import feature_control_predictions
from mgmt_monai.comparison.folder import ComparisonFolder
from mgmt_monai.comparison.fused_candidates import control_predictions, network_predictions, what_fusions_add
from mgmt_monai.comparison.kept_results import RECORD, ComparisonRecord, write_record
from mgmt_monai.comparison.plan import FUSIONS, ComparisonPlan, Training
from mgmt_monai.comparison.process import Job
from mgmt_monai.evaluation.columns import clinical_columns
from mgmt_monai.evaluation.within_site import site_column
from mgmt_monai.interruption import interruptible
from mgmt_monai.packaged_configs import config_path
from mgmt_monai.tracking import TrackedRun
from mgmt_monai.tracking.comparisons import COMPARISON_TAG, PLAN_TAG, n_judged
from mgmt_monai.tracking.environment import environment_tags
from mgmt_monai.tracking.tracked_run import TEST_TAG, tested
from mgmt_monai.training.config import PATHS, read_config, settings_of
from mgmt_monai.training.overrides import check_overrides
from mgmt_monai.training.pseudonyms import under_pseudonyms
from mgmt_monai.training.record import lacks_record, record
from mgmt_monai.training.settings import check_settings
from mgmt_monai.training.typed import check_unharmed, for_monai

logger = logging.getLogger(__name__)

Execute = Callable[[Sequence[Job]], Iterator[tuple[Job, int]]]
"""Runs jobs and yields each with its exit code."""

PLAN = "plan.json"
"""In the comparison's folder: what was meant, written before anything is scored."""

OWN_KEYS = (
    "modality", "modalities", "backbone", "control", "seed", "repeat", "fold", "inner_fold", "run_name", "resume",
    "parent_run_id",
)  # fmt: skip
"""Of the config, set by the comparison for each training."""

OWN_SECTIONS = ("run_directory", "tracking", "cohort", "opening", "experiment")
"""Of the config, in which nothing is to be set: they are made from the keys."""


class Comparison:
    """Runs the trainings of a plan, chooses a candidate, runs its negative controls, and records it all.

    Args:
        plan: What is trained.
        bundles: Folder with the modalities' configs; None for the packaged ones.
        name: Of the comparison; empty for one that is made from the plan and the data directory, so that the same
            command goes on with the same comparison.
        execute: Runs the trainings.

    Raises:
        ComparisonError: A setting belongs to the comparison itself.
        TrainingError: A setting is unknown or out of range.
        NetworkError: A network is unknown.
        CohortError: The cohort cannot be trained on.
    """

    def __init__(self, plan: ComparisonPlan, bundles: Path | None, name: str, execute: Execute) -> None:
        _check_keys(plan.settings)
        _check_name(name)
        self.plan = plan
        self.bundles = bundles
        self.execute = execute
        self._configs = {modality: read_config(self._config_file(modality)) for modality in plan.trained}
        check_unharmed(for_monai(plan.settings))
        for modality, config in self._configs.items():  # now rather than after hours
            given = self._given(modality)
            check_overrides(config, given)
            for network in plan.networks:
                check_settings({**config, **given, "backbone": network})
        self._settings = self._configs[plan.reference_modality] | self._given(plan.reference_modality)
        self.data_dir = Path(self._value("dataset_dir")).resolve()
        self.output_dir = Path(self._value("output_dir")).resolve()
        self.folder = ComparisonFolder(
            self.output_dir / "comparisons" / (name or f"comparison-{plan.digest(str(self.data_dir))}")
        )
        self.tracking = TrackedRun(
            self._value("tracking_uri"), self.output_dir, self._value("experiment_name"), self.folder.name
        )

    def run(self, report: Callable[[Comparison], None]) -> None:
        """Go through the whole comparison; what is done is not done again.

        Args:
            report: Called at the end, when the record is in MLflow; part of the comparison's run.

        Raises:
            ComparisonFaultsError: Trainings failed: a line each. The others have run.
            ComparisonError: The folder is another comparison's, or something could not be recorded.
            CohortError: The cohort cannot be trained on.
            EvaluationError: A column of the plan is not there, or a training's predictions cannot be judged.
        """
        manifest = self._manifest()
        check_columns(manifest, self.plan)
        check_fusable(manifest, self.plan)
        folder, tracking = self.folder, self.tracking
        environment = environment_tags()
        folder.open(self.plan, str(self.data_dir), environment)
        status = "FAILED"
        try:
            with interruptible():
                folder.keep_manifest(manifest)
                tracking.start(folder.state["mlflow_run_id"])
                if tracking.run_id is None:
                    raise ComparisonError(
                        f"{self.folder.path}: the comparison's run cannot be opened in MLflow; see above."
                    )
                folder.update(mlflow_run_id=tracking.run_id)
                tracking.set_tags({COMPARISON_TAG: folder.name, **environment})
                self._register(manifest)
                logger.info(f"comparison {folder.name} in {folder.path}")
                logger.info(planned_power(manifest, self.plan))
                self._train(self.plan.trainings(), "Trainings")
                choice = choose(network_predictions(folder, self.plan), self.plan)
                chosen = choice.candidate
                logger.info(
                    f"chosen on validation patients: {chosen.network} on {chosen.modality}, {chosen.stage} "
                    f"(AUC {choice.validation_auc:.2f}, of {choice.n_compared} compared)"
                )
                self._train(self.plan.controls(chosen), "Controls")
                write_record(self._record(manifest, choice), folder.path / "record")
                self.log_files(folder.path / "record", RECORD)
                report(self)
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit):
            status = "KILLED"
            logger.warning("interrupted; go on with the same command")
            raise
        finally:
            tracking.finish(status)
            tracking.say_what_is_missing("start the comparison again")
            folder.close()

    def _manifest(self) -> Manifest:
        """The cohort, checked for every modality, with the comparison's folds."""
        cohorts = [self._parsed("cohort", modality=modality) for modality in self.plan.singles]
        manifest: Manifest = cohorts[0].manifest
        plan = self.plan
        if plan.folds is None:
            return manifest
        asked = {"n_folds": plan.folds, "n_repeats": plan.repeats, "n_inner_folds": 0}
        if not manifest.folds:
            group_by = str(manifest.split.get("group_by", ""))
            return KFold(plan.folds, plan.repeats, 0, int(self._value("split_seed")), group_by).apply(manifest)
        made = {key: manifest.folds.get(key) for key in asked}
        if made != asked:
            raise ComparisonError(
                f"{self.data_dir}: expected folds as asked, {asked}, found the manifest's own, {made}. Ask for these, "
                "or make others with 'mgmt-monai manifest split'."
            )
        return manifest

    def _shown_plan(self) -> dict[str, Any]:
        """The plan without paths."""
        names = {network: Path(path).name for network, path in self.plan.weights.items()}
        return {**self.plan.as_json(), "weights": names, "settings": settings_of(self.plan.settings)}

    def _register(self, manifest: Manifest) -> None:
        """Write the plan with its hash before anything is scored; the first start's stays."""
        path = self.folder.path / PLAN
        if not path.is_file():
            if any(self.folder.is_begun(training) for training in self.plan.trainings()):
                return  # begun by a version that wrote none: it is too late
            held_out = [(p.patient_id, p.label) for p in manifest.patients if self.plan.folds or p.split == "test"]
            registered = {
                "plan": self._shown_plan(),
                "manifest_hash": manifest.content_hash,
                "site": site_column(columns_of(manifest), self.plan.site),
                "threshold": "Youden's on validation patients",
                "choice": "the highest AUC on validation patients, of networks and the reference's plain models",
                "clinical": clinical_columns(columns_of(manifest), self.plan.clinical),
                "test_patients": tested(held_out),
            }
            write_text(path, json.dumps(registered, indent=2, sort_keys=True) + "\n")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.tracking.set_tags({PLAN_TAG: digest, TEST_TAG: self._tested()})
        self.tracking.log_file(path)
        logger.info(f"plan written before anything is scored: {path}, SHA-256 {digest}")

    def _registered(self) -> dict[str, Any]:
        """The plan's hash, and how often its test patients have been judged; empty where none was written in time."""
        path = self.folder.path / PLAN
        if not path.is_file():
            return {}
        judged = n_judged(self.tracking.uri, self.tracking.run_id or "")
        return {"plan_hash": hashlib.sha256(path.read_bytes()).hexdigest(), **({"n_judged": judged} if judged else {})}

    def _tested(self) -> str:
        """Which patients the plan that was written first has for the test, as `tested` says it."""
        told = self.folder.read_json(PLAN, "the plan of a comparison").get("test_patients")
        if not isinstance(told, str):
            raise ComparisonError(
                f"{self.folder.path / PLAN}: expected test_patients as it was written, found {type(told).__name__}. "
                "Put the file back from a copy."
            )
        return told

    def _train(self, trainings: Sequence[Training], title: str) -> None:
        waiting = [training for training in trainings if not self.folder.is_done(training)]
        for training in trainings:  # whose store was away when they ended
            path = self.folder.run_folder(training)
            if training not in waiting and lacks_record(path):
                record(path, self.tracking.uri, self.output_dir)
        faults = []
        with tqdm(total=len(trainings), initial=len(trainings) - len(waiting), desc=title, unit="training") as bar:
            jobs = [self._job(training) for training in waiting]
            said_before = {job.name: _size(Path(job.log)) for job in jobs}
            for job, code in self.execute(jobs):
                bar.update()
                if code != 0:
                    words = _last_words(Path(job.log), said_before[job.name])
                    faults.append(f"training {job.name}: ended with exit code {code}: {words}")
        if faults:
            raise ComparisonFaultsError(faults)

    def _job(self, training: Training) -> Job:
        settings: dict[str, Any] = {
            **{key: value for key, value in self._given(training.modality).items() if key != "tracking_uri"},
            "backbone": training.network,
            "control": training.control,
            "seed": training.seed,
            "dataset_dir": str(self.data_dir),
            "manifest": str(self.folder.manifest_path),
            "output_dir": str(self.folder.path),
            "parent_run_id": str(self.tracking.run_id),
            "run_name": training.name,
            "resume": self.folder.is_begun(training),
        }
        if training.network in self.plan.weights:
            settings["weights"] = self.plan.weights[training.network]
        if training.modality in FUSIONS:
            settings["modalities"] = "+".join(self.plan.singles)
        if training.fold is not None:
            settings |= {"repeat": training.repeat, "fold": training.fold}
        log = self.folder.path / "logs" / f"{training.name}.log"
        config = str(self._config_file(training.modality).resolve())
        return Job(training.name, config, settings, str(log), self._value("tracking_uri"))

    def _record(self, manifest: Manifest, choice: Choice) -> ComparisonRecord:
        folder, plan, chosen = self.folder, self.plan, choice.candidate
        state = folder.state
        key = self.folder.pseudonym_key
        trainings = (*plan.trainings(), *plan.controls(chosen))
        reference = next(t for t in plan.trainings() if t.modality == plan.reference_modality)
        config = read_config(folder.run_folder(reference) / "shared" / "config.json")
        shared = {key: value for key, value in config.items() if key not in OWN_KEYS}
        seen = plan.sees(chosen.modality)
        predictions = network_predictions(folder, plan)
        controls = {
            **feature_control_predictions(manifest, self.data_dir, chosen.modality, seen, plan.folds, plan.repeats),
            **control_predictions(folder, plan, chosen),
        }
        site = site_column(columns_of(manifest), plan.site)
        sites = {patient.patient_id: patient.columns.get(site, "") for patient in manifest.patients}
        adds = what_fusions_add(folder, plan, predictions, float(config["confidence_level"]), sites if site else None)
        environment = state["environment"]
        about = {
            "name": folder.name,
            "created": state["created"],
            "command": plan.command(folder.name, PATHS),
            "commit": ", then ".join(state["commits"]),
            "versions": {
                name.removeprefix("version."): value
                for name, value in environment.items()
                if name.startswith("version.")
            },
            "manifest_hash": manifest.content_hash,
            **self._registered(),
            "experiment": self.tracking.experiment,
            "run_id": self.tracking.run_id,
            "plan": self._shown_plan(),
            "settings": {key: value for key, value in settings_of(config).items() if key not in OWN_KEYS},
            "config_hash": hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest(),
            "cohort": cohort_summary(manifest, plan.folds is not None, bool(phantom_truth(self.data_dir))),
            "trainings": training_rows(folder, trainings),
            "chosen": {
                **asdict(chosen),
                "validation_auc": None if math.isnan(choice.validation_auc) else choice.validation_auc,
                "n_compared": choice.n_compared,
            },
            **({"fusions": adds} if adds else {}),
        }  # fmt: skip
        return ComparisonRecord(
            about=json.loads(json.dumps(about)),
            predictions={n: under_pseudonyms(t, key) for n, t in predictions.items()},
            controls={n: under_pseudonyms(t, key) for n, t in controls.items()},
            slices=under_pseudonyms(chosen_slices(folder, plan, chosen, predictions[chosen.network]), key),
            curves=curves_of(folder, trainings, plan.folds),
            columns=under_pseudonyms(patient_columns(manifest, seen, plan.site), key),
        )

    def log_files(self, folder: Path, into: str) -> None:
        """Record the files of a folder in the folder ``into`` of the run's artifacts.

        Raises:
            ComparisonError: MLflow did not take one.
        """
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            below = path.parent.relative_to(folder).as_posix()
            self.tracking.log_file(path, folder=into if below == "." else f"{into}/{below}")
        if self.tracking.not_recorded:
            raise ComparisonError(
                f"{folder}: MLflow did not take {', '.join(self.tracking.not_recorded)}. Start the comparison again: "
                "what is done is not done again."
            )

    def _config_file(self, modality: str) -> Path:
        return config_path(modality if self.bundles is None else self.bundles / f"{modality.lower()}.json")

    def _given(self, modality: str) -> dict[str, Any]:
        """The plan's settings for one modality's trainings: not those that configs of other kinds alone have."""
        known = {key for config in self._configs.values() for key in config} - self._configs[modality].keys()
        return {key: value for key, value in self.plan.settings.items() if re.split("::|#", key)[0] not in known}

    def _value(self, key: str) -> str:
        return str(self._parsed(key))

    def _parsed(self, key: str, **overrides: Any) -> Any:
        parser = ConfigParser()
        parser.read_config(for_monai({**self._settings, **overrides}))
        return parser.get_parsed_content(key)


def _check_keys(settings: Mapping[str, Any]) -> None:
    for key in settings:
        parts = re.split("::|#", key)
        if parts[-1] in OWN_KEYS or parts[0] in OWN_SECTIONS:
            raise ComparisonError(f"{key}: the comparison sets it for each training. Leave it out.")


def _check_name(name: str) -> None:
    """Refuse a name that is no folder's, or that MLflow could not be asked for."""
    if name and (not re.fullmatch(r"\w[\w.-]*", name) or re.fullmatch("[0-9a-f]{32}", name)):
        raise ComparisonError(
            f"name: expected letters, digits, '.', '_' and '-', found {name!r}. Choose another --name."
        )


def _size(log: Path) -> int:
    return log.stat().st_size if log.is_file() else 0


def _last_words(log: Path, said_before: int) -> str:
    """The error that a training ended with, of what it said this time."""
    said = log.read_bytes()[said_before:] if log.is_file() else b""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    # A progress bar may stand before it on the same line.
    told = [line[line.index("Error: ") :] for line in lines if "Error: " in line] or lines
    return f"{told[-1] if told else 'nothing was said'} (all of it: {log})"
