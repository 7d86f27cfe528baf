"""Networks: the backbone, the paper's head, what each stage trains, and where the weights come from."""

from mgmt_monai.networks.calibrate import calibrate_batchnorm
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.weights import WeightsReport, load_backbone_weights

__all__ = ["MGMTClassifier", "WeightsReport", "calibrate_batchnorm", "load_backbone_weights"]
