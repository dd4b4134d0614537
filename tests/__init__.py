"""Tests mirror the tree. A package, so that no installed package called `tests` comes first."""
