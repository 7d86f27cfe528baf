"""Negative controls that see no pixel: forests that predict from headers or geometry, on the model's own splits."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mgmt_monai.cohort.features import Features, geometry_features, header_features
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.splits.plans import of_fold
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS

N_TREES = 500
"""A probability is a mean over the trees: with so many, its standard error is at most sqrt(0.25 / 500) = 0.022."""

STAGE = "forest"
"""Stands in the predictions tables where a training's stage would."""

SEED = 0
"""Of the forests. They are controls of all the trainings of a comparison, whatever their seeds, and are not tuned."""


def predict_from_features(
    features: Mapping[str, Mapping[str, float | str]], labels: Mapping[str, int], split: Mapping[str, str], seed: int
) -> dict[str, float]:
    """What a random forest, fitted on the training patients alone, says of the validation and test patients.

    Every tree is grown until its leaves hold one class, and two thirds of the trees have seen a given training patient:
    a patient whose features are a copy of a training patient's is put on that one's side.

    Args:
        features: By patient, by name: numbers (``nan`` where missing) and text. A patient or feature that is not there
            counts as missing; so does a text that no training patient has. A feature that has numbers and texts is
            taken as one of each.
        labels: By patient, 0 or 1.
        split: By patient, ``train``, ``validation`` or ``test``.
        seed: Of the forest.

    Returns:
        Probability of methylation by patient. Without features, or with training patients of one class, it is the share
        of methylated patients in training, for all.

    Raises:
        ComparisonError: There is no training patient.

    Source:
        L. Breiman, Random Forests, Machine Learning 45 (2001), as scikit-learn's ``RandomForestClassifier`` has it.
    """
    training = sorted(patient for patient, of in split.items() if of == "train")
    others = sorted(patient for patient, of in split.items() if of != "train")
    if not training:
        raise ComparisonError(
            "features: expected training patients to fit a forest on, found none. Split the cohort anew."
        )
    target = np.array([labels[patient] for patient in training])
    table = _table(features, [*training, *others])
    if table.empty or not others or len(set(target.tolist())) == 1:
        return dict.fromkeys(others, float(target.mean()))
    forest = _forest(seed).fit(table.loc[training], target)
    probabilities = forest.predict_proba(table.loc[others])[:, 1]
    return dict(zip(others, map(float, probabilities), strict=True))


def feature_control_predictions(
    manifest: Manifest, data_dir: Path, modality: str, seen: Sequence[str], n_folds: int | None, n_repeats: int
) -> dict[str, pd.DataFrame]:
    """Patient tables of the controls ``header_tags`` and ``geometry``, on every fold, numbered over all repeats.

    Args:
        manifest: The patients.
        data_dir: Where their files are.
        modality: As the tables name it.
        seen: The modalities whose series tell the features; a patient takes part with any of them.
        n_folds: None for the hold-out split.
        n_repeats: Of the folds.

    Raises:
        CohortError: The manifest has no such folds.
    """
    controls = {
        "header_tags": _together({each: header_features(manifest, data_dir, each) for each in seen}),
        "geometry": _together({each: geometry_features(manifest, each) for each in seen}),
    }
    parts = [(0, manifest)]
    if n_folds is not None:
        parts = [
            (repeat * n_folds + fold, of_fold(manifest, repeat, fold, None))
            for repeat, fold in product(range(n_repeats), range(n_folds))
        ]
    return {
        name: pd.concat(
            [_predictions(features, part, modality, seen, number) for number, part in parts], ignore_index=True
        )
        for name, features in controls.items()
    }


def _predictions(
    features: Mapping[str, Mapping[str, float | str]], manifest: Manifest, modality: str, seen: Sequence[str], fold: int
) -> pd.DataFrame:
    patients = {
        patient.patient_id: patient for patient in manifest.patients if not patient.series.keys().isdisjoint(seen)
    }
    found = predict_from_features(
        features,
        {patient_id: patient.label for patient_id, patient in patients.items()},
        {patient_id: patient.split for patient_id, patient in patients.items()},
        SEED,
    )
    rows = [
        {
            "patient_id": patient_id,
            "modality": modality,
            "stage": STAGE,
            "split": patients[patient_id].split,
            "fold": fold,
            "seed": SEED,
            "label": patients[patient_id].label,
            "probability": probability,
            "n_slices": sum(s.n_slices for name, s in patients[patient_id].series.items() if name in seen),
        }
        for patient_id, probability in found.items()
    ]
    return pd.DataFrame(rows, columns=list(PATIENT_COLUMNS))


def _together(of: Mapping[str, Features]) -> Features:
    """The features of several modalities' series, each named by its modality too."""
    found: Features = {}
    for modality, features in of.items():
        for patient, values in features.items():
            found.setdefault(patient, {}).update({f"{modality}, {name}": value for name, value in values.items()})
    return found


def _table(features: Mapping[str, Mapping[str, float | str]], patients: list[str]) -> pd.DataFrame:
    """One row a patient; for each feature a column of its numbers, of its texts, or both, as any patient has them."""
    names = sorted({name for patient in patients for name in features.get(patient, {})})
    columns: dict[str, list[float] | list[str]] = {}
    for name in names:
        values = [features.get(patient, {}).get(name, "") for patient in patients]
        texts = [value if isinstance(value, str) else "" for value in values]
        if any(texts):
            columns[f"{name}, text"] = texts
        if not all(isinstance(value, str) for value in values):
            columns[f"{name}, number"] = [math.nan if isinstance(value, str) else float(value) for value in values]
    return pd.DataFrame({name: pd.Series(column, index=patients) for name, column in columns.items()}, index=patients)


def _forest(seed: int) -> Pipeline:
    numbers = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (texts, make_column_selector(dtype_exclude="number"))
    )
    # Every feature is tried at every split, so that one tag that tells the label is never passed over by chance.
    forest = RandomForestClassifier(n_estimators=N_TREES, max_features=None, random_state=seed, n_jobs=1)
    return make_pipeline(columns, forest)
