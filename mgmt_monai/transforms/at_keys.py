"""Dictionary transforms: an array transform, applied at the keys of an item.

A twin takes ``keys``, then what its array transform takes, with the same errors, then ``allow_missing_keys``.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform


class AtKeys(MapTransform):
    """Applies an array transform to the value at each key; the dictionary twins derive from it."""

    def __init__(self, keys: KeysCollection, transform: Callable[[Any], Any], allow_missing_keys: bool) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of ``data`` with the transformed value at each key; raises as the array transform does."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key])
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
