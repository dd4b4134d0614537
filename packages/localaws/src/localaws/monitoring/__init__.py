"""Monitoring schedules at work."""
