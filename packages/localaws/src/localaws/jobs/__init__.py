"""Training and processing jobs at work, and what all kinds of jobs share.

`tuning`, `serving`, `transform` and `monitoring` build on it; it imports none of them.
"""
