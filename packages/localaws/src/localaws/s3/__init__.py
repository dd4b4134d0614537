"""Amazon S3 on disk: an object's bytes are one file, everything said about it is a row in SQLite.

`S3Store` is what the rest of the endpoint uses (job inputs as hard links, job outputs as renames); `s3_app` serves the
same store to every S3 client over HTTP.
"""

from localaws.s3.app import s3_app
from localaws.s3.errors import S3Error
from localaws.s3.objects import ObjectInfo, ObjectMeta
from localaws.s3.store import S3Store

__all__ = ["ObjectInfo", "ObjectMeta", "S3Error", "S3Store", "s3_app"]
