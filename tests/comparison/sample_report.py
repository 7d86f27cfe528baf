"""A comparison's report as a run of the paper's plan with five folds would leave it, for the tests of its pages."""

from __future__ import annotations

import copy
from typing import Any

NETWORKS = ["alexnet", "mobilenet-v2", "resnet-10", "resnet-50", "efficientnet-b0", "efficientnet-b3"]
MODALITIES = ["FLAIR", "T1w", "T1wCE", "T2w"]


def estimate(value: float | None, half: float = 0.04, n: int = 582) -> dict[str, Any]:
    ends = {"low": None, "high": None} if value is None else {"low": value - half, "high": value + half}
    return {"value": value, **ends, "n": n}


def candidate(network: str, modality: str, stage: str, auc: float, chosen: bool = False) -> dict[str, Any]:
    apart = {"value": auc - 0.6, "low": auc - 0.66, "high": auc - 0.54, "p": 0.02, "p_holm": 0.31}
    return {
        "network": network,
        "modality": modality,
        "stage": stage,
        "validation_auc": auc + 0.013,
        "auc": estimate(auc),
        "accuracy": estimate(auc - 0.03),
        "auc_difference": None if chosen else apart,
        "chosen": chosen,
    }


def training(network: str, modality: str, control: str, fold: int) -> dict[str, Any]:
    middle = [] if control == "none" else [control]
    return {
        "name": "-".join([network, modality.lower(), *middle, "repeat0", f"fold{fold}", "seed0"]),
        "network": network,
        "modality": modality,
        "control": control,
        "repeat": 0,
        "fold": fold,
        "seed": 0,
        "weights": "imagenet" if network.startswith("efficientnet") else "none",
        "pretrained": network.startswith("efficientnet"),
        "status": "finished",
        "run_id": f"{fold:032x}",
    }


KINDS = [(network, "T1w") for network in NETWORKS] + [("efficientnet-b0", name) for name in MODALITIES if name != "T1w"]
AUCS = [0.52, 0.49, 0.53, 0.51, 0.6, 0.55, 0.57, 0.54, 0.5]

_REPORT: dict[str, Any] = {
    "schema": "mgmt-monai/comparison-report/1",
    "comparison": {
        "name": "RSNA-MICCAI 2021, the paper's plan",
        "created": "2026-03-01T12:00:00Z",
        "mgmt_monai": "0.3.0",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "versions": {
            "python": "3.11.9",
            "torch": "2.8.0",
            "monai": "1.6.1",
            "mlflow": "3.15.2",
            "scikit-learn": "1.7.0",
        },
        "manifest_hash": "ab" * 32,
        "mlflow": {"experiment": "mgmt-comparison", "run_id": "c0ffee" * 5 + "00"},
        "command": "mgmt-monai compare --dataset-dir data/rsna --networks paper --modalities all --folds 5",
        "plan": {
            "networks": NETWORKS,
            "modalities": MODALITIES,
            "reference_network": "efficientnet-b0",
            "reference_modality": "T1w",
            "folds": 5,
            "repeats": 1,
            "seeds": [0],
        },
        "settings": {
            "image_size": 300,
            "slice_fraction": 0.2,
            "plane": "native",
            "fine_tune_learning_rate": 1e-05,
            "dropout": 0.4,
            "resume": False,
            "inner_fold": None,
            "imports": ["$import os", "$import mgmt_monai"],
        },
        "config_hash": "cd" * 32,
        "trainings": [training(network, modality, "none", fold) for network, modality in KINDS for fold in range(5)]
        + [training("efficientnet-b0", "T1w", "blank", fold) for fold in range(5)],
    },
    "cohort": {
        "layout": "rsna",
        "made": False,
        "n_patients": 582,
        "n_methylated": 306,
        "splits": None,
        "folds": {"n_folds": 5, "n_repeats": 1},
        "excluded": [{"reason": "named as faulty by the hosts of the challenge", "n": 3}],
        "left_out": [{"reason": "no label", "n": 87}, {"reason": "no usable series of T1w", "n": 2}],
        "modalities": {
            "FLAIR": {"n_series": 582, "planes": {"axial": 500, "coronal": 70, "sagittal": 12}},
            "T1w": {"n_series": 582, "planes": {"axial": 560, "sagittal": 22}},
            "T1wCE": {"n_series": 582, "planes": {"axial": 402, "coronal": 60, "sagittal": 120}},
            "T2w": {"n_series": 582, "planes": {"axial": 582}},
        },
    },
    "verdict": {
        "state": "supported",
        "sentence": "Signal supported: AUC 0.60 (0.56-0.64), and the model tells more than any control without the "
        "tumour.",
        "reasons": ["folds", "no_site_column"],
        "auc": estimate(0.6),
        "checks": [
            {"name": "The model is above chance", "passed": True, "text": "AUC 0.60 (0.56-0.64), p < 0.001"},
            {"name": "The model tells more than the control 'blank'", "passed": True, "text": "AUC 0.50 (0.46-0.54)"},
        ],
    },
    "within_site": None,
    "chosen": {
        "network": "efficientnet-b0",
        "modality": "T1w",
        "stage": "fine_tune",
        "validation_auc": 0.613,
        "n_compared": 18,
    },
    "figures": {
        "n": 582,
        "n_methylated": 306,
        "level": 0.95,
        "auc": estimate(0.6),
        "auc_bootstrap": estimate(0.6, 0.045),
        "accuracy": estimate(0.57),
        "sensitivity": estimate(0.61, 0.055, 306),
        "specificity": estimate(0.53, 0.06, 276),
        "precision": estimate(0.59, 0.05, 317),
        "recall": estimate(0.61, 0.055, 306),
        "f1": estimate(0.6),
        "balanced_accuracy": estimate(0.57),
        "threshold": 0.512,
        "brier": 0.2431,
        "brier_of_prevalence": 0.2493,
        "log_loss": 0.6794,
        "calibration_slope": estimate(0.71, 0.3),
        "calibration_intercept": estimate(-0.02, 0.17),
        "calibration_in_the_large": estimate(-0.04, 0.16),
        "ece": 0.0412,
        "permutation_p": 0.0002,
        "slice_auc": estimate(0.58, 0.04, 11240),
        "slice_accuracy": estimate(0.55, 0.03, 11240),
        "classification_report": "              precision    recall  f1-score   support\n\n"
        "unmethylated      0.551     0.530     0.540       276\n"
        "  methylated      0.590     0.610     0.600       306\n\n"
        "    accuracy                          0.572       582\n   macro avg      0.571     0.570     0.570       582\n"
        "weighted avg      0.572     0.572     0.572       582\n",
    },
    "table_1": [
        {
            "network": network,
            "pretrained": network.startswith("efficientnet"),
            "stage": "fine_tune",
            "figures": {
                name: estimate(auc - less)
                for name, less in (
                    ("accuracy", 0.03),
                    ("precision", 0.02),
                    ("recall", -0.01),
                    ("f1", 0.0),
                    ("auc", 0.0),
                )
            },
        }
        for network, auc in zip(NETWORKS, AUCS, strict=False)
    ],
    "table_2": [
        {
            "modality": modality,
            "transfer": {"accuracy": estimate(0.52), "auc": estimate(0.53)},
            "fine_tune": {"accuracy": estimate(0.55), "auc": estimate(0.58)},
        }
        for modality in MODALITIES
    ],
    "fusions": [
        {
            "modality": name,
            "stage": "fine_tune",
            "state": "cannot_tell",
            "bound": 0.05,
            "n": 59,
            "sentence": "It cannot be told whether the fusion adds to the best single modality: difference in AUC "
            "+0.04 (-0.05 to +0.13).",
            "fusion": 0.64,
            "best_single": 0.6,
            "difference": 0.04,
            "low": -0.05,
            "high": 0.13,
            "p": 0.4,
            "within_site": True,
        }
        for name in ("fusion-late", "fusion")
    ],
    "candidates": [
        candidate(*kind, stage, auc - less, chosen=stage == "fine_tune" and auc == 0.6)
        for kind, auc in zip(KINDS, AUCS, strict=True)
        for stage, less in (("transfer", 0.02), ("fine_tune", 0.0))
    ],
    "noise": {
        "n_candidates": 18,
        "auc": {"expected": 0.541, "percentile_95": 0.565, "best": 0.6},
        "accuracy": {"expected": 0.537, "percentile_95": 0.558, "best": 0.57},
    },
    "controls": [
        {
            "name": name,
            "title": title,
            "what": what,
            "auc": estimate(auc),
            "p": 0.4,
            "p_holm": 1.0,
            "p_added": 0.001,
            "informative": name != "blank",
            "difference": {"value": 0.6 - auc, "low": 0.6 - auc - 0.05, "high": 0.6 - auc + 0.05, "p": 0.001},
        }
        for name, title, what, auc in (
            ("header_tags", "Header tags", "A classifier of the scanner's tags; it sees no pixel.", 0.51),
            ("geometry", "Geometry", "A classifier of planes, spacings and numbers of slices.", 0.5),
            ("background", "Background", "The same network, everything but the air around the head blanked.", 0.52),
            ("blank", "Blank images", "The same network on images without content.", 0.5),
            ("permuted_labels", "Permuted labels", "The same network, trained on labels that were shuffled.", 0.49),
        )
    ],
    "spread": [
        {
            "network": network,
            "modality": modality,
            "stage": "fine_tune",
            "n_models": 5,
            "mean": auc,
            "sd": 0.031,
            "low": auc - 0.05,
            "high": auc + 0.04,
        }
        for (network, modality), auc in zip(KINDS, AUCS, strict=True)
    ],
    "subgroups": [
        {"column": "sex", "value": "female", "n": 231, "n_methylated": 128, "auc": estimate(0.61, 0.07, 231)},
        {"column": "sex", "value": "male", "n": 351, "n_methylated": 178, "auc": estimate(0.59, 0.06, 351)},
        {"column": "age", "value": "70 and over", "n": 9, "n_methylated": 0, "auc": estimate(None, n=9)},
    ],
}


def sample_report() -> dict[str, Any]:
    """A report of its own, to be changed at will."""
    return copy.deepcopy(_REPORT)


def smallest_report() -> dict[str, Any]:
    """What is left where as much as possible is undefined: one training on the hold-out, one class in the test."""
    report = sample_report()
    report["comparison"] |= {"commit": None, "trainings": [], "settings": {}, "versions": {}}
    report["comparison"]["mlflow"]["run_id"] = None
    report["comparison"]["plan"] |= {
        "networks": ["efficientnet-b0"],
        "modalities": ["T1w"],
        "folds": None,
    }
    report["cohort"] |= {
        "made": False,
        "n_patients": 16,
        "n_methylated": 8,
        "splits": {
            "train": {"unmethylated": 6, "methylated": 6},
            "validation": {"unmethylated": 1, "methylated": 1},
            "test": {"unmethylated": 1, "methylated": 1},
        },
        "folds": None,
        "excluded": [],
        "left_out": [],
        "modalities": {},
    }
    report["chosen"] |= {"validation_auc": None, "n_compared": 1}
    nothing = estimate(None, n=0)
    for name, value in report["figures"].items():
        if isinstance(value, dict):
            report["figures"][name] = nothing
        elif isinstance(value, float) and name != "level":
            report["figures"][name] = None
    report["figures"] |= {"n": 2, "n_methylated": 1, "classification_report": ""}
    floor = {"expected": None, "percentile_95": None, "best": None}
    report["noise"] = {"n_candidates": 1, "auc": floor, "accuracy": floor}
    report["verdict"] |= {
        "state": "cannot_tell",
        "sentence": "Cannot tell.",
        "reasons": [],
        "checks": [],
        "auc": nothing,
    }
    for name in ("table_1", "table_2", "candidates", "controls", "spread", "subgroups"):
        report[name] = []
    return report
