"""What MONAI FL's server asks of a site's pictures, from an exported bundle.

PYTHONPATH=BUNDLE python docs/federated_statistics.py BUNDLE COHORT
"""

import json
import sys

from monai.fl.client import MonaiAlgoStats
from monai.fl.utils.constants import FlStatistics
from monai.transforms import CopyItemsd, DeleteItemsd, EnsureChannelFirstd, Lambdad, Transposed
from scripts.transforms import LoadSeriesd


def nameless(image):
    """MONAI wants a file name; none goes into its tables."""
    image.meta["filename_or_obj"] = ""
    return image


def statistics_of(bundle, cohort, config="configs/train.json"):
    """The summary that goes to the server: training and validation patients, and both together."""
    # MONAI describes an image and a label image. In the place of the label: what is not background.
    transforms = [
        LoadSeriesd(keys="image"),
        Transposed(keys="image", indices=(1, 2, 0)),  # to (row, column, slice), as its affine has it
        EnsureChannelFirstd(keys="image", channel_dim="no_channel"),
        Lambdad(keys="image", func=nameless),
        DeleteItemsd(keys="label"),
        CopyItemsd(keys="image", names="label"),
        Lambdad(keys="label", func=lambda image: (image > image.min()).long()),
    ]
    client = MonaiAlgoStats(bundle, config, data_stats_transform_list=transforms)
    client.initialize()
    client.workflow.dataset_dir = cohort
    client.workflow.initialize()
    return client.get_data_stats({FlStatistics.HIST_BINS: 100, FlStatistics.HIST_RANGE: [0, 4095]}).statistics


if __name__ == "__main__":
    sys.stdout.write(json.dumps(statistics_of(*sys.argv[1:]), default=float) + "\n")
