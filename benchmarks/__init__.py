"""Measurements behind `make bench`; nothing here is a test."""
