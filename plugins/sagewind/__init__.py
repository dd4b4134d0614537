"""Operators, sensors and triggers that own or observe SageMaker jobs and resources."""
