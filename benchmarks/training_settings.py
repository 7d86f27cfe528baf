"""What the settings do that are off by default on a CPU: half precision and a compiled network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from measurement import Measure, Size, Way
from remote import remote

DEFAULT = "bundles/t1w.json"
SETTINGS: dict[str, dict[str, Any]] = {
    f"{DEFAULT}, --precision bfloat16": {"precision": "bfloat16"},
    f"{DEFAULT}, --compile true": {"compile": True},
}
"""By way, what is set."""

MEASURE = Measure(
    name="training_settings",
    title="Fine-tuning epoch, defaults beside settings",
    unit="slices/s",
    higher_is_better=True,
    ours=DEFAULT,
    beside=dict.fromkeys(SETTINGS, DEFAULT),
    note="as above; a ratio above 1 says that the default is the faster one; compiling itself is not timed",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """The defaults and each setting, in processes of their own."""
    work: dict[str, Any] = {"stage": "fine_tune", "n_patients": size.fine_tune_patients}
    with ExitStack() as stack:
        yield [
            stack.enter_context(remote(name, "ours.epochs", size, warm=True, **work, **settings))
            for name, settings in {DEFAULT: {}, **SETTINGS}.items()
        ]
