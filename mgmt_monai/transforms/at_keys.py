"""Dictionary transforms: an array transform, applied at the keys of an item.

A twin takes ``keys``, then what its array transform takes, with the same errors, then ``allow_missing_keys``.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from mgmt_monai.transforms.errors import SeriesReadError, TransformError


class AtKeys(MapTransform):
    """Applies an array transform to the value at each key; the dictionary twins derive from it."""

    def __init__(self, keys: KeysCollection, transform: Callable[..., Any], allow_missing_keys: bool) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform

    def apply(self, value: Any, item: Mapping[Hashable, Any]) -> Any:
        """The value at one key, transformed; a twin that needs more of the item takes it there."""
        return self.transform(value)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of ``data`` with the transformed value at each key.

        Raises:
            TransformError: As the array transform does, with the item's ``patient_id`` and ``modality`` where it has
                them.
            SeriesReadError: As the array transform does; it names them itself.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            try:
                d[key] = self.apply(d[key], d)
            except SeriesReadError:
                raise
            except TransformError as error:
                names = [f"patient {d['patient_id']}"] if "patient_id" in d else []
                names += [str(d["modality"])] if "modality" in d else []
                raise TransformError(f"{', '.join(names) or key}: {error}") from error
        return d


class RandAtKeys(AtKeys, RandomizableTransform):
    """The same for a random array transform; all keys get the same draw.

    The array transform takes ``randomize=False`` and then applies its last draw again.
    """

    def __init__(self, keys: KeysCollection, transform: RandomizableTransform, allow_missing_keys: bool) -> None:
        AtKeys.__init__(self, keys, partial(transform, randomize=False), allow_missing_keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.random = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Self:
        """Seed this transform; the same seed as for the array twin gives the same pictures."""
        super().set_random_state(seed, state)
        self.random.set_random_state(seed, state)
        return self

    def randomize(self, data: Any | None = None) -> None:
        """Draw what the array transform keeps of its draw."""
        self.random.randomize(data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of ``data`` with the transformed value at each key; raises as the array transform does."""
        self.randomize()
        return super().__call__(data)
