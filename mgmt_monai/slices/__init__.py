"""From series to the slices a network is trained on."""

from mgmt_monai.slices.batches import EpochBatches
from mgmt_monai.slices.dataset import SliceDataset

__all__ = ["EpochBatches", "SliceDataset"]
