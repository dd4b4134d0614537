"""The question to a person in Airflow's UI, which an approval made in AWS answers as well."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator

from sagewind import settings
from sagewind.aws import AwsClients

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

APPROVE, REJECT = "Approve", "Reject"


class AskApprovalOperator(HITLOperator):
    """Asks for the approval of a model package and writes the answer into the registry. Returns {arn, status}.

    Airflow's own operator waits for an answer in Airflow only, so a package that was approved in AWS would leave the
    question, and with it the run, open for ever. This one holds no worker either, but looks into the registry every
    `look_again` (left out: the setting). It ends green with either answer: what goes on from here waits for an
    `ApprovalSensor`.
    """

    about = (
        "Asks a person to approve or reject this version, on this task's page and under Required Actions. Green with "
        "either answer: what follows waits for the registry."
    )
    template_fields = (*HITLOperator.template_fields, "package_arn")

    def __init__(
        self,
        *,
        package_arn: str,
        connection: str,
        region: str | None,
        look_again: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        look_again = look_again or timedelta(seconds=settings.APPROVAL_LOOK_AGAIN.read())
        super().__init__(options=[APPROVE, REJECT], response_timeout=look_again, **{"doc_md": self.about, **kwargs})
        self.package_arn = package_arn
        self.connection = connection
        self.region = region

    def execute(self, context: Context) -> Any:
        """Return at once if somebody has decided, else wait for an answer."""
        status = self._status()
        if status != "PendingManualApproval":
            self.log.info("%s is %s already", self.package_arn, status)
            return {"arn": self.package_arn, "status": status}
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """An answer, or the end of a waiting period: then look into the registry and wait again."""
        if event.get("error_type") == "timeout":
            return self.execute(context)
        answer = super().execute_complete(context, event)
        if self._status() == "PendingManualApproval":
            who = (answer.get("responded_by_user") or {}).get("name", "somebody")
            status = "Approved" if answer["chosen_options"] == [APPROVE] else "Rejected"
            AwsClients(self.connection, self.region).client("sagemaker").update_model_package(
                ModelPackageArn=self.package_arn,
                ModelApprovalStatus=status,
                ApprovalDescription=f"{status} by {who} in Airflow",
            )
        return {"arn": self.package_arn, "status": self._status()}

    def _status(self) -> str:
        sagemaker = AwsClients(self.connection, self.region).client("sagemaker")
        return str(sagemaker.describe_model_package(ModelPackageName=self.package_arn)["ModelApprovalStatus"])
