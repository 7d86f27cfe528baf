"""``metadata.json``: what MONAI asks of a bundle, and what this one was trained on and reached."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from mgmt_monai.cohort.files import background
from mgmt_monai.cohort.files.geometry import SPACING_TOLERANCE
from mgmt_monai.cohort.patients import FUSION, fused_modalities
from mgmt_monai.exchange.configs import inference_config
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.run_source import STAGES, Source
from mgmt_monai.packaged_configs import packaged_config
from mgmt_monai.training.origin import MADE

FIGURES = {
    "auc": "auc",
    "accuracy": "accuracy",
    "sensitivity": "recall",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "f1",
}
"""Figures under the names that radiology gives them, and those they have in ``metrics.json``."""

INTENDED_USE = "Research only. Not for diagnosis or treatment, and not for any other clinical use."

FIT = {"keep": "padded to a square", "squash": "squashed to a square"}
"""How a field of view that is not square becomes one, by ``aspect``."""

#: What trained the model is told where it is not known at the export.
_NOT_SAID = "Not said by whoever exported this bundle."


def make_metadata(source: Source, name: str, requirements: Sequence[str], data_source: str = "") -> dict[str, Any]:
    """The metadata of a bundle.

    Args:
        source: The run.
        name: The bundle's.
        requirements: Distributions that its code needs beside MONAI, PyTorch and NumPy.
        data_source: What it was trained on, in words; empty where nobody says.

    Returns:
        What MONAI's schema of 2024-07-25 takes, and `evaluation_of` and `training_of` the run.

    Raises:
        ExchangeError: The run's figures lack the exported stage.
    """
    made, settings = packaged_config("metadata"), inference_config(source.config)
    modalities = source.modality == FUSION and ", ".join(fused_modalities(settings["modalities"]))
    series = f"one {source.modality} series"
    if modalities:
        series = f"a patient's series, whichever are there of {modalities},"
    modality = (modalities and f"any of {modalities}") or source.modality
    made |= {
        "name": name,
        "monai_version": _public_version("monai"),
        "pytorch_version": _public_version("torch"),
        "numpy_version": _public_version("numpy"),
        "required_packages_version": {package: _public_version(package) for package in requirements},
        "description": (
            f"Classifies MGMT promoter methylation of glioblastoma from the middle slices of {series} of brain "
            f"MRI.{one_of_many(source.config) and ' '}{one_of_many(source.config)}"
        ),
        "data_source": " ".join(part for part in (source.origin, data_source) if part) or _NOT_SAID,
        "data_type": "DICOM or NIfTI",
        "image_classes": f"one slice of {modality}, scaled to [0, 1], {FIT[settings['aspect']]}",
        "intended_use": INTENDED_USE,
    }
    evaluation = evaluation_of(source)
    made["eval_metrics"] = {
        name: evaluation[name]["value"] for name in FIGURES if evaluation[name]["value"] is not None
    }
    size = int(settings["image_size"])
    made["network_data_format"]["inputs"]["image"]["spatial_shape"] = [size, size]
    made["preprocessing"] = preprocessing_of(settings)
    if modalities:
        made["preprocessing"][-1]["rule"] = _FUSION
    made["evaluation"] = evaluation
    made["training"] = training_of(source)
    return made


def one_of_many(config: Mapping[str, Any]) -> str:
    """What a bundle says of itself where what was judged is more than it; "" of a training by itself."""
    fold = "" if config.get("fold") is None else f", fold {config['fold']}"
    if config.get("parent_run_id"):
        one = "one training of a comparison", "the comparison's report judges"
    elif fold:
        one = "one training of a cross-validation", "a cross-validation judges"
    else:
        return ""
    return (
        f"It is {one[0]} (seed {config['seed']}{fold}): {one[1]} all folds and seeds together, of several seeds their "
        "average, an ensemble; the figures here are this training's own."
    )


def what_it_learnt(source: Source) -> str:
    """That the exported stage has not learnt, or is a plain model; "" where a network learnt, or nobody noted it."""
    learning = {stage: of["learning"] for stage, of in source.metrics.items() if "learning" in of}
    until = STAGES[: STAGES.index(source.stage) + 1] if source.stage in STAGES else ()
    said = []
    if all(learning.get(stage, {}).get("best_epoch") == 0 for stage in until):
        said.append("It is a plain model: a logistic regression on the features of the frozen network.")
    if sentence := learning.get(source.stage, {}).get("sentence"):
        said.append(f"{sentence[0].upper()}{sentence[1:]}.")
    return " ".join(said)


def preprocessing_of(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is done with a series before the network and after it, each step with its numbers, in their order.

    Of a series in its native plane they are all that it takes to give the bundle's probability from the ONNX file.
    """
    size, fraction = int(settings["image_size"]), settings["slice_fraction"]
    slices = {"step": "slices", "fraction": fraction, "rule": _MIDDLE}
    if settings["plane"] != "native":
        slices |= {"plane": settings["plane"], "reformatted": _REFORMATTED}
    percentiles = {key: settings[key] for key in ("lower_percentile", "upper_percentile")}
    pad = [{"step": "pad", "value": 0, "rule": _PAD}] if settings["aspect"] == "keep" else []
    return [
        slices,
        {"step": "read", "spacing_tolerance": SPACING_TOLERANCE, "rule": _READ, "nifti": _NIFTI},
        {"step": "scale", **percentiles, "minimum": 0, "maximum": 1, "background": _BACKGROUND, "rule": _SCALE},
        *pad,
        {"step": "resize", "size": [size, size], "mode": "bilinear", "align_corners": False, "rule": _RESIZE},
        {"step": "round", "dtype": "float16", "rule": "Rounded to float16; the network computes in float32."},
        {"step": "network", "computed_in": "float32", "rule": _NETWORK},
    ]


#: The numbers of `_SCALE`, as the reader of the series has them.
_BACKGROUND = {
    name: getattr(background, name.upper())
    for name in (
        "edge_share", "lowest_share", "zero_share", "few_zeros_share", "zero_times", "mask_share", "mask_least",
        "mask_gap", "weight_below",
    )
}  # fmt: skip

#: The rules of `preprocessing_of`, as the transforms of the chain keep them.
_MIDDLE = (
    "The slices in the order of their positions along the normal (row direction x column direction). Of n, "
    "k = max(1, floor(fraction * n + 0.5)) are kept, from number (n - k) // 2 on, counted from 0. Nothing else is used."
)
_REFORMATTED = (
    "The volume is permuted and flipped to this plane first and its pixels are made square: transforms.reformat in "
    "scripts has the rule."
)
_READ = (
    "Stored value * RescaleSlope + RescaleIntercept of its own slice, float32; MONOCHROME1 inverted; padding, and NaN"
    " in slices whose edge is NaN to a half at least, take the lowest of the other values."
)
_NIFTI = (
    "scl_slope and scl_inter are applied. The slices lie across the stored axis whose spacing differs from both others "
    "by more than a share spacing_tolerance of the larger; if all do, across that of the largest; if none does, across "
    "slice_dim of dim_info, and without one across the axis nearest to superior. The plane is that of the body's axis "
    "nearest to theirs. Axes are permuted and flipped to the nearest of the body, never resampled. Axial: columns run "
    "to the left, rows to posterior, slices to superior; coronal: left, inferior, posterior; sagittal: posterior, "
    "inferior, right. The slices are counted along that direction."
)
_SCALE = (
    "Of all kept slices together. Edge: the outermost rows and columns of each slice. A set of edge values is filled "
    "by its value number n // 2 of n, sorted and counted from 0, if a share edge_share of them has it. Zeros stand "
    "out of values if a share zero_share of them is exactly 0, or few_zeros_share, zero_times as many as have the "
    "least value above 0 and as have the greatest below. L is the lowest value. (1) L is a mask if it is below 0, if "
    "the next value is mask_gap of the whole range above it, and if a share mask_share and mask_least pixels have it."
    " Then, L left out of edge and values: the background is what fills the edge, if a share lowest_share of it is "
    "left; else 0, if zeros stand out; else it is L, which is no mask. (2) Without a mask: it is what fills the edge,"
    " if a share of it below lowest_share is L, or if 0 fills it and L is below 0; else L, if such a share is L; else"
    " 0, if L is below 0 and zeros stand out; else L. (3) Tissue lies below a background by another rule than 'it is "
    "L' if the distances to it of the values below sum up to weight_below of those above, L left out if it is a mask "
    "or has lowest_share of the edge. Then the foreground is all but the background and a mask, and the background "
    "becomes 0; else it is what lies above. All shares: at least. lo and hi are the two percentiles of the "
    "foreground, interpolated linearly between order statistics; where they coincide lo is the background. x = (x - "
    "lo) / (hi - lo), cut to 0 and 1; a constant volume is 0."
)
_PAD = (
    "The shorter side of each slice, in mm, gets the value on both ends until the field of view is a square: rows = "
    "round(max(1, width / height) * rows), likewise columns; the odd one at the far end."
)
_RESIZE = (
    "Where a side shrinks, first a Gaussian along both: standard deviation max(0, (before / after - 1) / 2) pixels, "
    "each weight the integral of the Gaussian over its pixel, cut off at int(max(4 * deviation, 0.5) + 0.5) pixels, 0 "
    "outside. Then linear along both sides, at ((i + 0.5) * before / after - 0.5), held within the image."
)
_FUSION = (
    "One logit a patient, of all slices of all series: networks.fusion in scripts has the rule. The probability is "
    "1 / (1 + exp(-logit))."
)
_NETWORK = "One logit a slice; the probability of the series is the mean over its slices of 1 / (1 + exp(-logit))."


def evaluation_of(source: Source) -> dict[str, Any]:
    """What the exported stage reached on the run's own test patients.

    Returns:
        ``stage``, ``n``, ``n_methylated``, ``level``, ``threshold``; for each of `FIGURES` its ``value``, ``low`` and
        ``high``, None where undefined.

    Raises:
        ExchangeError: The run's figures lack this stage.
    """
    try:
        test = source.metrics[source.stage]["test"]
        figures = test["patient"]
        return {
            "stage": source.stage,
            "n": int(figures["auc"]["n"]),
            "n_methylated": int(figures["recall"]["n"]),
            "level": test["level"],
            "threshold": test["threshold"],
            **{
                ours: {part: figures[theirs][part] for part in ("value", "low", "high")}
                for ours, theirs in FIGURES.items()
            },
        }
    except (KeyError, TypeError) as error:
        raise ExchangeError(
            f"metrics.json: expected the test patients' figures of {source.stage}, found none ({error}). Train again."
        ) from error


def training_of(source: Source) -> dict[str, Any]:
    """What the model was trained on and with: numbers and names of packages, nobody's identity."""
    config: Mapping[str, Any] = source.config
    made: dict[str, Any] = {
        "made_cohort": source.origin.startswith(MADE),
        **source.heads,
        "patients": source.counts,
        "manifest_hash": source.manifest_hash,
        "seed": config["seed"],
        "initial_weights": source.weights,
        "backbone": config["backbone"],
        "software": source.software,
    }
    if config.get("fold") is not None:
        made["fold"] = {key: config.get(key) for key in ("repeat", "fold", "inner_fold")}
    if said := one_of_many(config):
        made["one_of_many"] = said
    if said := what_it_learnt(source):
        made["learnt"] = said
    if source.run_id:
        made["mlflow_run_id"] = source.run_id
    return made


def _public_version(package: str) -> str:
    """Without what a local build adds to it."""
    return version(package).partition("+")[0]
