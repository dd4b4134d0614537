"""Waits for a person's word on a model package, given in Airflow or in AWS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from sagewind.triggers.waiting import WaitingTrigger, pauses


def approval(aws: Any, arn: str) -> dict[str, Any]:
    """Status and remark of a model package."""
    found = aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    return {
        "arn": arn,
        "status": found["ModelApprovalStatus"],
        "remark": found.get("ApprovalDescription", ""),
    }


class ApprovalTrigger(WaitingTrigger):
    """Ends the task in the triggerer: green when the package is `Approved`, red when it is `Rejected`."""

    def __init__(self, *, package_arn: str, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.package_arn = package_arn

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Path and arguments from which another triggerer makes the same trigger."""
        return (
            "sagewind.triggers.package.ApprovalTrigger",
            {
                "package_arn": self.package_arn,
                **self.waiting_arguments(),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until somebody decided; one event."""
        self.log.info("waiting for the approval of %s", self.package_arn)
        async for _ in pauses(first=1.0):
            record = await self.call(approval, self.aws, self.package_arn)
            if record["status"] == "Approved":
                yield TaskSuccessEvent(xcoms={"return_value": record})
                return
            if record["status"] == "Rejected":
                self.log.error("model package %s was rejected: %s", self.package_arn, record["remark"] or "no remark")
                yield TaskFailedEvent(xcoms={"return_value": record})
                return
            if self.timed_out:
                self.log.error("model package %s was neither approved nor rejected in time", self.package_arn)
                yield TaskFailedEvent(xcoms={"return_value": record})
                return
