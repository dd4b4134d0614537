"""Requests that boto3 has no method for, signed by botocore's signer and sent by the plainest client there is."""

from __future__ import annotations

import http.client
import json
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localaws.server import Endpoint


def signed_request(
    endpoint: Endpoint, method: str, path: str, body: bytes, service: str = "sagemaker"
) -> tuple[int, dict[str, Any]]:
    """Status and JSON answer of a request with the endpoint's own credentials."""
    env = endpoint.environment()
    request = AWSRequest(
        method=method,
        url=env["AWS_ENDPOINT_URL"] + path,
        data=body,
        headers={"Content-Type": "application/json"},
    )
    key = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(key, service, env["AWS_DEFAULT_REGION"]).add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.ctx.config.port)
    connection.request(method, path, body, dict(request.prepare().headers))
    answer = connection.getresponse()
    data = json.loads(answer.read())
    connection.close()
    return answer.status, data
