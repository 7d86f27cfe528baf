"""The interval of the balanced accuracy."""

import math

from mgmt_monai.evaluation.intervals import UNDEFINED, Interval, wilson_interval


def balanced_accuracy_interval(
    recalled: int, methylated: int, specific: int, unmethylated: int, level: float = 0.95
) -> Interval:
    """The interval of the mean of recall and specificity, from the Wilson intervals of both ('square and add').

    Args:
        recalled: Methylated that were called so.
        methylated: How many are.
        specific: Unmethylated that were called so.
        unmethylated: How many are.
        level: The share of repeated studies whose interval should hold the true figure.

    Returns:
        The interval within [0, 1]; undefined when a class is empty.

    Raises:
        EvaluationError: ``level`` is not between 0 and 1.

    Source:
        Zou GY, Donner A. Construction of confidence limits about effect measures: a general approach. Stat Med
        2008;27:1693-1702 (MOVER), with Newcombe's use of Wilson's limits, Stat Med 1998;17:873-890.
    """
    recall, specificity = (
        wilson_interval(recalled, methylated, level),
        wilson_interval(specific, unmethylated, level),
    )
    if methylated < 1 or unmethylated < 1:
        return UNDEFINED
    shares = recalled / methylated, specific / unmethylated
    middle = sum(shares) / 2
    return Interval(
        middle - math.hypot(shares[0] - recall.low, shares[1] - specificity.low) / 2,
        middle + math.hypot(recall.high - shares[0], specificity.high - shares[1]) / 2,
    )
