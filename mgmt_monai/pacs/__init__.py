"""Results as DICOM objects, studies from an archive and back into it."""
