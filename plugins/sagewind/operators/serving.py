"""Endpoints: create once, update without a gap, go back when the new config is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagewind import endpoints
from sagewind.aws import error_code
from sagewind.errors import ResourceBusy
from sagewind.operators.base import Creation, SagewindOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class DeployOperator(SagewindOperator):
    """Creates the endpoint, or updates it to the new config without a gap. Starts only; an EndpointSensor waits.

    Returns {name, arn, config, previous}: `previous` is the config that served before, or None. It is written as a tag
    on the new config before the update, so that whoever has to go back finds it even if this task died.
    """

    about = (
        "Creates the endpoint, or starts its update to this run's config; another task waits for the end. Red: AWS "
        "refused, or another deployment does not end; look at the endpoint in AWS."
    )
    custom_operator_name = "SageMaker endpoint"
    template_fields = ("endpoint", "config")
    ui_color = "#d5f5e3"

    def __init__(self, *, endpoint: str, config: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.config = config

    def creates(self, context: Context) -> list[Creation]:
        """The endpoint. One that is there is updated instead, to the same config."""
        names = {"EndpointName": self.endpoint, "EndpointConfigName": self.config}
        return [("create_endpoint", {**names, "Tags": self.owned_by(context).tags()})]

    def execute(self, context: Context) -> dict[str, Any]:
        """Create or update; an endpoint that another deployment is changing is awaited first."""
        found = endpoints.look(self.aws, self.endpoint)
        if found is not None and found["EndpointStatus"] in endpoints.CHANGING:
            if self._is_ours(found):
                self.log.info("an earlier try of this task has started the deployment")
                return self._record(found["EndpointArn"], endpoints.previous_of(self.aws, self.config))
            if not endpoints.settle(self.aws, self.endpoint):
                raise ResourceBusy(f"endpoint {self.endpoint} is still {found['EndpointStatus']}: look at it in AWS")
            found = endpoints.look(self.aws, self.endpoint)
        if found is not None and found["EndpointStatus"] == "Failed":
            self.log.warning("endpoint %s is Failed (%s): replacing it", self.endpoint, found.get("FailureReason"))
            endpoints.delete(self.aws, self.endpoint)
            found = None
        return self._create(context) if found is None else self._update(found)

    def _is_ours(self, found: dict[str, Any]) -> bool:
        """Whether the change in progress leads to this task's config."""
        creating = found["EndpointStatus"] == "Creating" and found["EndpointConfigName"] == self.config
        return creating or endpoints.incoming(found) == self.config

    def _create(self, context: Context) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        (creation,) = self.creates(context)
        try:
            made = self.send(creation)
        except ClientError as error:
            if "already exist" in str(error) or error_code(error) == "ResourceInUse":
                raise ResourceBusy(
                    f"endpoint {self.endpoint} was made by another run: the next try updates it"
                ) from None
            raise
        self.log.info("creating endpoint %s with config %s", self.endpoint, self.config)
        return self._record(made["EndpointArn"], None)

    def _update(self, found: dict[str, Any]) -> dict[str, Any]:
        current = found["EndpointConfigName"]
        if current == self.config:
            self.log.info("endpoint %s has config %s already", self.endpoint, self.config)
            return self._record(found["EndpointArn"], endpoints.previous_of(self.aws, self.config))
        endpoints.remember_previous(self.aws, self.config, current)
        self.aws.client("sagemaker").update_endpoint(EndpointName=self.endpoint, EndpointConfigName=self.config)
        self.log.info("updating endpoint %s from config %s to %s", self.endpoint, current, self.config)
        return self._record(found["EndpointArn"], current)

    def _record(self, arn: str, previous: str | None) -> dict[str, Any]:
        return {"name": self.endpoint, "arn": arn, "config": self.config, "previous": previous}


class RestoreOperator(SagewindOperator):
    """After a deployment that was not verified: the endpoint serves again what it served before.

    Runs at the end of every run, as a teardown does, so that a run which somebody marks as failed goes back as well.
    Does nothing if `verify_task` returned its record. Touches the endpoint only if it serves this run's config; if
    nothing served before, the endpoint is deleted. The version that was not verified is rejected in the registry.
    Returns {name, config}; `config` is None if no endpoint is left.
    """

    about = (
        "Puts back what served before, if this run deployed and was not verified. Skipped: nothing is to be put back. "
        "Red: the endpoint could not go back; look at it in AWS at once, it serves the wrong model or none."
    )
    template_fields = ("endpoint",)
    ui_color = "#f5b7b1"

    def __init__(
        self,
        *,
        endpoint: str,
        config_task: str = "endpoint_config",
        verify_task: str = "verify",
        register_task: str = "register",
        **kwargs: Any,
    ) -> None:
        super().__init__(plan_task=None, **kwargs)
        self.endpoint = endpoint
        self.config_task = config_task
        self.verify_task = verify_task
        self.register_task = register_task

    def execute(self, context: Context) -> dict[str, Any]:
        """Go back and wait until it is so."""
        ti, name = context["ti"], self.endpoint
        own = ti.xcom_pull(task_ids=self.config_task)
        if own is None:
            raise self.skipped("this run made no endpoint config: nothing to restore")
        if ti.xcom_pull(task_ids=self.verify_task) is not None:
            raise self.skipped("the deployment was verified: nothing to restore")
        if not endpoints.settle(self.aws, name):
            raise ResourceBusy(f"endpoint {name} is still changing: the next try looks again")
        found = endpoints.look(self.aws, name)
        self._reject(ti.xcom_pull(task_ids=self.register_task))
        if found is None or found["EndpointConfigName"] != own["name"]:
            self.log.info("endpoint %s does not serve this run's config: it stays as it is", name)
            return {"name": name, "config": found and found["EndpointConfigName"]}
        previous = endpoints.previous_of(self.aws, own["name"])
        if previous is None:
            endpoints.delete(self.aws, name)
            self.log.info("deleted endpoint %s: nothing served before this run", name)
            return {"name": name, "config": None}
        self.aws.client("sagemaker").update_endpoint(EndpointName=name, EndpointConfigName=previous)
        endpoints.settle(self.aws, name)
        verdict, sentence = endpoints.judge(endpoints.look(self.aws, name), name, previous)
        if verdict != "serving":
            raise ResourceBusy(f"endpoint {name} could not go back to {previous}: {sentence}")
        self.log.info("endpoint %s serves the previous config %s again", name, previous)
        return {"name": name, "config": previous}

    def _reject(self, registered: dict[str, Any] | None) -> None:
        """A version whose endpoint was not verified must not become a champion or score batches."""
        if registered is None:
            return
        self.aws.client("sagemaker").update_model_package(
            ModelPackageArn=registered["arn"],
            ModelApprovalStatus="Rejected",
            ApprovalDescription="its endpoint was not verified",
        )
