"""What operations of all kinds ask of a request: its bucket, the expected owner, no ACL; and the owner in answers."""

from __future__ import annotations

from localaws.s3 import errors
from localaws.s3.request import Request
from localaws.s3.store import S3Store
from localaws.s3.xmlio import element, group


def name_of(request: Request) -> str:
    """The bucket of a request that has one."""
    if request.bucket is None:
        raise errors.MethodNotAllowed()
    return request.bucket


def check_owner(store: S3Store, request: Request) -> None:
    """The owner that the client expects must be this account."""
    expected = request.header("x-amz-expected-bucket-owner")
    if expected is not None and expected != store.account:
        raise errors.AccessDenied()


def refuse_acl(request: Request) -> None:
    """Canned ACLs that mean nothing new pass, all others are refused: a new bucket of S3 has ACLs disabled."""
    canned = request.header("x-amz-acl")
    if canned not in (None, "private", "bucket-owner-full-control") or request.headers_with("x-amz-grant-"):
        raise errors.AccessControlListNotSupported()


def owner(store: S3Store, tag: str = "Owner") -> str:
    """The owner element: the account."""
    return group(tag, (element("ID", store.account), element("DisplayName", store.account)))
