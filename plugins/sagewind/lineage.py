"""The data sets that a job reads and writes, for OpenLineage.

They are told when the task starts: Airflow 3.3.2 calls no listener when a trigger ends a task, so that OpenLineage
never hears of the end of a step that waited without a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagewind.kinds import KindName


def facets(kind: KindName, request: Mapping[str, Any]) -> Any:
    """The `OperatorLineage` of a Create request; needs apache-airflow-providers-openlineage, which calls it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    found: list[list[Any]] = []
    for uris in (inputs(kind, request), outputs(kind, request)):
        parts = [uri.removeprefix("s3://").partition("/") for uri in uris]
        found.append([Dataset(namespace=f"s3://{bucket}", name=key) for bucket, _, key in parts])
    return OperatorLineage(inputs=found[0], outputs=found[1])


def inputs(kind: KindName, request: Mapping[str, Any]) -> Iterator[str]:
    """S3 URIs of the folders and files that the job reads."""
    if kind == "processing":
        sources = [item.get("S3Input", {}) for item in request.get("ProcessingInputs", ())]
    elif kind == "transform":
        sources = [request["TransformInput"]["DataSource"].get("S3DataSource", {})]
    else:
        channels = [item for one in _trainings(kind, request) for item in one.get("InputDataConfig", ())]
        sources = [item["DataSource"].get("S3DataSource", {}) for item in channels]
    for source in sources:
        if "S3Uri" in source:  # a file system or a feature group has none
            yield source["S3Uri"]


def outputs(kind: KindName, request: Mapping[str, Any]) -> Iterator[str]:
    """S3 URIs of the folders that the job writes."""
    if kind == "processing":
        for item in request.get("ProcessingOutputConfig", {}).get("Outputs", ()):
            if "S3Output" in item:
                yield item["S3Output"]["S3Uri"]
    elif kind == "transform":
        yield request["TransformOutput"]["S3OutputPath"]
    else:
        yield from dict.fromkeys(one["OutputDataConfig"]["S3OutputPath"] for one in _trainings(kind, request))


def _trainings(kind: KindName, request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if kind == "training":
        return [request]
    one = request.get("TrainingJobDefinition")
    return [one] if one else list(request["TrainingJobDefinitions"])
