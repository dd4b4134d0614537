"""Processing job `monitor`: the analyzer of SageMaker Model Monitor as an ordinary job of our own.

    python3 -m sagewind.jobs.monitor

It honours AWS's contract: settings in environment variables; statistics.json, constraints.json and (with a baseline)
constraint_violations.json in the output; the verdict in the message file; metric files if asked for. Violations are a
result, not a failure: the exit code is 0. `analyses` says which program does which `analysis_type`.
"""
