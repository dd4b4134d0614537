"""Bias as a job of its own: SageMaker Clarify's metrics and the bias monitor's drift check.

`python3 -m sagewind.jobs.bias` runs it. Definitions are those of the developer guide and of Clarify's open metric
library; `metrics` states each.
"""
