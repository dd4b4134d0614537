"""The command `sagewind`: a project from nothing, models in it, what they would cost, and a run on this machine."""
