"""Training and processing jobs at work, and what all kinds of jobs share."""
