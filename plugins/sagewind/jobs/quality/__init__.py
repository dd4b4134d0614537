"""Model quality as a job of its own: predictions held against their ground truth, in the files of Model Monitor.

`python3 -m sagewind.jobs.quality` runs the analysis, `python3 -m sagewind.jobs.quality.merge` joins captured data with
ground truth first.
"""
