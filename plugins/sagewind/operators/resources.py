"""Operators for resources that are not jobs: create or find, update, delete, tag, scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagewind import resources, tags
from sagewind.aws import look
from sagewind.errors import ResourceBusy, TaskRefused
from sagewind.facts.resources import RESOURCES, ResourceApi, ResourceName
from sagewind.facts.tags import FINGERPRINT
from sagewind.operators.base import Creation, SagewindOperator
from sagewind.ownership import check_rendered, fingerprint
from sagewind.pipeline.names import resource_name

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

#: An endpoint and a package have operators of their own.
_MADE_HERE = tuple(kind for kind in RESOURCES if kind not in ("endpoint", "package"))
_NAMESPACE, _DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"


class ResourceOperator(SagewindOperator):
    """Creates a model, an endpoint config, a package group or a monitoring schedule, or finds it.

    Corrects the provider's operators, which fail on what an earlier try left. Without `name` it has a name of its run
    with the request's fingerprint in it, so a changed request is another resource. With `name` it lasts beyond the run:
    one of another request is updated if SageMaker can do that (monitoring schedules), else refused. An endpoint has an
    operator of its own (`DeployOperator`). `labels` are further tags. Returns {name, arn}.
    """

    template_fields = ("request", "labels", "name")
    template_fields_renderers = {"request": "json"}  # noqa: RUF012
    ui_color = "#d5f5e3"

    def __init__(
        self,
        *,
        resource: ResourceName,
        request: dict[str, Any],
        name: str = "",
        labels: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        if resource not in _MADE_HERE:
            raise ValueError(f"resource is {resource!r}: use one of {', '.join(_MADE_HERE)}")
        shown = f"SageMaker {resource.replace('_', ' ')}"
        about = f"Creates the {shown}, or finds the one that an earlier try created. Red: AWS refused it; see the log."
        super().__init__(**{"doc_md": about, **kwargs})
        self.custom_operator_name = shown
        self.resource = resource
        self.request = request
        self.name = name
        self.labels = labels or {}

    def creates(self, context: Context) -> list[Creation]:
        """The resource."""
        kind, owner, digest = RESOURCES[self.resource], self.owned_by(context), fingerprint(self.request)
        name = self.name or resource_name(self.model, "", dag_id=owner.dag_id, run_id=owner.run_id, fingerprint=digest)
        marks = [*owner.tags(fingerprint=digest), *tags.made(self.labels)]
        return [(kind.create, {**self.request, kind.name_field: name, "Tags": marks})]

    def execute(self, context: Context) -> dict[str, Any]:
        """Create, or find what an earlier try created, or update."""
        check_rendered(self.request)
        kind, digest, (creation,) = RESOURCES[self.resource], fingerprint(self.request), self.creates(context)
        name = creation[1][kind.name_field]
        found = look(self.aws, kind, name)
        if found is None:
            found = self.send(creation)
            self.log.info("created %s %s", self.resource, name)
        elif tags.read(self.aws, found[kind.arn_field]).get(FINGERPRINT) == digest:
            self.log.info("%s %s was created before", self.resource, name)
        else:
            self._update(kind, name, found[kind.arn_field], digest)
        return {"name": name, "arn": found[kind.arn_field]}

    def _update(self, kind: ResourceApi, name: str, arn: str, digest: str) -> None:
        if not kind.update:
            raise TaskRefused(
                f"{self.resource} {name} was made from another request and SageMaker cannot change one: "
                "delete it or give another name"
            )
        getattr(self.aws.client("sagemaker"), kind.update)(**{**self.request, kind.name_field: name})
        tags.write(self.aws, arn, {FINGERPRINT: digest})
        self.log.info("updated %s %s", self.resource, name)


class DeleteOperator(SagewindOperator):
    """Deletes one resource; green if it is gone, by whomever. The provider deletes models only.

    Returns {name, deleted}: False if there was nothing. A package is named by its ARN.
    """

    about = "Deletes one resource. Red: AWS refused, or it is still there; the log says which."
    template_fields = ("name",)
    ui_color = "#d7dbdd"

    def __init__(self, *, resource: ResourceName, name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if resource not in RESOURCES:
            raise ValueError(f"unknown resource {resource!r}: use one of {', '.join(RESOURCES)}")
        self.resource = resource
        self.name = name

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete, and wait for an endpoint to be gone."""
        check_rendered(self.name, "name")
        deleted = resources.remove(self.aws, RESOURCES[self.resource], self.name)
        self.log.info("%s %s %s", self.resource, self.name, "is deleted" if deleted else "was not there")
        return {"name": self.name, "deleted": deleted}


class TagsOperator(SagewindOperator):
    """Sets and removes tags of any resource. Setting a tag twice is the same as once. Returns {arn, set, removed}."""

    about = "Sets and removes tags of one resource. Red: AWS refused; its answer is in the log."
    template_fields = ("arn", "values")

    def __init__(self, *, arn: str, values: dict[str, str], remove: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arn = arn
        self.values = values
        self.remove = remove or []

    def execute(self, context: Context) -> dict[str, Any]:
        """Set, then remove."""
        check_rendered({"arn": self.arn, "values": self.values}, "tags")
        sagemaker = self.aws.client("sagemaker")
        if self.values:
            sagemaker.add_tags(
                ResourceArn=self.arn, Tags=[{"Key": key, "Value": value} for key, value in self.values.items()]
            )
        if self.remove:
            sagemaker.delete_tags(ResourceArn=self.arn, TagKeys=self.remove)
        return {"arn": self.arn, "set": sorted(self.values), "removed": self.remove}


class ScalingOperator(SagewindOperator):
    """Lets an endpoint's variant scale between `least` and `most` instances by its invocations per instance and minute.

    Registers the target and puts one target-tracking policy; both calls set what they name, so a retry changes nothing.
    The provider has no such operator. Returns {resource, policy, arn}.
    """

    about = (
        "Lets the endpoint scale with its requests. Red: there is no such endpoint, or AWS refused; the log says which."
    )
    template_fields = ("endpoint",)

    def __init__(
        self,
        *,
        endpoint: str,
        variant: str,
        least: int,
        most: int,
        invocations_per_instance: float,
        scale_in_seconds: int = 300,
        scale_out_seconds: int = 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= least <= most or most < 1:
            raise ValueError(f"least is {least} and most is {most}: 0 <= least <= most and most >= 1 are needed")
        self.endpoint = endpoint
        self.variant = variant
        self.least = least
        self.most = most
        self.target = invocations_per_instance
        self.scale_in_seconds = scale_in_seconds
        self.scale_out_seconds = scale_out_seconds

    def execute(self, context: Context) -> dict[str, Any]:
        """Register, then put the policy."""
        check_rendered(self.endpoint, "endpoint")
        if look(self.aws, RESOURCES["endpoint"], self.endpoint) is None:
            raise ResourceBusy(f"endpoint {self.endpoint} does not exist: it must be there before it can scale")
        place = target(self.endpoint, self.variant)
        client = self.aws.client("application-autoscaling")
        client.register_scalable_target(**place, MinCapacity=self.least, MaxCapacity=self.most)
        policy = f"sagewind-{self.endpoint}-{self.variant}"
        made = client.put_scaling_policy(
            **place,
            PolicyName=policy,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": self.target,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                "ScaleInCooldown": self.scale_in_seconds,
                "ScaleOutCooldown": self.scale_out_seconds,
            },
        )
        return {"resource": place["ResourceId"], "policy": policy, "arn": made["PolicyARN"]}


class StopScalingOperator(SagewindOperator):
    """Ends the scaling of an endpoint's variant: deregistering the target deletes its policies.

    Returns {resource, deleted}: False if nothing scaled.
    """

    about = "Ends the scaling of the endpoint. Red: AWS refused; its answer is in the log."
    template_fields = ("endpoint",)
    ui_color = "#d7dbdd"

    def __init__(self, *, endpoint: str, variant: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.variant = variant

    def execute(self, context: Context) -> dict[str, Any]:
        """Deregister; green if there was nothing."""
        check_rendered(self.endpoint, "endpoint")
        place = target(self.endpoint, self.variant)
        client = self.aws.client("application-autoscaling")
        found = client.describe_scalable_targets(
            ServiceNamespace=_NAMESPACE, ResourceIds=[place["ResourceId"]], ScalableDimension=_DIMENSION
        )["ScalableTargets"]
        if found:
            client.deregister_scalable_target(**place)
        return {"resource": place["ResourceId"], "deleted": bool(found)}


def target(endpoint: str, variant: str) -> dict[str, str]:
    """An endpoint's variant as Application Auto Scaling names it."""
    return {
        "ServiceNamespace": _NAMESPACE,
        "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
        "ScalableDimension": _DIMENSION,
    }
