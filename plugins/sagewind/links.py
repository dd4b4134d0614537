"""The link from a task to its job: AWS's console, or the status page of the local endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

from sagewind.facts.kinds import KINDS, KindName

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class JobLink(BaseOperatorLink):
    """A button of the task; Airflow stores the address when the worker has started, or attached to, the job."""

    name = "SageMaker job"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address; empty until there is a job, and for an endpoint that is neither AWS's nor on this machine."""
        job: Any = operator  # a JobOperator, whose module imports this one
        if getattr(job, "job_name", None) is None:
            return ""
        meta = job.aws.client("sagemaker").meta
        return address(meta.endpoint_url, meta.partition, meta.region_name, job.kind, job.job_name)


def address(endpoint: str, partition: str, region: str, kind: KindName, name: str) -> str:
    """Where a job is shown; see `JobLink`."""
    from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink

    host = urlsplit(endpoint).hostname or ""
    if host in ("localhost", "127.0.0.1", "::1"):
        return f"{endpoint.rstrip('/')}/_localaws/page/{KINDS[kind].resource}/{quote(name, safe='')}"
    domain = BaseAwsLink.get_aws_domain(partition)
    if domain is None or not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return ""
    console = BASE_AWS_CONSOLE_LINK.format(aws_domain=domain)
    return f"{console}/sagemaker/home?region={region}#/{KINDS[kind].console}/{name}"
