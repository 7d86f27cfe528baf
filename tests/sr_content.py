"""What stands in a structured report, found by pydicom alone."""

from pydicom.dataset import Dataset


def concept(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def items(dataset: Dataset, code: str) -> list[Dataset]:
    """Every content item of a concept, anywhere in the tree, found by pydicom alone."""
    found = [dataset] if concept(dataset) == code else []
    return found + [one for child in dataset.get("ContentSequence", []) for one in items(child, code)]
