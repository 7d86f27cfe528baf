"""MGMT promoter methylation of glioblastoma from multi-parametric brain MRI, as a MONAI bundle."""

__version__ = "0.1.0"
