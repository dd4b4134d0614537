"""Operations on buckets, and the configurations of a bucket that clients read although nobody set them."""

from __future__ import annotations

from localaws.coverage import Behaviour
from localaws.s3 import errors, xmlio
from localaws.s3.objects import check_tags
from localaws.s3.request import Request, Response
from localaws.s3.request_checks import check_owner, name_of, owner, refuse_acl
from localaws.s3.store import S3Store
from localaws.s3.xmlio import document, element, group

BEHAVIOURS = (
    Behaviour(
        "S3: objects are said to be encrypted (AES256) by default; new buckets have ACLs disabled",
        "documented",
        "Amazon S3 User Guide, Setting default server-side encryption behavior; Controlling ownership of objects",
    ),
    Behaviour("S3: making one's own bucket again succeeds in us-east-1 only", "documented",
              "Amazon S3 API Reference, CreateBucket, BucketAlreadyOwnedByYou"),
    Behaviour(
        "S3: reading a configuration that a bucket never has says that there is none", "documented",
        "Amazon S3 API Reference, Error responses",
    ),
)  # fmt: skip

EMPTY = {
    "accelerate": "AccelerateConfiguration",
    "logging": "BucketLoggingStatus",
    "notification": "NotificationConfiguration",
    "requestPayment": "RequestPaymentConfiguration",
    "versioning": "VersioningConfiguration",
}
"""Sub-resources that S3 answers with an empty document when they were never set."""

NOT_CONFIGURED = {
    "cors": ("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    "lifecycle": ("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
    "object-lock": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
    "ownershipControls": ("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"),
    "policy": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "policyStatus": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "publicAccessBlock": (
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    ),
    "replication": (
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    "website": ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
}
"""Sub-resources that S3 answers with a 404 of their own code when they were never set."""


def list_buckets(store: S3Store, request: Request) -> Response:
    """ListBuckets, in one page unless max-buckets says less."""
    prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
    limit = request.whole_number("max-buckets", 10_000)
    found = [b for b in store.buckets() if b.name.startswith(prefix) and b.name > after]
    shown = [
        group(
            "Bucket",
            (
                element("Name", b.name),
                element("CreationDate", xmlio.timestamp(b.created)),
                element("BucketRegion", b.region),
            ),
        )
        for b in found[:limit]
    ]
    parts = [group("Buckets", shown), owner(store)]
    if len(found) > limit > 0:
        parts.append(element("ContinuationToken", found[limit - 1].name))
    return document("ListAllMyBucketsResult", parts)


def create_bucket(store: S3Store, request: Request) -> Response:
    """CreateBucket; the location constraint must agree with the region that the request was signed for."""
    name = name_of(request)
    refuse_acl(request)
    data = request.body.read_all(xmlio.MAX_DOCUMENT)
    constraint = xmlio.parse(data, "CreateBucketConfiguration").get("LocationConstraint") if data else None
    region = request.region or store.region
    if constraint == "us-east-1":
        raise errors.InvalidLocationConstraint(LocationConstraint=constraint)
    if constraint is None and region != "us-east-1":
        raise errors.IllegalLocationConstraint()
    if constraint is not None and constraint != region:
        raise errors.IllegalLocationConstraint(
            f"The {constraint} location constraint is incompatible for the region specific endpoint this request was "
            "sent to."
        )
    store.create_bucket(name, region)
    return Response(200, [("Location", f"/{name}")])


def head_bucket(store: S3Store, request: Request) -> Response:
    """HeadBucket."""
    check_owner(store, request)
    bucket = store.bucket(name_of(request))
    return Response(200, [("x-amz-bucket-region", bucket.region), ("Content-Type", "application/xml")])


def delete_bucket(store: S3Store, request: Request) -> Response:
    """DeleteBucket."""
    check_owner(store, request)
    store.delete_bucket(name_of(request))
    return Response(204)


def location(store: S3Store, request: Request) -> Response:
    """GetBucketLocation: empty for us-east-1."""
    check_owner(store, request)
    region = store.bucket(name_of(request)).region
    return document("LocationConstraint", [] if region == "us-east-1" else [xmlio.escape(region)])


def get_tags(store: S3Store, request: Request) -> Response:
    """GetBucketTagging."""
    tags = store.bucket(name_of(request)).tags
    if tags is None:
        raise errors.NotConfigured("NoSuchTagSet", "The TagSet does not exist", BucketName=name_of(request))
    return xmlio.tagging(tags)


def put_tags(store: S3Store, request: Request) -> Response:
    """PutBucketTagging."""
    tags = check_tags(xmlio.parse_tags(request.body.read_all(xmlio.MAX_DOCUMENT)), bucket=True)
    store.set_bucket_tags(name_of(request), tags)
    return Response(204)


def delete_tags(store: S3Store, request: Request) -> Response:
    """DeleteBucketTagging."""
    store.set_bucket_tags(name_of(request), None)
    return Response(204)


def acl(store: S3Store, request: Request) -> Response:
    """GetBucketAcl and GetObjectAcl: the owner may do everything, as in every bucket with ACLs disabled."""
    if request.key is None:
        store.bucket(name_of(request))
    else:
        store.head(name_of(request), request.key)
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'
    grantee = owner(store, "Grantee").replace("<Grantee>", f"<Grantee {xsi}>", 1)
    grant = group("Grant", (grantee, element("Permission", "FULL_CONTROL")))
    return document("AccessControlPolicy", [owner(store), group("AccessControlList", [grant])])


def encryption(store: S3Store, request: Request) -> Response:
    """GetBucketEncryption: what every bucket has since 2023 (S3 user guide, "Default server-side encryption")."""
    store.bucket(name_of(request))
    default = group("ApplyServerSideEncryptionByDefault", [element("SSEAlgorithm", "AES256")])
    rule = group("Rule", [default, element("BucketKeyEnabled", False)])
    return document("ServerSideEncryptionConfiguration", [rule])


def empty_configuration(store: S3Store, request: Request) -> Response:
    """A configuration in its initial state."""
    store.bucket(name_of(request))
    name = next(name for name in EMPTY if name in request.query)
    return document(EMPTY[name], [element("Payer", "BucketOwner")] if name == "requestPayment" else [])


def not_configured(store: S3Store, request: Request) -> Response:
    """A configuration that does not exist."""
    store.bucket(name_of(request))
    name = next(name for name in NOT_CONFIGURED if name in request.query)
    code, message = NOT_CONFIGURED[name]
    raise errors.NotConfigured(code, message, BucketName=name_of(request))
