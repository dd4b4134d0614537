"""Hyperparameter tuning jobs at work."""
