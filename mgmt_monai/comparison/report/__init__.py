"""What a comparison says: its findings, their pictures, the page and the checklists."""
