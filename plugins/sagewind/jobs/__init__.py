"""Programs that run inside SageMaker containers; they import nothing of this project outside this package."""
