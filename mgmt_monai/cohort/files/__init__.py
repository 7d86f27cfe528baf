"""One file of a series: its tags, its place in the patient, its pixels."""
