"""Batch transform jobs at work, on the model servers of `serving`. For `resources` only."""
