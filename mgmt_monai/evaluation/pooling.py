"""From many models to one row a patient: the models that tested a patient are averaged."""

import math

import pandas as pd

from mgmt_monai.evaluation.discrimination import CLASS_NAMES
from mgmt_monai.evaluation.operating_point import youden_threshold
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, EvaluationError, checked_table

DIGITS = 12
"""Decimal places of a pooled probability: the last digits of a mean depend on how many numbers went into it, and would
tell apart patients of equal probability. A network's own float32 has seven."""

CONTROL_DIGITS = 5
"""Decimal places of a control's probabilities: far coarser than rounding errors, far finer than any finding."""

POOLED_COLUMNS = ("patient_id", "label", "probability", "threshold", "n_models")


def pool(table: pd.DataFrame, threshold: float | None = None) -> pd.DataFrame:
    """One row a test patient, over the models (fold and seed) that tested it.

    The threshold comes from validation patients only. Where folds are pooled, a patient tested by one model may have
    been a validation patient of another; each patient therefore has its own threshold, from the models that tested
    it, none of which has seen it.

    Args:
        table: The columns of :data:`~mgmt_monai.evaluation.predictions.PATIENT_COLUMNS`, one modality and one stage,
            any number of folds and seeds. Rows of split ``train`` are left out.
        threshold: Called methylated when ``probability >= threshold``, in [0, 1]. None: for each model the one of
            :func:`~mgmt_monai.evaluation.operating_point.youden_threshold` on its validation patients.

    Returns:
        The columns :data:`POOLED_COLUMNS`, sorted by ``patient_id``: ``label`` (int64); ``probability`` and
        ``threshold`` (float64), means over the models that tested the patient; ``n_models`` (int64), how many.

    Raises:
        EvaluationError: The table breaks the schema, holds more than one modality or stage, or no test patient;
            ``threshold`` is not in [0, 1]; or it is None and a model has no validation patients of both classes.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise EvaluationError(f"evaluation: expected a threshold from 0 to 1, found {threshold}")
    checked = checked_table(table, PATIENT_COLUMNS)
    for column in ("modality", "stage"):
        found = sorted(checked[column].unique())
        if len(found) > 1:
            raise EvaluationError(
                f"predictions, column {column}: expected one {column} to pool, found {', '.join(found)}; "
                "select one first"
            )
    test = checked[checked["split"] == "test"]
    if not len(test):
        splits = ", ".join(sorted(checked["split"].unique())) or "no row"
        raise EvaluationError(
            f"predictions, column split: expected rows of split test to judge, found {splits}; "
            "add the predictions for the test patients"
        )
    if threshold is None:
        chosen = _thresholds(checked[checked["split"] == "validation"], test)
        test = test.assign(threshold=[chosen[model] for model in _models(test)])
    else:
        test = test.assign(threshold=float(threshold))
    pooled = test.groupby("patient_id", sort=True).agg(
        label=("label", "first"),
        probability=("probability", _mean),
        threshold=("threshold", _mean),
        n_models=("label", "size"),
    )
    pooled["probability"] = pooled["probability"].round(DIGITS)
    return pooled.reset_index()[list(POOLED_COLUMNS)].astype({"label": "int64", "n_models": "int64"})


def control_scores(table: pd.DataFrame) -> pd.Series:
    """A control's probability by test patient.

    Rounded: of blank images every slice gets the same probability but for the last digits, which depend on how many
    slices are averaged, and would then be told apart by the number of slices. One that is constant in each model is
    constant: folds' models differ by the labels that they were trained on, which is no news of a patient.

    Args:
        table: As `pool` takes it.

    Returns:
        By ``patient_id``.

    Raises:
        EvaluationError: As `pool`.
    """
    found = pool(table, 0.0).set_index("patient_id")["probability"].round(CONTROL_DIGITS)
    test = table[table["split"] == "test"].assign(probability=lambda rows: rows["probability"].round(CONTROL_DIGITS))
    of_model = test.groupby(["fold", "seed"])["probability"].agg(["size", "nunique"])
    several = of_model[of_model["size"] > 1]  # of one patient nobody knows
    constant = len(several) > 0 and bool((several["nunique"] == 1).all())
    return pd.Series(float(found.iloc[0]), index=found.index) if constant else found


def folds_of_test(table: pd.DataFrame, patients: pd.Series) -> pd.Series:
    """The fold whose models tested each patient: of several repeats and seeds that of the first.

    Args:
        table: As `pool` takes it.
        patients: Their identifiers, such as `pool` returns them.

    Returns:
        Whole numbers in the patients' order.
    """
    test = table[table["split"] == "test"].sort_values(["seed", "fold"])
    return test.groupby("patient_id")["fold"].first().loc[patients.to_numpy()].reset_index(drop=True)


def seeds_as_folds(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with the seed's number as the fold's where seeds are folds: they test other patients each.

    Seeds train on the same patients and test the same ones. Where a fold's seeds do not (a patient is tested by one and
    trained on by another, or a patient is tested by half of them or fewer), each is a split of its own.

    Args:
        table: As `pool` takes it, checked.
    """
    test = table[table["split"] == "test"]
    if test.groupby("seed")["patient_id"].agg(frozenset).nunique() < 2:  # one seed, or each deals folds of its own
        return table
    by_fold = ["fold", "patient_id"]
    n_seeds = test.groupby("fold")["seed"].nunique()
    tested = test.groupby(by_fold).size()
    trained = table[table["split"] != "test"].groupby(by_fold).size()
    half = (tested.groupby("fold").mean() <= n_seeds / 2) & (n_seeds > 1)
    if not half.any() and not tested.index.isin(trained.index).any():
        # Each fold a seed of its own: no patient is tested by two, and there is no average.
        return table.assign(seed=0) if n_seeds.max() == 1 else table
    number = pd.factorize(pd.Series(list(zip(table["seed"], table["fold"], strict=True))), sort=True)[0]
    return table.assign(fold=number, seed=0, seeds_as_folds=True)


def untold(table: pd.DataFrame) -> float:
    """The share of predictions that a design of folds and seeds would have and the table has not.

    Models, by seed and fold, test every patient in turn: each all of them, or several their parts of them. A patient
    whom none of such a round has tested or learnt from may have been left out for the prediction.

    Args:
        table: As `pool` takes it.

    Returns:
        From 0 to 1.

    Example:
        >>> rows = {"patient_id": [*"abab"], "seed": [0, 0, 1, 1], "fold": 0, "split": "test"}
        >>> untold(pd.DataFrame(rows)), untold(pd.DataFrame(rows).iloc[:3])
        (0.0, 0.25)
    """
    every = set(table.loc[table["split"] == "test", "patient_id"])
    rounds: list[tuple[set[str], set[str]]] = []
    for _, of in table.groupby(["seed", "fold"]):
        tested, known = set(of.loc[of["split"] == "test", "patient_id"]), set(of["patient_id"])
        if not rounds or tested & rounds[-1][0]:
            rounds.append((tested, known))
        else:
            rounds[-1] = (rounds[-1][0] | tested, rounds[-1][1] | known)
    return sum(len(every - known) for _, known in rounds) / max(1, len(rounds) * len(every))


def _thresholds(validation: pd.DataFrame, test: pd.DataFrame) -> dict[tuple[int, int], float]:
    """Each testing model's threshold, by fold and seed."""
    of_model = dict(list(validation.groupby(["fold", "seed"])))
    chosen = {}
    for fold, seed in sorted(set(_models(test))):
        seen = of_model.get((fold, seed), validation.iloc[:0])
        value = youden_threshold(seen["label"], seen["probability"]) if len(seen) else math.nan
        if math.isnan(value):
            found = f"{len(seen)}, all {CLASS_NAMES[seen['label'].iloc[0]]}" if len(seen) else "none"
            raise EvaluationError(
                f"predictions, fold {fold}, seed {seed}: expected validation patients of both classes to choose a "
                f"threshold on, found {found}; add them as rows of split validation, or give a threshold"
            )
        chosen[(fold, seed)] = value
    return chosen


def _models(table: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(table["fold"].tolist(), table["seed"].tolist(), strict=True))


def _mean(values: pd.Series) -> float:
    # fsum: a rounded sum must not push the mean of models that all say 1.0 above 1.
    return math.fsum(values) / len(values)
