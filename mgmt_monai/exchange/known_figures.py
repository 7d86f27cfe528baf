"""What a bundle says its model reached on its own test patients, read so that nothing but figures comes through."""

import math
from collections.abc import Mapping
from typing import Any

from mgmt_monai.errors import printable
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.training.origin import MADE

FIGURES = ("auc", "accuracy", "sensitivity", "specificity")
"""Those with an interval that are read, where they are there."""

CHANCE = 0.5
"""The AUC of a model that knows nothing."""

_SHARES = ("level", "threshold")
_COUNTS = ("n", "n_methylated")
_TEXT_LIMIT, _ORIGIN_LIMIT = 100, 400


def known_figures(metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object ``evaluation`` of a bundle's metadata, and what the model was trained on.

    Returns:
        ``stage``, ``level``, ``threshold``, ``n``, ``n_methylated``; and of `FIGURES` a dict each of ``value``,
        ``low``, ``high``: 0 to 1, None where undefined, the value within its interval; ``trained_on``, in words, with
        whether it is one of many and what it learnt, and ``made_cohort``, whether that was a phantom. What is not there
        has no key.

    Raises:
        ExchangeError: A part is of another kind or out of range.
    """
    given = metadata.get("evaluation")
    read = _origin(metadata)
    if given is None:
        return read
    if not isinstance(given, Mapping):
        raise _error(name, "evaluation", "an object", given)
    if "stage" in given:
        read["stage"] = printable(str(given["stage"]))[:_TEXT_LIMIT]
    for key in _SHARES:
        if key in given:
            if not _is_share(given[key]):
                raise _error(name, key, "a number from 0 to 1", given[key])
            read[key] = float(given[key])
    for key in _COUNTS:
        if key in given:
            if type(given[key]) is not int or given[key] < 0:
                raise _error(name, key, "a whole number from 0", given[key])
            read[key] = given[key]
    for key in FIGURES:
        if key in given:
            read[key] = _figure(name, key, given[key])
    return read


def worth(evaluation: Mapping[str, Any]) -> tuple[str, str]:
    """What a model's own test, as `known_figures` gives it, says of its numbers.

    Returns:
        ``made``, ``unknown``, ``none``, ``wrong`` or ``some``, and a sentence.

    Example:
        >>> worth({"auc": {"value": 0.61, "low": 0.38, "high": 0.8}})[0]
        'none'
    """
    if evaluation.get("made_cohort"):
        return "made", (
            "The model was trained and tested on a made cohort: its numbers and figures say nothing about patients."
        )
    auc = evaluation.get("auc")
    if auc is None or None in (auc["value"], auc["low"], auc["high"]):
        return "unknown", "The AUC or its interval is not known, so the model's numbers cannot be judged."
    if auc["low"] <= CHANCE <= auc["high"]:
        return "none", (
            "The interval of the AUC holds 0.5, which is chance: there is no evidence that the model tells methylated "
            "from unmethylated tumours."
        )
    if auc["high"] < CHANCE:
        return "wrong", (
            "The interval of the AUC lies below 0.5: on its own test patients the model gave methylated tumours lower "
            "numbers. Do not use it."
        )
    return "some", (
        "The interval of the AUC lies above 0.5: on patients like those it was tested on, the model does better than "
        "chance. That says nothing about another hospital or scanner, and does not rule out a shortcut."
    )


def _origin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A bundle of an earlier version says in words alone that its cohort was a made one."""
    text, training = metadata.get("data_source"), metadata.get("training")
    if not isinstance(text, str) or not text:
        return {}
    training = training if isinstance(training, Mapping) else {}
    said = [text, *(of for of in (training.get("one_of_many"), training.get("learnt")) if isinstance(of, str))]
    return {
        "trained_on": " ".join(printable(part)[:_ORIGIN_LIMIT] for part in said),
        "made_cohort": training.get("made_cohort") is True or text.startswith(MADE),
    }


def _figure(name: str, key: str, given: object) -> dict[str, float | None]:
    if not isinstance(given, Mapping):
        raise _error(name, key, "value, low and high", given)
    figure = {part: given.get(part) for part in ("value", "low", "high")}
    if any(part is not None and not _is_share(part) for part in figure.values()):
        raise _error(name, key, "value, low and high from 0 to 1", figure)
    value, low, high = (None if part is None else float(part) for part in figure.values())
    if None not in (value, low, high) and not low <= value <= high:  # type: ignore[operator]
        raise _error(name, key, "a value within its interval", figure)
    return {"value": value, "low": low, "high": high}


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


def _error(name: str, key: str, expected: str, found: object) -> ExchangeError:
    shown = printable(repr(found))[:_TEXT_LIMIT]
    return ExchangeError(
        f"{name}: configs/metadata.json: evaluation: {key}: expected {expected}, found {shown}. Export it again."
    )
