"""Builders of SageMaker requests, one module per resource.

Names and tags are added by the operator that owns the job.
"""
