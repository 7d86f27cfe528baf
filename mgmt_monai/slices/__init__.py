"""From series to the slices a network is trained on."""

from mgmt_monai.slices.batches import EpochBatches
from mgmt_monai.slices.dataset import SliceDataset
from mgmt_monai.slices.slice_store import SliceStore

__all__ = ["EpochBatches", "SliceDataset", "SliceStore"]
