"""The candidate is chosen on validation patients alone."""

import pandas as pd
from sklearn.metrics import log_loss

from mgmt_monai.comparison.candidate_choice import choose, validation_figures
from mgmt_monai.comparison.plan import Candidate, ComparisonPlan

PLAN = ComparisonPlan(("a", "b"), ("T1w",), "a", "T1w")


def table(validation: list[float], test: list[float], fold: int = 0, stage: str = "fine_tune") -> pd.DataFrame:
    """Four validation and four test patients, methylated ones last."""
    return pd.DataFrame(
        {
            "patient_id": [f"{split}{number}" for split in "vt" for number in range(4)],
            "modality": "T1w",
            "stage": stage,
            "split": ["validation"] * 4 + ["test"] * 4,
            "fold": fold,
            "seed": 0,
            "label": [0, 0, 1, 1] * 2,
            "probability": [*validation, *test],
            "n_slices": 3,
        }
    )


def test_the_higher_validation_auc_wins_whatever_the_test_says():
    worse_on_test = table([0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1])
    better_on_test = table([0.1, 0.8, 0.2, 0.9], [0.1, 0.2, 0.8, 0.9])

    choice = choose({"a": better_on_test, "b": worse_on_test}, PLAN)

    assert choice.candidate == Candidate("b", "T1w")
    assert (choice.validation_auc, choice.n_compared) == (1.0, 2)


def test_among_equal_aucs_the_lower_validation_loss_wins():
    unsure = table([0.4, 0.4, 0.6, 0.6], [0.5] * 4)
    sure = table([0.1, 0.1, 0.9, 0.9], [0.5] * 4)

    assert choose({"a": unsure, "b": sure}, PLAN).candidate.network == "b"


def test_validation_figures_are_means_over_the_models_and_of_the_last_stage_alone():
    right, wrong = [0.1, 0.2, 0.8, 0.9], [0.8, 0.9, 0.1, 0.2]
    models = [table(right, wrong), table(wrong, right, fold=1), table(wrong, right, stage="transfer")]

    found, loss = validation_figures({"a": pd.concat(models)}, Candidate("a", "T1w"))

    assert found == 0.5
    label = [0, 0, 1, 1]
    assert abs(loss - (log_loss(label, right) + log_loss(label, wrong)) / 2) < 1e-12


def test_a_candidate_without_validation_auc_is_not_chosen():
    one_class = table([0.1, 0.2, 0.8, 0.9], [0.5] * 4)
    one_class["label"] = 0
    chance = table([0.5] * 4, [0.5] * 4)

    assert choose({"a": one_class, "b": chance}, PLAN).candidate.network == "b"


def test_plain_model_of_the_reference_network_is_chosen_where_it_is_better():
    poor, good = [0.1, 0.8, 0.2, 0.9], [0.1, 0.2, 0.8, 0.9]
    tables = {name: pd.concat([table(poor, poor), table(good, poor, stage="plain")]) for name in ("a", "b")}

    choice = choose(tables, PLAN)

    assert (choice.candidate, choice.n_compared) == (Candidate("a", "T1w", "plain"), 3)


def test_plain_model_that_a_fold_lacks_is_no_candidate():
    plan = ComparisonPlan(("a",), ("T1w",), "a", "T1w", folds=3)
    poor, good = [0.1, 0.8, 0.2, 0.9], [0.1, 0.2, 0.8, 0.9]
    networks = [table(poor, poor, fold) for fold in range(3)]
    plain = [table(good, poor, fold, "plain") for fold in range(3)]

    assert choose({"a": pd.concat([*networks, *plain[:2]])}, plan).candidate.stage == "fine_tune"
    assert choose({"a": pd.concat([*networks, *plain])}, plan).candidate.stage == "plain"
