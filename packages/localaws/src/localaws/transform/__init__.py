"""Batch transform jobs at work."""
