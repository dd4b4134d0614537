"""Explanations as a job of its own: SHAP attributions of a model's features, and whether they drift.

`python3 -m sagewind.jobs.explain` runs it; files and rules are those of SageMaker Clarify's explainability monitor.
"""
