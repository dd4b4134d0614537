"""statistics.json and constraints.json equal to AWS's own for the same file: every field, doubles by their bits,
sketches and the order of lists and keys included."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.jobs.test_monitor import HEADER, IN, OUT


@pytest.fixture(params=["numpy", "compiled"])
def ours(request, container, shared_data):
    """Our two documents and AWS's, for one implementation of the kernels."""
    if request.param == "compiled":
        pytest.importorskip("numba", reason="this image has no numba: the numpy kernels are tested")
    folder = shared_data / "model-monitor" / "housing"
    shutil.copy(folder / "train_data.csv", container.input("dataset"))
    settings = {"dataset_source": f"{IN}/dataset", "dataset_format": HEADER, "output_path": OUT}
    assert container.run("monitor", **settings, analysis_kernels=request.param) == 0
    names = ("statistics.json", "constraints.json")
    return [(container.json(name), json.loads((folder / name).read_text())) for name in names]


@pytest.mark.timeout(300)
def test_both_documents_are_aws_own(ours) -> None:
    for mine, theirs in ours:
        for one, other in zip(mine["features"], theirs["features"], strict=True):
            # As text, so that 1 and 1.0 differ and the order of the keys counts.
            assert json.dumps(one) == json.dumps(other), one["name"]
        assert json.dumps(mine) == json.dumps(theirs)
