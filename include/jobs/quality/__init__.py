"""Model quality as a job of its own: predictions held against their ground truth, in the files of Model Monitor.

`python3 -m include.jobs.quality` runs the analysis, `python3 -m include.jobs.quality.merge` joins captured data with
ground truth first. `settings`, `payload`, `records` and `output` also serve the jobs in `include.jobs.bias` and
`include.jobs.explain`.
"""
