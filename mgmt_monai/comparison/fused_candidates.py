"""The fusions of a comparison: the late one, made from the trainings of each modality, and what each of both adds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mgmt_monai.cohort.patients import LATE_FUSION
from mgmt_monai.comparison.candidate_choice import all_candidates
from mgmt_monai.comparison.collect import predictions_by
from mgmt_monai.comparison.folder import ComparisonFolder
from mgmt_monai.comparison.fusing import PRESENCE, TABLE, Fused, fair_test, fuse, read_training
from mgmt_monai.comparison.plan import FUSIONS, LAST_STAGE, Candidate, ComparisonPlan, Training
from mgmt_monai.evaluation.predictions import MODEL_COLUMNS

ADDS = 0.05
"""The smallest difference in AUC, of a fusion and the best single modality, that would matter."""


def network_predictions(folder: ComparisonFolder, plan: ComparisonPlan) -> dict[str, pd.DataFrame]:
    """The patient tables of a plan's candidates by network, late fusions among them.

    Raises:
        ComparisonError: Trainings cannot be fused.
        EvaluationError: A fold has too few validation patients to fuse.
    """
    found = predictions_by("network", folder, plan.trainings())
    if LATE_FUSION in plan.modalities:
        network = plan.reference_network
        trainings = plan.trainings_of(Candidate(network, LATE_FUSION))
        late = [fused(folder, trainings, stage).tables[TABLE] for stage in _common_stages(found[network], plan)]
        found[network] = pd.concat([found[network], *late], ignore_index=True)
    return found


def control_predictions(folder: ComparisonFolder, plan: ComparisonPlan, chosen: Candidate) -> dict[str, pd.DataFrame]:
    """The patient tables of the chosen candidate's trained controls; of a fusion, which series are there is one more.

    Raises:
        ComparisonError: A training has no predictions of the chosen stage.
    """
    controls = plan.controls(chosen)
    found = predictions_by("control", folder, controls, chosen.stage)
    if chosen.modality == LATE_FUSION:
        for control in found:
            of_control = [training for training in controls if training.control == control]
            found[control] = fused(folder, of_control, chosen.stage).tables[TABLE]
    if chosen.modality in FUSIONS:
        singles = plan.trainings_of(replace(chosen, modality=LATE_FUSION))
        tables = fused(folder, singles, LAST_STAGE).tables
        found |= {"presence": tables[PRESENCE].assign(stage=chosen.stage)} if PRESENCE in tables else {}
    return found


def what_fusions_add(
    folder: ComparisonFolder,
    plan: ComparisonPlan,
    predictions: Mapping[str, pd.DataFrame],
    level: float,
    site: Mapping[str, str] | None,
) -> list[dict[str, Any]]:
    """The fair test of each fusion against the best single modality, as `fair_test` has it, with its candidate's names.

    Args:
        folder: Of the comparison.
        plan: Its plan.
        predictions: As `network_predictions` returns them.
        level: Of the intervals.
        site: By patient; None without a column that tells it.
    """
    found = []
    for candidate in all_candidates(predictions, plan):
        table = predictions[candidate.network]
        if candidate.modality in FUSIONS and candidate.stage in _common_stages(table, plan):
            singles = fused(folder, plan.trainings_of(replace(candidate, modality=LATE_FUSION)), candidate.stage)
            own = table[(table["modality"] == candidate.modality) & (table["stage"] == candidate.stage)]
            test = fair_test(replace(singles, tables={**singles.tables, TABLE: own}), ADDS, level, site)
            found.append({"modality": candidate.modality, "stage": candidate.stage, **test})
    return found


def fused(folder: ComparisonFolder, trainings: Iterable[Training], stage: str) -> Fused:
    """Trainings of several modalities, as ``mgmt-monai fuse`` fuses them.

    Raises:
        ComparisonError: They cannot be fused.
        EvaluationError: Too few validation patients.
    """
    return fuse([read_training(folder.run_folder(training), stage) for training in trainings])


def _common_stages(table: pd.DataFrame, plan: ComparisonPlan) -> Sequence[str]:
    """The stages that each single modality has of every fold and seed: a plain model may be missing."""
    models = table[table["modality"].isin(plan.singles)][list(MODEL_COLUMNS)].drop_duplicates()
    n_models = models.groupby("stage").size()
    return [str(stage) for stage, n in n_models.items() if n == plan.n_models * len(plan.singles)]
