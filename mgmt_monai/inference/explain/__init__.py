"""Where a model looks: maps of what raises and what lowers its logit, checked, and laid on the scan."""
