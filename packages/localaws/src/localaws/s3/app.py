"""The WSGI front of the store: finds the operation of a request and turns S3Error into S3's error document."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from http.client import responses
from typing import Any

from localaws.s3 import bucket_ops, errors, listing_ops, multipart_ops, names, object_ops, xmlio
from localaws.s3.headers import refuse_unsupported
from localaws.s3.request import Request, Response
from localaws.s3.store import S3Store

Handler = Callable[[S3Store, Request], Response]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_log = logging.getLogger(__name__)

_SERVICE: dict[str, Handler] = {"GET": bucket_ops.list_buckets}

_BUCKET: dict[tuple[str, str], Handler] = {
    ("GET", ""): listing_ops.list_objects,
    ("HEAD", ""): bucket_ops.head_bucket,
    ("PUT", ""): bucket_ops.create_bucket,
    ("DELETE", ""): bucket_ops.delete_bucket,
    ("POST", "delete"): object_ops.delete_objects,
    ("GET", "location"): bucket_ops.location,
    ("GET", "uploads"): multipart_ops.list_uploads,
    ("GET", "versions"): listing_ops.list_versions,
    ("GET", "tagging"): bucket_ops.get_tags,
    ("PUT", "tagging"): bucket_ops.put_tags,
    ("DELETE", "tagging"): bucket_ops.delete_tags,
    ("GET", "acl"): bucket_ops.acl,
    ("GET", "encryption"): bucket_ops.encryption,
    **{("GET", name): bucket_ops.empty_configuration for name in bucket_ops.EMPTY},
    **{("GET", name): bucket_ops.not_configured for name in bucket_ops.NOT_CONFIGURED},
}

_OBJECT: dict[tuple[str, str], Handler] = {
    ("GET", ""): object_ops.get_object,
    ("HEAD", ""): object_ops.head_object,
    ("PUT", ""): object_ops.put_or_copy,
    ("DELETE", ""): object_ops.delete_object,
    ("GET", "tagging"): object_ops.get_tags,
    ("PUT", "tagging"): object_ops.put_tags,
    ("DELETE", "tagging"): object_ops.delete_tags,
    ("GET", "acl"): bucket_ops.acl,
    ("POST", "uploads"): multipart_ops.create,
    ("PUT", "uploadId"): multipart_ops.upload_part,
    ("GET", "uploadId"): multipart_ops.list_parts,
    ("POST", "uploadId"): multipart_ops.complete,
    ("DELETE", "uploadId"): multipart_ops.abort,
}


def s3_app(store: S3Store, hosts: Sequence[str] = ("localhost",)) -> WsgiApp:
    """A WSGI callable for path-style requests and virtual-host-style ones below any of `hosts`.

    The caller has checked who is asking. It must hand `environ` over unread, with REQUEST_URI if the server gives it.
    """

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        response, request_id = _answer(store, environ, hosts)
        headers = [("x-amz-request-id", request_id), ("x-amz-id-2", request_id), ("Server", "AmazonS3")]
        headers += response.headers
        body = response.body
        if isinstance(body, bytes):
            if not any(name == "Content-Length" for name, _value in headers):
                headers.append(("Content-Length", str(len(body))))
            body = () if environ["REQUEST_METHOD"] == "HEAD" else (body,)
        start_response(f"{response.status} {responses.get(response.status, '')}", headers)
        return body

    return app


def _answer(store: S3Store, environ: dict[str, Any], hosts: Sequence[str]) -> tuple[Response, str]:
    request = None
    resource, request_id = "/", "0"
    try:
        request = Request(environ, hosts)
        resource, request_id = f"/{request.bucket or ''}/{request.key or ''}", request.id
        response = _handler(request, environ, hosts)(store, request)
    except errors.S3Error as error:
        if error.status in (500, 503):
            _log.warning("%s %s: %s", environ["REQUEST_METHOD"], resource, error.message)
        response = _failure(error, resource, request_id)
    except Exception:
        _log.exception("%s %s failed", environ["REQUEST_METHOD"], resource)
        response = _failure(errors.InternalError(), resource, request_id)
    if request is not None:
        request.body.drain()
    return response, request_id


def _failure(error: errors.S3Error, resource: str, request_id: str) -> Response:
    if error.status == 304:
        return Response(304)
    return Response(
        error.status,
        [("Content-Type", "application/xml")],
        xmlio.error_document(error, resource, request_id),
    )


def _handler(request: Request, environ: dict[str, Any], hosts: Sequence[str]) -> Handler:
    refuse_unsupported(request)
    if request.bucket is None:
        found = _SERVICE.get(request.method)
        if found is None:
            raise errors.MethodNotAllowed(Method=request.method, ResourceType="SERVICE")
        return found
    table = _BUCKET if request.key is None else _OBJECT
    # A selector that is not looked for would be ignored: a PUT of an object's annotation would replace the object.
    sub = next((name for name in request.query if name in names.selectors()), "")
    found = table.get((request.method, sub))
    if found is None:
        operation = names.operation_name(environ, hosts)
        kind = f"{request.method} ?{sub}" if sub else request.method
        what = kind if operation == "Unknown" else f"{operation} ({kind})"
        raise errors.NotImplementedS3(
            f"{what} of a {'bucket' if request.key is None else 'key'} is not supported here."
        )
    return found
