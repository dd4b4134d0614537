"""Hyperparameter tuning jobs at work: it makes training jobs with `jobs.training_request`. For `resources` only."""
