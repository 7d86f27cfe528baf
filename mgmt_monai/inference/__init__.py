"""A trained model on one study: its series found and checked, predicted or refused, explained."""

NOTICE = "Research use only. Not for diagnosis or treatment."
"""Stands in every result, page and DICOM object."""
