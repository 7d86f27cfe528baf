"""The model card of a bundle: what the model is for, what it reached and what that means, in plain words."""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from mgmt_monai.comparison.report.wording import figure, number
from mgmt_monai.exchange.known_figures import worth
from mgmt_monai.exchange.metadata import FIT

_NAMES = {"auc": "AUC", "f1": "F1"}
_NO_REFERENCE = (
    "It does not know what its training data looked like: it answers for any picture, also for one that is no brain."
)
_REFERENCE = (
    "What its training data looked like is in `models/reference.safetensors`; only `mgmt-monai predict` asks it. "
    "MONAI's own commands answer for any picture, also for one that is no brain."
)


def model_card(
    metadata: Mapping[str, Any], settings: Mapping[str, Any], has_reference: bool, formats: Sequence[str]
) -> str:
    """The card as Markdown; ``formats`` are the files in ``models`` beside the network's state."""
    text = (resources.files("mgmt_monai.exchange") / "data" / "model_card.md.j2").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    evaluation, training = metadata["evaluation"], metadata["training"]
    environment.filters["figure"] = figure
    return environment.from_string(text).render(
        {**settings, **metadata, **training, **evaluation},
        fit=FIT[settings["aspect"]],
        slice_share=f"{100 * settings['slice_fraction']:g}",
        splits=[_split(name, training["patients"].get(name)) for name in ("train", "validation", "test")],
        fold=_fold(training.get("fold")),
        first_of_all=[training[key] for key in ("one_of_many", "learnt") if key in training],
        level=f"{100 * evaluation['level']:g}",
        threshold=f"{evaluation['threshold']:g}",
        figures=[_row(name, value) for name, value in evaluation.items() if isinstance(value, Mapping)],
        meaning=worth({**evaluation, "made_cohort": training.get("made_cohort")})[1],
        abstention=_REFERENCE if has_reference else _NO_REFERENCE,
        requirements=_requirements(metadata),
        formats=", ".join(f"`{name}`" for name in formats),
    )


def _row(name: str, value: Mapping[str, float | None]) -> dict[str, str]:
    low, high = value["low"], value["high"]
    return {
        "name": _NAMES.get(name, name),
        "value": number(value["value"]),
        "interval": "undefined" if low is None or high is None else f"{low:.2f}-{high:.2f}",
    }


def _split(name: str, counts: Mapping[str, int] | None) -> dict[str, str | int]:
    if counts is None:
        return {"split": name, **dict.fromkeys(("patients", "methylated", "unmethylated"), "not recorded")}
    return {"split": name, "patients": sum(counts.values()), **counts}


def _fold(fold: Mapping[str, int | None] | None) -> str:
    if fold is None:
        return ""
    named = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in fold.items() if number is not None)
    return f", of which {named}"


def _requirements(metadata: Mapping[str, Any]) -> str:
    base = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    pinned = [f"{package}=={metadata[key]}" for package, key in base.items()]
    return " ".join(
        [*pinned, *(f"{name}=={version}" for name, version in metadata["required_packages_version"].items())]
    )
