"""A made cohort of head MRI with a planted effect of known size, as DICOM."""

from mgmt_monai.phantom.made_cohort import PhantomError, write_phantom

__all__ = ["PhantomError", "write_phantom"]
