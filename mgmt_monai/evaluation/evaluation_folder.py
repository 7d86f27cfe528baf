"""The evaluation of models as files: figures and comparisons as JSON and CSV, and each model's pictures."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd

from mgmt_monai.atomic import check_replaceable, holds_text, write_text
from mgmt_monai.csv_file import csv_text
from mgmt_monai.errors import why
from mgmt_monai.evaluation.external import external
from mgmt_monai.evaluation.model_pictures import model_pictures
from mgmt_monai.evaluation.models import best_of_models, comparisons, judged, primary_models
from mgmt_monai.evaluation.plots.picture_files import save_figure
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.subgroups import interactions, subgroups
from mgmt_monai.evaluation.verdict import BOUND

SCHEMA = "mgmt-monai/evaluation/1"

RESULT = "evaluation.json"
"""In the evaluation's folder."""

LONGEST_NAME = 80
"""Of a folder, in characters: well below what any file system takes."""


def picture_folders(names: Sequence[str]) -> dict[str, str]:
    """A folder for each model's pictures: a name that every system takes, and no other model has.

    Example:
        >>> picture_folders(["T1w fine_tune", "t1w-Fine_Tune"])
        {'T1w fine_tune': 'T1w-fine_tune', 't1w-Fine_Tune': 't1w-Fine_Tune-2'}
    """
    folders: dict[str, str] = {}
    for name in names:
        wanted = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:LONGEST_NAME] or "model"
        taken = {folder.casefold() for folder in folders.values()}
        others = (f"{wanted}-{number}" for number in count(2))
        folders[name] = (
            wanted if wanted.casefold() not in taken else next(o for o in others if o.casefold() not in taken)
        )
    return folders


def nested_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Rows of nested JSON as CSV: a value inside another is named ``outer.inner``.

    Args:
        rows: Such as a report's ``candidates``.

    Returns:
        CSV with a header; an empty line where there is no row. What is undefined is empty.

    Example:
        >>> nested_csv([{"name": "a", "n": 3, "auc": {"value": 0.5, "low": None}}, {"name": "b", "n": None}])
        'name,n,auc.value,auc.low\na,3,0.5,\nb,,,\n'
    """
    # Row by row and as objects: a column of whole numbers in which one is missing would become one of floats.
    flat = [pd.json_normalize(dict(row)).to_dict("records")[0] for row in rows]
    table = pd.DataFrame(flat, dtype=object)
    return csv_text(list(table.columns), table.itertuples(index=False)) if flat else "\n"


def write_evaluation(
    rows: Mapping[str, pd.DataFrame], models: Mapping[str, pd.DataFrame], folder: Path, columns: pd.DataFrame,
    site: str = "", controls: Sequence[str] = (), bound: float = BOUND, level: float = 0.95, seed: int = 0,
    notes: Sequence[str] = (), not_learnt: Mapping[str, str] | None = None, primary: Sequence[str] = (),
    overwrite: bool = False, trained_on: Sequence[str] = (), clinical: Sequence[str] = (),
    developed: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Judge models and write what is found.

    Args:
        rows: By name, as :func:`mgmt_monai.evaluation.model_rows.read_rows` returns them.
        models: One row a test patient each, as :func:`mgmt_monai.evaluation.model_rows.pool_models` returns them.
        folder: Made if absent; files of the same evaluation in it are replaced.
        columns: Text by patient (the index) and column, for sites and subgroups; without a column: none.
        site: As :func:`mgmt_monai.evaluation.models.judged` takes it.
        controls: As :func:`mgmt_monai.evaluation.models.judged` takes it.
        bound: As :func:`mgmt_monai.evaluation.models.judged` takes it.
        level: Of every interval.
        seed: Of resampling and permutation.
        notes: As :func:`mgmt_monai.evaluation.models.judged` takes it.
        not_learnt: As :func:`mgmt_monai.evaluation.model_rows.not_learnt` returns it.
        primary: As :func:`mgmt_monai.evaluation.models.judged` takes it.
        clinical: As :func:`mgmt_monai.evaluation.models.judged` takes it.
        overwrite: Whether files of another evaluation are replaced too.
        trained_on: As :func:`mgmt_monai.evaluation.model_rows.trained_on` returns it.
        developed: As :func:`mgmt_monai.evaluation.external.developments` returns it.

    Returns:
        What ``evaluation.json`` has: ``models`` (by name, as :func:`mgmt_monai.evaluation.models.judged`, and
        ``external`` of bundles, as :func:`mgmt_monai.evaluation.external.external`),
        ``best_of`` (as :func:`mgmt_monai.evaluation.models.best_of_models`), ``not_learnt``,
        ``trained_on``, ``comparisons``, ``subgroups``.

    Raises:
        EvaluationError: As :func:`mgmt_monai.evaluation.models.judged`, another evaluation is there, or the folder
            cannot be written to.
    """
    folders = picture_folders(list(models))
    compared = comparisons(models, level)
    candidates = [name for name in models if name not in controls]
    compete = primary_models(rows, candidates, primary) or candidates
    groups = {name: subgroups(pooled, columns, level, site) for name, pooled in models.items()}
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "models": judged(rows, models, columns, site, controls, bound, level, seed, notes, primary, clinical),
        "best_of": best_of_models({name: models[name] for name in compete}, seed),
        "not_learnt": dict(not_learnt or {}),
        "trained_on": list(trained_on),
        "comparisons": compared,
        "interactions": [
            {**row, "model": name} for name, of_model in groups.items() for row in interactions(of_model, level)
        ],
        "subgroups": [
            {**group_row, "model": name}
            for name, of_model in groups.items()
            for group_row in (group.as_json() for group in of_model)
        ],
    }
    for name, of in (developed or {}).items():
        pooled = models[name]
        found["models"][name]["external"] = external(pooled["label"], pooled["probability"], of, level, seed)
    figures = [
        {"model": name, **of_model, "verdict": (of_model["verdict"] or {}).get("state", "control")}
        for name, of_model in found["models"].items()
    ]
    text, path = json.dumps(found, indent=2, allow_nan=False) + "\n", folder / RESULT
    check_replaceable(path, holds_text(path, text), overwrite, EvaluationError)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        write_text(folder / "figures.csv", nested_csv(figures))
        write_text(folder / "comparisons.csv", nested_csv(compared))
        write_text(folder / "subgroups.csv", nested_csv(found["subgroups"]))
        for name, pooled in models.items():
            pictures = folder / folders[name]
            pictures.mkdir(exist_ok=True)
            for old in pictures.glob("*.*g"):  # an earlier evaluation's PNG and SVG
                old.unlink()
            for title, figure in model_pictures(
                pooled, groups[name], level, seed=seed, within=found["models"][name]["within_site"]
            ):
                save_figure(figure, pictures, title)
    except OSError as error:
        raise EvaluationError(f"{folder}: cannot be written to ({why(error)}); name another with --out") from error
    return found
