"""The `mgmt-monai` commands, one a file; heavy imports stay inside the commands."""
