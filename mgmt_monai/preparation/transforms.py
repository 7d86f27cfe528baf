"""The preparation as MONAI dictionary transforms, for a config: several loaded series become one head."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.images import as_image, as_volume
from mgmt_monai.preparation.prepare import prepare, settings_with
from mgmt_monai.preparation.template import read_template

logger = logging.getLogger(__name__)


class PrepareSeriesd(MapTransform):
    """Bring series that `LoadSeriesd` has loaded into one space and keep the brain alone.

    Args:
        keys: The series; each is called by its modality: ``T1w``, ``T1wCE``, ``T2w``, ``FLAIR``.
        spacing_mm: Side of the voxels of the common space; a template's own are kept.
        n4: Whether the shading of the coil is taken out.
        mask_key: Key of the brain that was found, ``(slices, rows, columns)``, 0 or 1.
        allow_missing_keys: Whether a series may be absent.
        template: A NIfTI file whose space is the common one, affinely; "" for that of the reference series.
        brain: What finds the brain: "" for deepbet, or ``hd-bet``.

    Raises:
        PreparationError: The template cannot be read, or HD-BET is not installed.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing_mm: float = 1.0,
        n4: bool = False,
        mask_key: str = "brain_mask",
        allow_missing_keys: bool = False,
        template: str | Path = "",
        brain: str = "",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.template = read_template(Path(template)) if template else None
        self.settings = settings_with(self.template, spacing_mm, n4, brain)
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its series in one space, float32, 0 outside the brain.

        A series that is refused is left out, which is logged.

        Raises:
            PreparationError: No series has a whole brain.
        """
        item = dict(data)
        images, refused = {}, {}
        for key in self.key_iterator(item):
            try:
                images[str(key)] = as_image(item.pop(key))
            except PreparationError as error:
                refused[str(key)] = str(error)
        prepared = prepare(images, self.settings, refused=refused, template=self.template)
        for modality, one in prepared.series.items():
            if not one.accepted:
                logger.warning("%s refused: %s", modality, one.reason)
        item |= {modality: as_volume(image) for modality, image in prepared.images.items()}
        item[self.mask_key] = as_volume(prepared.mask)
        return item
