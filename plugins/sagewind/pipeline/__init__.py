"""Pure functions from a model file to SageMaker requests. No Airflow, no AWS calls, no heavy imports."""
