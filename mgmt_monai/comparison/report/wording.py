"""How a report writes its figures: ``0.62 (0.48-0.74)``."""

from collections.abc import Mapping
from typing import Any

from mgmt_monai.evaluation.intervals import estimate_text

UNDEFINED = "undefined"

figure = estimate_text
"""A figure with its interval, such as ``0.62 (0.48-0.74)``."""


def number(value: float | None, digits: int = 2) -> str:
    """A figure alone, ``undefined`` where it is None. A value that rounds to zero has no sign.

    Example:
        >>> number(0.6249), number(-0.001), number(None)
        ('0.62', '0.00', 'undefined')
    """
    return UNDEFINED if value is None else f"{value:z.{digits}f}"


def difference(estimate: Mapping[str, Any], digits: int = 2) -> str:
    """A difference (``value``, ``low`` and ``high``, None where undefined) with its interval, each with its sign.

    Example:
        >>> difference({"value": 0.05, "low": -0.03, "high": 0.13})
        '+0.05 (-0.03 to +0.13)'
    """
    if estimate["value"] is None:
        return UNDEFINED
    value, *ends = (
        None if estimate[name] is None else f"{estimate[name]:+z.{digits}f}" for name in ("value", "low", "high")
    )
    return f"{value} (no interval)" if None in ends else f"{value} ({ends[0]} to {ends[1]})"


def p_value(p: float | None) -> str:
    """A p-value with three digits, and ``< 0.001`` below; ``undefined`` where it is None.

    Example:
        >>> p_value(0.0004), p_value(0.0312)
        ('< 0.001', '0.031')
    """
    if p is None:
        return UNDEFINED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def plain(value: Any) -> str:
    """A setting or any other value that JSON holds as a reader would write it.

    Example:
        >>> plain({"value": 0.62, "low": 0.48, "high": 0.74, "n": 59}), plain(None), plain([1, 2]), plain(0.0001)
        ('0.62 (0.48-0.74)', 'none', '1, 2', '0.0001')
    """
    if isinstance(value, Mapping):
        if {"value", "low", "high"} <= set(value):
            return figure(value)
        return ", ".join(f"{key}: {plain(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
