"""Errors that a user can cause in a model file or a source: one sentence each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ModelFileError(ValueError):
    """A model file says something that cannot be done; the message names file, key, value and what is allowed."""


class SourceError(ValueError):
    """A data source cannot be understood; the message names the source and the schemes there are."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` if one of the known words is close to a wrong one, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
