"""Input channels of a training job: which objects go to which host, as files or as a stream."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from localaws.coverage import Behaviour
from localaws.engine.spec import ML
from localaws.errors import ValidationException
from localaws.jobs import s3data
from localaws.jobs.cluster import Cluster, Host
from localaws.jobs.outcome import JobError
from localaws.jobs.s3data import Entry

if TYPE_CHECKING:
    from localaws.s3.store import S3Store

T = TypeVar("T")
REFERENCE = "-ref"  # ending of an attribute that holds the S3 URI of the data
DATA = "input/data"  # below /opt/ml

BEHAVIOURS = (
    Behaviour("ShardedByS3Key: each host gets about 1/n of the objects", "documented", "S3DataSource"),
    Behaviour("the i-th object in key order goes to host i modulo n", "assumed"),
    Behaviour(
        "ShuffleConfig: the order of objects, or of augmented manifest lines, is shuffled by the seed, in Pipe mode "
        "anew in each epoch; with ShardedByS3Key across the hosts",
        "documented",
        "ShuffleConfig",
    ),
    Behaviour("the order that a seed gives", "assumed"),
    Behaviour(
        "AugmentedManifestFile in Pipe mode only; attributes in the order of AttributeNames, `-ref` ones as the object",
        "documented",
        "developer guide, Augmented Manifest Files for Training Jobs; Augmented Manifest File Format for Pipe Mode",
    ),
    Behaviour("an attribute that is no text is sent as JSON", "assumed"),
    Behaviour(
        "FastFile: objects as read-only files (here links to them, nothing is copied)",
        "documented",
        "TrainingInputMode",
    ),
    Behaviour("FastFile takes S3Prefix and ManifestFile, not AugmentedManifestFile", "assumed"),
    Behaviour(
        "File: a channel of more than 32 MiB is read-only (on AWS it is a copy that can be written to)", "assumed"
    ),
    Behaviour("a manifest's objects lie at their names below its prefix", "documented", "S3DataSource, S3Uri"),
)


@dataclass(frozen=True)
class ManifestItem:
    """One line of an augmented manifest: what is sent for each attribute, an object or a text."""

    parts: tuple[Entry | bytes, ...]


@dataclass(frozen=True)
class Channel:
    """One channel of a request, its defaults filled in."""

    name: str
    mode: str
    kind: str
    uri: str
    sharded: bool
    groups: tuple[str, ...]
    seed: int | None
    gzip: bool
    record_io: bool
    attributes: tuple[str, ...]
    content_type: str | None

    @classmethod
    def of(cls, given: Mapping[str, Any], default_mode: str) -> Channel:
        """A channel of a CreateTrainingJob request that was checked."""
        source = given["DataSource"]["S3DataSource"]
        return cls(
            name=given["ChannelName"],
            mode=given.get("InputMode", default_mode),
            kind=source["S3DataType"],
            uri=source["S3Uri"],
            sharded=source.get("S3DataDistributionType") == "ShardedByS3Key",
            groups=tuple(source.get("InstanceGroupNames", ())),
            seed=given.get("ShuffleConfig", {}).get("Seed"),
            gzip=given.get("CompressionType") == "Gzip",
            record_io=given.get("RecordWrapperType") == "RecordIO",
            attributes=tuple(source.get("AttributeNames", ())),
            content_type=given.get("ContentType"),
        )

    @property
    def described(self) -> dict[str, str]:
        """The channel's part of inputdataconfig.json."""
        content = {} if self.content_type is None else {"ContentType": self.content_type}
        return {
            **content,
            "TrainingInputMode": self.mode,
            "S3DistributionType": "ShardedByS3Key" if self.sharded else "FullyReplicated",
            "RecordWrapperType": "RecordIO" if self.record_io else "None",
        }

    def items(self, s3: S3Store) -> list[ManifestItem]:
        """All that the channel holds, in order; raises JobError when there is nothing."""
        if self.kind == "AugmentedManifestFile":
            return augmented(s3, self.uri, self.attributes)
        return [ManifestItem((entry,)) for entry in s3data.entries(s3, self.kind, self.uri)]

    def share(self, items: Sequence[T], cluster: Cluster, host: Host, epoch: int = 0) -> list[T]:
        """What of the items this host gets in an epoch; nothing when the channel is for other groups."""
        hosts = cluster.in_groups(self.groups)
        if host not in hosts:
            return []
        order = list(items)
        if self.seed is not None:
            random.Random(f"{self.seed}/{epoch}").shuffle(order)  # noqa: S311 - repeatable on purpose
        return order[hosts.index(host) :: len(hosts)] if self.sharded else order


def augmented(s3: S3Store, uri: str, attributes: Sequence[str]) -> list[ManifestItem]:
    """The lines of an augmented manifest; raises JobError naming the line that is wrong."""
    text = s3data.read_object(s3, uri, "augmented manifest")
    found = [_line(uri, n, line, attributes) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not found:
        raise JobError("ClientError", f"Data download failed: the augmented manifest {uri} is empty")
    return found


def _line(uri: str, number: int, line: bytes, attributes: Sequence[str]) -> ManifestItem:
    where = f"line {number} of the augmented manifest {uri}"
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise JobError("ClientError", f"{where} is no JSON object")
    parts: list[Entry | bytes] = []
    for name in attributes:
        if name not in values:
            raise JobError("ClientError", f"{where} has no attribute '{name}'")
        value = values[name]
        if name.endswith(REFERENCE):
            parts.append(_reference(where, name, value))
        else:
            parts.append((value if isinstance(value, str) else json.dumps(value)).encode())
    return ManifestItem(tuple(parts))


def _reference(where: str, name: str, value: object) -> Entry:
    try:
        bucket, key = s3data.split(str(value))
    except ValidationException as error:
        raise JobError("ClientError", f"{where}, attribute '{name}': {error.message}") from None
    return Entry(bucket, key, PurePosixPath(key))


def lay_files(s3: S3Store, channel: Channel, items: Sequence[ManifestItem], root: Path) -> dict[Path, str]:
    """Put a host's share of a File or FastFile channel below its root; returns what to mount read-only, and where.

    A small File channel is the job's own: programs may write to it as on AWS. The SDK's ModelTrainer starts its jobs
    with a `chmod` of a script that it sent as a channel.
    """
    place = f"{DATA}/{channel.name}"
    found = (part for item in items for part in item.parts if isinstance(part, Entry))
    return s3data.lay(s3, found, root / place, f"{ML}/{place}", copy=channel.mode == "File")


def check(request: Mapping[str, Any], cluster: Cluster) -> None:
    """Raise ValidationException for channels that AWS refuses beyond the model, or that are not done here."""
    default_mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    given = request.get("InputDataConfig", ())
    for channel in given:
        _check_channel(channel, default_mode, cluster)
    names = [channel["ChannelName"] for channel in given]
    if len(set(names)) != len(names):
        raise ValidationException("InputDataConfig holds two channels of the same name")


def _check_channel(given: Mapping[str, Any], default_mode: str, cluster: Cluster) -> None:
    where = f"InputDataConfig channel '{given['ChannelName']}'"
    source = given["DataSource"].get("S3DataSource")
    if source is None:
        raise ValidationException(f"{where} has no S3DataSource")
    s3data.split(source["S3Uri"])
    channel = Channel.of(given, default_mode)
    if channel.kind == "Converse":
        raise ValidationException(
            f"{where}: S3DataType Converse is not supported here, use S3Prefix, ManifestFile or AugmentedManifestFile"
        )
    if channel.name in (".", ".."):
        raise ValidationException(f"{where}: the name is no directory's")
    if channel.mode != "Pipe":
        _check_files(where, channel, given)
    if (channel.kind == "AugmentedManifestFile") != bool(channel.attributes):
        raise ValidationException(f"{where}: AttributeNames and S3DataType AugmentedManifestFile go together")
    if unknown := sorted(set(channel.groups) - {h.group for h in cluster.hosts}):
        raise ValidationException(f"{where}: InstanceGroupNames holds '{unknown[0]}', which is no instance group")


def _check_files(where: str, channel: Channel, given: Mapping[str, Any]) -> None:
    """CompressionType and RecordWrapperType are for Pipe mode (Channel), so are augmented manifests (S3DataSource)."""
    if channel.kind == "AugmentedManifestFile":
        raise ValidationException(f"{where}: AugmentedManifestFile can only be used with input mode Pipe")
    for key in ("CompressionType", "RecordWrapperType"):
        if given.get(key, "None") != "None":
            raise ValidationException(f"{where}: {key} {given[key]} is not possible with input mode {channel.mode}")
