"""Pixels: loading, cropping, concealing, intensity scaling and augmentation, an array and a dictionary class each."""

from mgmt_monai.transforms.augment import (
    RandBrightness,
    RandBrightnessd,
    RandSliceAffine,
    RandSliceAffined,
    SliceAffine,
)
from mgmt_monai.transforms.conceal import Blank, Blankd, HideHead, HideHeadd
from mgmt_monai.transforms.crop import CropMiddleSlices, CropMiddleSlicesd
from mgmt_monai.transforms.intensity import ScaleIntensityRobust, ScaleIntensityRobustd
from mgmt_monai.transforms.load import LoadSeries, LoadSeriesd
from mgmt_monai.transforms.reformat import PLANES, ReformatPlane, ReformatPlaned
from mgmt_monai.transforms.square import PadToSquare, PadToSquared
from mgmt_monai.transforms.tumour import CropTumourSlices, CropTumourSlicesd, HideTumour, HideTumourd, with_segmentation

__all__ = [
    "PLANES",
    "Blank",
    "Blankd",
    "CropMiddleSlices",
    "CropMiddleSlicesd",
    "CropTumourSlices",
    "CropTumourSlicesd",
    "HideHead",
    "HideHeadd",
    "HideTumour",
    "HideTumourd",
    "LoadSeries",
    "LoadSeriesd",
    "PadToSquare",
    "PadToSquared",
    "RandBrightness",
    "RandBrightnessd",
    "RandSliceAffine",
    "RandSliceAffined",
    "ReformatPlane",
    "ReformatPlaned",
    "ScaleIntensityRobust",
    "ScaleIntensityRobustd",
    "SliceAffine",
    "with_segmentation",
]
