"""Which function is behind each program of each image."""

import importlib

PROGRAMS = {
    "xgboost/train": ("container_toolkit.xgb_train", "main"),
    "xgboost/serve": ("container_toolkit.xgb_serve", "main"),
    "xgboost/process": ("container_toolkit.process", "main"),
    "sklearn/train": ("container_toolkit.script_mode", "main"),
    "sklearn/serve": ("container_toolkit.script_serve", "main"),
    "sklearn/process": ("container_toolkit.process", "main"),
}


def main(name: str) -> None:
    """Run the program; a UserError ends it with its sentence on stderr, in the failure file, and exit code 1."""
    from container_toolkit import base

    module, function = PROGRAMS[name]
    try:
        getattr(importlib.import_module(module), function)()
    except base.UserError as error:
        base.fail(str(error))
