"""The three jobs as functions: train, audit, retrain with differential privacy. One file each."""
