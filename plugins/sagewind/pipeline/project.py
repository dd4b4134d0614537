"""A user's project: the folder that holds `include/models`, and the scripts that its model files name."""

from __future__ import annotations

from pathlib import Path

#: Where the model files lie in a project.
MODELS = Path("include") / "models"


def nearest(start: Path) -> Path | None:
    """The nearest of `start` and the folders above it that holds `include/models`; None if none does."""
    here = start.absolute()
    return next((folder for folder in (here, *here.parents) if (folder / MODELS).is_dir()), None)
