"""Numbers out of the text that headers hold."""

from __future__ import annotations

import math


def finite(text: str | int) -> float | None:
    """The number that a text says; None where it says none, infinity or not-a-number.

    Args:
        text: One value of a tag.

    Example:
        >>> finite(" 1.5e3"), finite("1e400"), finite("nan"), finite("")
        (1500.0, None, None, None)
    """
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
