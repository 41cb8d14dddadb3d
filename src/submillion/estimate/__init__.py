"""Speed estimates for `plan --speed`: a few timed batches, extrapolated to a whole training."""
