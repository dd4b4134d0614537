"""Monitoring schedules at work: it makes processing jobs with `jobs.processing_request`. For `resources` only."""
