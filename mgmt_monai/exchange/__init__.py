"""A trained model as others get it: MONAI bundles, written, verified and read."""
