"""What a study says: its findings, their pictures, the page and the checklists."""
