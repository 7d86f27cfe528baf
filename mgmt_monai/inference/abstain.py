"""When a model gives no answer: the rules, each with its reason in plain words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mgmt_monai.cohort.findings import Severity, counted
from mgmt_monai.cohort.tables.review import in_words, prepared_as
from mgmt_monai.inference.study import StudySeries

OTHER_SEQUENCE = ("D017", "D018")
"""Findings, no errors in a cohort, that say that the series may be of another kind than the model was trained on."""

MIDDLE = 0.2
"""Of a series, the slices that the paper's model asks for; one that asks for more meets empty ones."""

CLIPPED_LIMIT = 0.2
"""Share of the tissue at the brightest value of the series beyond which little contrast is left. Of sound series, the
8-bit copies of a public cohort included, hardly a percent lies there."""

ROUNDING = 1e-6
"""Share of the limit by which a distance may exceed it: the last digits depend on the slices that share a batch, and
the limit is itself the distance of one of the validation series."""


def input_reasons(modality: str, studied: StudySeries | None, present: Sequence[str]) -> list[str]:
    """Why a model cannot be asked about a study, by the checks of its series.

    1. The study has no series of the model's modality (``studied`` is None).
    2. A finding is an error: the series cannot be read whole, or is no single stack of grey-scale slices in a known
       order, or is constant.
    3. Its tags speak of another sequence, or do not say that it is MR.
    4. A slice is blank in the middle 20 %, which the model looks at.
    5. More than `CLIPPED_LIMIT` of the tissue is cut off at one value.

    Returns:
        One line each, without a full stop; empty where the model may be asked.
    """
    if studied is None:
        return [f"the study has no {modality} series, only {', '.join(present) or 'none of a known modality'}"]
    reasons = [
        f"{finding.kind.title} ({finding.id}): {finding.text}"
        for finding in studied.findings
        if finding.kind.severity is Severity.ERROR or finding.id in OTHER_SEQUENCE
    ]
    content = studied.exam.content
    if content is None or content.constant:
        return reasons
    if content.n_blank_middle:
        reasons.append(f"{counted(content.n_blank_middle, 'slice')} of the middle 20 % blank, expected anatomy in all")
    if content.clipped > CLIPPED_LIMIT:
        reasons.append(f"{content.clipped:.0%} of the tissue cut off at one value, more than {CLIPPED_LIMIT:.0%}")
    return reasons


def head_reasons(studied: StudySeries | None, trained_on: Mapping[str, Any]) -> list[str]:
    """Why a series cannot be asked about by what the training data's heads are; lines as `input_reasons` has them.

    Args:
        studied: The series; None without one.
        trained_on: As `mgmt_monai.exchange.bundle_folder.BundleFolder.heads` tells it: nothing is asked of what is not
            known.

    Raises:
        CohortError: The study's ``prepare.json`` cannot be read.
    """
    if studied is None or studied.series is None:
        return []
    bare, known = studied.exam.skull_stripped, trained_on["skull_stripped"]
    if known and bare is False:
        return ["not skull-stripped: use --prepare"]
    if known is False and bare:
        return ["skull-stripped, and the training data are heads with skull: predict the series as it was acquired"]
    how, own = trained_on["prepared"], prepared_as(studied.series.files[0].parent)
    if how is not None and own not in (None, how):
        return [
            f"prepared with other settings ({in_words(own)}) than the training data ({in_words(how)}): use --prepare"
        ]
    return []


def network_reasons(
    n_slices: int,
    n_constant: int,
    distance: float | None,
    limit: float | None,
    probabilities: Sequence[float] = (),
    slice_fraction: float = MIDDLE,
) -> list[str]:
    """Why a model's answer is not given, by what the network made of the slices; lines as `input_reasons` has them.

    Args:
        n_slices: How many slices the network was shown.
        n_constant: How many of them have one value in every pixel.
        distance: Of their features from the training data; infinite where a feature is not finite; None without a
            reference.
        limit: Beyond which the model abstains; None without a reference.
        probabilities: Of the slices; empty before the head is run.
        slice_fraction: Of the series, that the model asks for.
    """
    reasons = []
    if not n_slices:
        reasons.append("no slice is left to show the network")
    if n_constant:
        asked = (
            f": the model asks for {slice_fraction:.0%} of a series (slice_fraction {slice_fraction:g}), so also for "
            "the empty ends of a skull-stripped volume"
        )
        reasons.append(
            f"{n_constant} of {counted(n_slices, 'slice')} shown to the network hold one value only"
            f"{asked if slice_fraction > MIDDLE else ''}"
        )
    if distance is not None and not math.isfinite(distance):
        reasons.append("the network's features are not finite")
    elif distance is not None and limit is not None and distance > limit * (1 + ROUNDING):
        reasons.append(
            f"unlike the training data: distance {distance:.4g} in the network's feature space, limit {limit:.4g}"
        )
    if not all(math.isfinite(probability) for probability in probabilities):
        reasons.append("the network's output is not finite")
    return reasons
