"""Which project the DAG file that is being read belongs to."""

from __future__ import annotations

import sys
from pathlib import Path

from sagewind import settings
from sagewind.pipeline.errors import ModelFileError
from sagewind.pipeline.project import MODELS, nearest


def of_caller() -> Path:
    """The project of the DAG file that called the function which calls this one.

    It is the setting `[sagewind] project`, else the nearest folder above the DAG file that holds `include/models`;
    ModelFileError if there is neither. Linked folders are not followed: a DAG bundle may be a link to a version.
    """
    if (set_folder := settings.PROJECT.read()) is not None:
        return set_folder
    file = sys._getframe(2).f_globals.get("__file__")
    found = nearest(Path(file)) if file else None
    if found is None:
        raise ModelFileError(
            f"no folder above the DAG file {file or '(unknown)'} holds {MODELS}: put the DAG file into a folder `dags` "
            f"beside `include`, or name the project's folder in the setting [{settings.SECTION}] project"
        )
    return found
