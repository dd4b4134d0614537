"""Metrics that a monitoring job leaves as files: which files are read."""

from __future__ import annotations

import pytest

from localaws.jobs import monitoring_metrics


@pytest.mark.parametrize("link", ["output/metrics", "output/metrics/cloudwatch", "output/metrics/cloudwatch/m.json"])
def test_metrics_are_not_read_through_a_link(tmp_path, link):
    machine = tmp_path / "machine"
    for place in (machine / "cloudwatch" / "m.json", machine / "m.json"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text('{"MetricName": "secret"}')
    root = tmp_path / "ml"
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(machine / "m.json" if link.endswith(".json") else machine)
    assert list(monitoring_metrics._lines(root)) == []


def test_metrics_are_read_from_files_and_folders(tmp_path):
    folder = tmp_path / monitoring_metrics.FOLDER / "more"
    folder.mkdir(parents=True)
    (folder / "m.jsonl").write_text('{"MetricName": "a"}\n\nnone\n{"MetricName": "b"}\n')
    assert [found["MetricName"] for _, found in monitoring_metrics._lines(tmp_path)] == ["a", "b"]
