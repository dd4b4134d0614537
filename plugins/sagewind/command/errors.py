"""What a user of the command can put right."""

from __future__ import annotations


class CommandError(Exception):
    """Why the command did nothing, or not all: one sentence that says what is wrong and what to do."""
