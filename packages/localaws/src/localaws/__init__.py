"""The local AWS endpoint: one port that speaks the AWS protocols and really executes SageMaker jobs."""
