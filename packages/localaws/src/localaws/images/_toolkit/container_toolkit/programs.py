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

ALGORITHMS = {
    "kmeans": "container_toolkit.kmeans",
    "knn": "container_toolkit.knn",
    "linear-learner": "container_toolkit.linear_learner",
    "pca": "container_toolkit.pca",
}
"""Images of built-in algorithms, and the modules that hold their ALGORITHM."""


def main(name: str) -> None:
    """Run the program; a UserError ends it with its sentence on stderr, in the failure file, and exit code 1."""
    from container_toolkit import base

    image, program = name.split("/")
    try:
        if image in ALGORITHMS:
            from container_toolkit import algorithm

            described = importlib.import_module(ALGORITHMS[image]).ALGORITHM
            (algorithm.train if program == "train" else algorithm.serving)(described)
            return
        module, function = PROGRAMS[name]
        getattr(importlib.import_module(module), function)()
    except base.UserError as error:
        base.fail(str(error))
