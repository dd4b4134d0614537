"""The user's code: fetched from S3 or a local path and unpacked into one directory."""

import contextlib
import datetime
import hashlib
import hmac
import os
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from importlib import metadata
from pathlib import Path

from container_toolkit.base import UserError, log

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(==\s*[^\s;#,]+)?")


def prepare(uri: str, dest: Path) -> Path:
    """Make the code at `uri` (s3://...tar.gz, a tar.gz, a directory, one file) available in `dest`, which is returned.

    As in AWS's toolkit a `dest` that holds something already is left as it is.
    """
    if Path(uri) == dest or (dest.is_dir() and any(dest.iterdir())):
        return dest
    dest.mkdir(parents=True, exist_ok=True)
    if uri.startswith("s3://"):
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch) / "source.tar.gz"
            download(uri, archive)
            _extract(archive, dest, uri)
        return dest
    source = Path(uri.removeprefix("file://"))
    if source.is_dir():
        shutil.copytree(source, dest, dirs_exist_ok=True)
    elif not source.exists():
        raise UserError(f"sagemaker_submit_directory names {uri}, which does not exist in the container.")
    elif source.name.endswith((".tar.gz", ".tgz", ".tar")):
        _extract(source, dest, uri)
    else:
        shutil.copy2(source, dest)
    return dest


def _extract(archive: Path, dest: Path, name: str) -> None:
    """Unpack without letting a member leave `dest`, be a device or carry an owner (PEP 706's data filter)."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            tar.extractall(dest, filter="data")
    except tarfile.FilterError as error:
        raise UserError(f"{name} is refused, it holds a member that would leave its directory: {error}.") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(
            f"{name} cannot be unpacked, it should be a .tar.gz of the source directory: {error}."
        ) from None


def check_requirements(directory: Path) -> None:
    """A requirements.txt is met by what the image holds, or an error: the local image installs nothing in a job."""
    file = directory / "requirements.txt"
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        found = _REQUIREMENT.match(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        name, pin = found[1], (found[2] or "").removeprefix("==").strip()
        installed = None
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed = metadata.version(name)
        if installed is None or (pin and pin != installed):
            has = f"{name} {installed}" if installed else f"no {name}"
            raise UserError(
                f"requirements.txt asks for {line.strip()!r} but the local image has {has}: "
                "add it to the image's requirements, nothing is installed while a job runs."
            )
        log(f"requirements.txt: {name} is there already ({installed})")


def download(uri: str, dest: Path) -> None:
    """GET one object of S3, signed with the job's credentials (boto3 is not in the image, and one GET needs none)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    path = "/" + urllib.parse.quote(f"{bucket}/{key}", safe="/-_.~")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    url = urllib.parse.urlsplit(endpoint or f"https://s3.{region}.amazonaws.com")
    if url.scheme not in ("http", "https"):
        raise UserError(f"AWS_ENDPOINT_URL is {endpoint!r}, it must begin with http:// or https://.")
    request = urllib.request.Request(f"{url.scheme}://{url.netloc}{path}")  # noqa: S310 - checked above
    for name, value in _signature(url.netloc, path, region, datetime.datetime.now(datetime.UTC)).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer, dest.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
    except urllib.error.HTTPError as error:
        raise UserError(f"{uri} cannot be read: S3 answered {error.code} {error.reason}.") from None
    except OSError as error:
        raise UserError(f"{uri} cannot be read: {error}.") from None


def _signature(host: str, path: str, region: str, now: datetime.datetime) -> dict[str, str]:
    """The headers of AWS Signature Version 4 for a GET without a body; none without credentials."""
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        return {}
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    signed = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"GET\n{path}\n\n{lines}\n{signed}\n{empty}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    del headers["host"]  # urllib writes it itself
    credential = f"Credential={access}/{scope}, SignedHeaders={signed}, Signature={signature}"
    return {**headers, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}
