"""SageMaker's way of naming: every call and field of a thing follows from one word, its stem."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Longest name of most jobs and resources, in characters.
NAME_LIMIT = 63


@dataclass(frozen=True)
class ApiNames:
    """boto3's method names and the fields of requests and descriptions, from a stem such as `ProcessingJob`."""

    stem: str

    @property
    def snake(self) -> str:
        """The stem as boto3's methods write it, for example `processing_job`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.stem).lower()

    @property
    def create(self) -> str:
        """Method that makes one."""
        return f"create_{self.snake}"

    @property
    def describe(self) -> str:
        """Method that tells all about one."""
        return f"describe_{self.snake}"

    @property
    def list(self) -> str:
        """Method that lists them; its paginator has the same name."""
        return f"list_{self.snake}s"

    @property
    def name_field(self) -> str:
        """Field that names one."""
        return f"{self.stem}Name"

    @property
    def arn_field(self) -> str:
        """Field with the ARN in a description and a summary."""
        return f"{self.stem}Arn"

    @property
    def status_field(self) -> str:
        """Field with the status in a description and a summary."""
        return f"{self.stem}Status"


def says_missing(code: str, message: str) -> bool:
    """True if AWS's error code and message say that the thing asked for does not exist.

    SageMaker answers Describe of an unknown name with ValidationException for most resources and with
    ResourceNotFound for some (seen in the provider's operators, which rely on both).
    """
    if code in ("ResourceNotFound", "ResourceNotFoundException"):
        return True
    words = ("not find", "not exist", "not found")
    return code == "ValidationException" and any(word in message for word in words)
