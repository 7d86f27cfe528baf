"""Who is for training, validation and test: hold-out, folds, groups that stay together."""
