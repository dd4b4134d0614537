"""Endpoints at work: model servers, invocations, capture.

`transform` runs its model servers, `monitoring` asks it where an endpoint's data are captured.
"""
