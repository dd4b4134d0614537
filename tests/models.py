"""The model files that come with the repository, as tests load them."""

from __future__ import annotations

from pathlib import Path

from sagewind.pipeline import load
from sagewind.pipeline.project import MODELS
from sagewind.pipeline.spec import ModelSpec
from tests.conftest import ROOT


def load_model(name: str, folder: Path = ROOT / MODELS) -> ModelSpec:
    """`sagewind.pipeline.load.load_model` on this repository."""
    return load.load_model(name, folder)


def model_names() -> list[str]:
    """Of this repository."""
    return load.model_names(ROOT / MODELS)
