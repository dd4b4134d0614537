"""One module per SageMaker resource; each registers its operations when it is imported."""
