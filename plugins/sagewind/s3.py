"""Small S3 verbs over URIs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sagewind.aws import AwsClients, error_code, is_passing
from sagewind.errors import TaskRefused


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def ensure_bucket(aws: AwsClients, bucket: str, *, made: bool) -> None:
    """The bucket is there, or it is made (private, as AWS makes them) if `made`; TaskRefused if it may not be."""
    from botocore.exceptions import ClientError

    client = aws.client("s3")
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if is_passing(error):
            raise
        if error_code(error) != "404":
            raise TaskRefused(
                f"bucket {bucket!r} cannot be used ({error}): check its name and the connection's rights"
            ) from None
        if not made:
            raise TaskRefused(f"bucket {bucket!r} of aws.bucket does not exist: make it or leave the key out") from None
        region = aws.region_name
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            client.create_bucket(Bucket=bucket, **where)
        except ClientError as again:
            if error_code(again) not in ("BucketAlreadyOwnedByYou", "OperationAborted"):
                raise


def put_all(aws: AwsClients, prefix: str, files: Mapping[str, bytes]) -> None:
    """Upload `files` below a prefix that is named after their content: what is there already is left."""
    bucket, key = split(prefix)
    client = aws.client("s3")
    there = {item["Key"] for item in listing(aws, prefix)}
    for name, content in files.items():
        if f"{key}/{name}" not in there:
            client.put_object(Bucket=bucket, Key=f"{key}/{name}", Body=content)


def listing(aws: AwsClients, prefix: str) -> Iterator[dict[str, Any]]:
    """Objects below a prefix (Key, Size, LastModified ...)."""
    bucket, key = split(prefix)
    for page in aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key.rstrip("/") + "/"):
        yield from page.get("Contents", [])


def clear(aws: AwsClients, prefix: str) -> None:
    """Delete every object below a prefix."""
    bucket, _ = split(prefix)
    for item in list(listing(aws, prefix)):
        aws.client("s3").delete_object(Bucket=bucket, Key=item["Key"])


def put_json(aws: AwsClients, uri: str, content: Any) -> None:
    """Write a JSON object."""
    bucket, key = split(uri)
    body = json.dumps(content, indent=1).encode()
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def put_text(aws: AwsClients, uri: str, text: str) -> None:
    """Write a text object."""
    bucket, key = split(uri)
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/csv")


def get_text(aws: AwsClients, uri: str) -> str:
    """Read a text object; TaskRefused if it is not there."""
    from botocore.exceptions import ClientError

    bucket, key = split(uri)
    try:
        return str(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())
    except ClientError as error:
        if error_code(error) in ("NoSuchKey", "404", "NoSuchBucket"):
            raise TaskRefused(f"{uri} is not there: the job that writes it ended without it") from None
        raise


def get_json(aws: AwsClients, uri: str) -> Any:
    """Read a JSON object; TaskRefused if it is not there or not JSON."""
    try:
        return json.loads(get_text(aws, uri))
    except json.JSONDecodeError as error:
        raise TaskRefused(f"{uri} is not JSON ({error}): the job that writes it went wrong") from None


def copy(aws: AwsClients, source: str, target: str) -> None:
    """Copy one object inside S3."""
    from_bucket, from_key = split(source)
    bucket, key = split(target)
    aws.client("s3").copy({"Bucket": from_bucket, "Key": from_key}, bucket, key)
