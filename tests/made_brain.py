"""A made brain that a registration takes: its lumps are where they are in every contrast."""

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from scipy.ndimage import gaussian_filter

from mgmt_monai.preparation.registration import Brain


def made_brain(contrast: float) -> Brain:
    """Lumps of tissue in an ellipsoid of 120 x 150 x 110 mm; another contrast shows the same lumps otherwise."""
    rng = np.random.default_rng(3)
    shape = (60, 72, 64)  # z, y, x at 3 mm
    z, y, x = (np.indices(shape) * 3.0).reshape(3, *shape)
    inside = ((x - 96) / 60) ** 2 + ((y - 108) / 75) ** 2 + ((z - 90) / 55) ** 2 < 1
    lumps = gaussian_filter(rng.standard_normal(shape), 2.5)
    tissue = np.where(lumps / lumps.std() > 0.3, 1.0, 0.4 + 0.3 * (y > 108))
    values = np.where(inside, tissue**contrast, 0) * 400 + rng.normal(0, 4, shape)
    image = sitk.GetImageFromArray(values.astype(np.float32))
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    for one in (image, mask):
        one.SetSpacing([3.0, 3.0, 3.0])
    return Brain(image, mask)
