"""Smallest valid requests for any operation, made from the service model alone."""

from __future__ import annotations

import random
from typing import Any

from localaws.shapes import compile_pattern

# Tried in this order for a string.
TEXTS = (
    "sample", "sample-name", "1", "s3://data/key", "https://s3/data/key", "/opt/ml/processing/x", "ml.m5.large", "$[0]",
    "arn:aws:iam::123456789012:role/sample", "arn:aws:sagemaker:us-east-1:123456789012:model/sample",
    "arn:aws:sns:us-east-1:123456789012:sample", "arn:aws:lambda:us-east-1:123456789012:function:sample",
    "arn:aws:s3:::data/key", "123456789012.dkr.ecr.us-east-1.amazonaws.com/absent:1", "cron(0 * ? * * *)", "12:00",
    "2026-01-01", "a@b.cd", "subnet-0123", "sg-0123", "#ffffff", "-PT1H", "P1D", "0" * 12, "a" * 32,
    "sha256:" + "0" * 64, "arn:aws:sagemaker:us-east-1:123456789012:training-plan/sample", "a/b", "1.0-sample",
    "arn:aws:sagemaker:us-east-1:123456789012:model-package/sample/1",
    "arn:aws:sagemaker:us-east-1:123456789012:hub-content/sample/Model/sample/1.0.0",
    "arn:aws:sagemaker:us-east-1:123456789012:hub-content/sample/DataSet/sample/1.0.0", "mig-1g.5gb", "fs-0123456789",
    "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/sample", "4K",
    "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/sample",
    "arn:aws:sagemaker:us-east-1:123456789012:model-card/sample/export-job/sample",
)  # fmt: skip


def text(shape: Any) -> str:
    """A string within the constraints of its shape."""
    if shape.enum:
        return str(shape.enum[0])
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 1_000_000)
    pattern = shape.metadata.get("pattern")
    for candidate in (*TEXTS, "a" * max(low, 1)):
        if low <= len(candidate) <= high and (not pattern or compile_pattern(pattern).fullmatch(candidate)):
            return candidate
    raise AssertionError(f"no sample fits {shape.name}: {pattern}, {low} to {high} characters; add one to TEXTS")


def minimal(shape: Any, *, optional: float = 0.0, rng: random.Random | None = None, depth: int = 0) -> Any:
    """A value with all required members, and each optional one with the probability `optional`."""
    kind = shape.type_name
    if kind == "structure":
        names = list(shape.required_members)
        if getattr(shape, "is_tagged_union", False):
            names = [next(iter(shape.members))]
        elif rng is not None and depth < 4:
            names += [n for n in shape.members if n not in names and rng.random() < optional]
        return {n: minimal(shape.members[n], optional=optional, rng=rng, depth=depth + 1) for n in names}
    if kind == "list":
        member = minimal(shape.member, optional=optional, rng=rng, depth=depth + 1)
        return [member] * shape.metadata.get("min", 1 if depth < 4 else 0)
    if kind == "map":
        size = shape.metadata.get("min", 0)
        return {text(shape.key): minimal(shape.value, depth=depth + 1)} if size else {}
    if kind == "string":
        return text(shape)
    if kind in ("integer", "long", "float", "double"):
        return max(1, shape.metadata.get("min", 1))
    return {"boolean": True, "timestamp": 1.0, "blob": ""}[kind]


def without(value: Any, path: str) -> Any:
    """The request without the member of a dotted path; lists on the way are treated element by element."""
    if isinstance(value, list):
        return [without(item, path) for item in value]
    name, _, rest = path.partition(".")
    if not isinstance(value, dict) or name not in value:
        return value
    kept = {key: item for key, item in value.items() if key != name}
    return {**kept, name: without(value[name], rest)} if rest else kept
