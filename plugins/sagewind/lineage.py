"""The data sets that a job reads and writes, for OpenLineage.

They are told when the task starts: Airflow 3.3.2 calls no listener when a trigger ends a task, so that OpenLineage
never hears of the end of a step that waited without a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagewind.facts.kinds import KINDS, KindName


def facets(kind: KindName, request: Mapping[str, Any]) -> Any:
    """The `OperatorLineage` of a Create request; needs apache-airflow-providers-openlineage, which calls it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    found: list[list[Any]] = []
    for uris in (KINDS[kind].reads(request), KINDS[kind].writes(request)):
        parts = [uri.removeprefix("s3://").partition("/") for uri in uris]
        found.append([Dataset(namespace=f"s3://{bucket}", name=key) for bucket, _, key in parts])
    return OperatorLineage(inputs=found[0], outputs=found[1])
