"""What a table of predictions is worth: figures with intervals, on plain arrays, without torch or monai."""
