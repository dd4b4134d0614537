"""What a model consists of when it is to be served: image, artifact and environment; and fetching the artifact."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localaws import archives
from localaws.coverage import Behaviour
from localaws.engine.spec import ML
from localaws.jobs import s3data
from localaws.jobs.outcome import JobError
from localaws.s3 import S3Error, S3Store

BEHAVIOURS = (
    Behaviour("an uncompressed model of more than 32 MiB is read-only, a smaller one is the server's own", "assumed"),
)


class ModelDataError(Exception):
    """The artifact cannot be had; the text is fit for a FailureReason."""


@dataclass(frozen=True)
class Artifact:
    """Where the model's files are: one gzipped tar archive, or every object below a prefix as it is."""

    uri: str
    archive: bool = True


@dataclass(frozen=True)
class ServedModel:
    """A container definition with nothing left to look up; kept with whatever was started from it.

    `then` are the further containers of an inference pipeline; `name` is what reasons and logs call this one.
    """

    image: str
    artifact: Artifact | None
    environment: Mapping[str, str] = field(default_factory=dict)
    isolated: bool = False  # whether it gets no network
    name: str = "primary"
    then: tuple[ServedModel, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON, for the store."""
        artifact = self.artifact and {"uri": self.artifact.uri, "archive": self.artifact.archive}
        return {
            "image": self.image,
            "artifact": artifact,
            "environment": dict(self.environment),
            "isolated": self.isolated,
            "name": self.name,
            "then": [container.document() for container in self.then],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ServedModel:
        """Back from `document`."""
        artifact = document.get("artifact")
        return cls(
            document["image"],
            Artifact(**artifact) if artifact else None,
            document["environment"],
            document.get("isolated", False),
            document.get("name", "primary"),
            tuple(cls.from_document(container) for container in document.get("then", ())),
        )


def fetch(s3: S3Store, artifact: Artifact | None, target: Path) -> dict[Path, str]:
    """Put the model's files under `target` (created); returns what to mount read-only, and where.

    ModelDataError when they are not there or not readable.
    """
    target.mkdir(parents=True)
    if artifact is None:
        return {}
    try:
        if artifact.archive:
            _extract(s3, artifact.uri, target)
            return {}
        return s3data.lay(s3, s3data.prefix_entries(s3, s3data.join(artifact.uri, "")), target, f"{ML}/model")
    except (S3Error, JobError) as error:
        raise ModelDataError(
            f'Failed to download model data from URL "{artifact.uri}" ({error}). '
            "Please ensure that there is an object located at the URL."
        ) from error


def _extract(s3: S3Store, uri: str, target: Path) -> None:
    bucket, key = s3data.split(uri)
    with s3.open(bucket, key) as source:
        try:
            with tarfile.open(fileobj=source, mode="r:gz") as archive:
                archives.extract(archive, target)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ModelDataError(
                f'Failed to extract model data archive from URL "{uri}" ({error}). '
                "Please ensure that the object located at the URL is a valid tar.gz archive."
            ) from error
