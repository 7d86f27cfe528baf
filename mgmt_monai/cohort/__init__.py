"""Who the patients are, read from headers and tables only: series, labels, splits, the manifest."""
