"""Processes: images, sandboxes, prepared parents, and who may run when. Knows nothing of SageMaker's resources."""
