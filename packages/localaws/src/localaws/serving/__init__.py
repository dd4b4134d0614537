"""Endpoints at work: model servers, invocations, capture."""
