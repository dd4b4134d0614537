"""Stopping and deleting in the order that AWS needs: jobs, endpoints, configs, models, packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sagewind import endpoints, job_records
from sagewind import tags as tagging
from sagewind.aws import AwsClients, is_missing
from sagewind.kinds import KINDS

_LISTS: dict[str, tuple[str, str]] = {
    **{name: (kind.list, kind.summaries) for name, kind in KINDS.items()},
    "endpoint": ("list_endpoints", "Endpoints"),
    "endpoint_config": ("list_endpoint_configs", "EndpointConfigs"),
    "model": ("list_models", "Models"),
    "package_group": ("list_model_package_groups", "ModelPackageGroupSummaryList"),
}
ListedItem = dict[str, Any]


class Sweep:
    """One clean-up: `deleted` holds what went, `failed` a sentence for each thing that did not; it always goes on."""

    def __init__(self, aws: AwsClients) -> None:
        self.aws = aws
        self.deleted: list[dict[str, str]] = []
        self.failed: list[str] = []

    @property
    def _sagemaker(self) -> Any:
        return self.aws.client("sagemaker")

    def listing(self, kind: str, **filters: Any) -> Iterator[ListedItem]:
        """Summaries of everything of one kind."""
        operation, field = _LISTS[kind]
        for page in self._sagemaker.get_paginator(operation).paginate(**filters):
            yield from page[field]

    def tags(self, arn: str) -> dict[str, str]:
        """Our tags of one resource; none if it was deleted since it was listed."""
        try:
            return tagging.read(self.aws, arn)
        except Exception as error:
            if is_missing(error):
                return {}
            raise

    def attempt(self, kind: str, name: str, action: Callable[[], Any]) -> None:
        """Do it and write it down; what is gone already is fine, any other fault is a sentence in `failed`."""
        try:
            if action() is not False:
                self.deleted.append({"kind": kind, "name": name})
        except Exception as error:
            if not is_missing(error):
                self.failed.append(f"{kind} {name}: {error}")

    def stop_jobs(self, digest: str) -> None:
        """Stop every job of the run that is alive. What ran stays in SageMaker's history: it costs nothing."""
        for name, kind in KINDS.items():
            for status in ("InProgress", "Stopping"):
                for item in self.listing(name, NameContains=digest, StatusEquals=status):
                    job = item[kind.name_field]
                    try:
                        if job_records.stop(self.aws, kind, job, "teardown"):
                            self.deleted.append({"kind": f"{name} job (stopped)", "name": job})
                    except Exception as error:
                        self.failed.append(f"{name} job {job}: {error}")

    def delete_endpoints(self, digest: str) -> None:
        """Delete the run's own endpoints and wait until they are gone."""
        for item in list(self.listing("endpoint", NameContains=digest)):
            name = item["EndpointName"]
            self.attempt("endpoint", name, lambda name=name: endpoints.delete(self.aws, name))  # type: ignore[misc]

    def delete_package_groups(self, digest: str) -> None:
        """Delete the run's own package groups with their versions."""
        for item in list(self.listing("package_group", NameContains=digest)):
            group = item["ModelPackageGroupName"]
            pages = self._sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
            for package in [package for page in pages for package in page["ModelPackageSummaryList"]]:
                arn = package["ModelPackageArn"]
                self.attempt(
                    "model package",
                    arn.split("/", 1)[1],
                    lambda arn=arn: self._sagemaker.delete_model_package(ModelPackageName=arn),  # type: ignore[misc]
                )
            self.attempt(
                "model package group",
                group,
                lambda group=group: self._sagemaker.delete_model_package_group(  # type: ignore[misc]
                    ModelPackageGroupName=group
                ),
            )

    def delete_unused_configs_and_models(self, digest: str) -> None:
        """Delete the run's configs that no endpoint uses, then the run's models that no config uses."""
        used = self._configs_in_use()
        for item in list(self.listing("endpoint_config", NameContains=digest)):
            if item["EndpointConfigName"] not in used:
                self.delete_config(item["EndpointConfigName"])
        models = self._models_in_use()
        for item in list(self.listing("model", NameContains=digest)):
            if item["ModelName"] not in models:
                self.delete_model(item["ModelName"])

    def delete_superseded(self, endpoint: str, model: str, digest: str) -> None:
        """Delete what this run replaced: the config before its own, if the endpoint serves the run's config now."""
        found = endpoints.look(self.aws, endpoint)
        if found is None or digest not in found["EndpointConfigName"] or found["EndpointStatus"] != "InService":
            return
        previous = endpoints.previous_of(self.aws, found["EndpointConfigName"])
        if previous is None or previous in self._configs_in_use():
            return
        try:
            old = self._sagemaker.describe_endpoint_config(EndpointConfigName=previous)
        except Exception as error:
            if is_missing(error):
                return
            self.failed.append(f"endpoint_config {previous}: {error}")
            return
        if self.tags(old["EndpointConfigArn"]).get("model") != model:
            return  # not ours: somebody deployed it by hand
        self.delete_config(previous)
        in_use = self._models_in_use()
        for variant in old["ProductionVariants"]:
            if variant["ModelName"] not in in_use:
                self.delete_model(variant["ModelName"])

    def delete_config(self, name: str) -> None:
        """Delete one endpoint config."""
        self.attempt("endpoint config", name, lambda: self._sagemaker.delete_endpoint_config(EndpointConfigName=name))

    def delete_model(self, name: str) -> None:
        """Delete one model."""
        self.attempt("model", name, lambda: self._sagemaker.delete_model(ModelName=name))

    def _configs_in_use(self) -> set[str]:
        used = set()
        for item in self.listing("endpoint"):
            found = endpoints.look(self.aws, item["EndpointName"])
            if found is not None:
                used |= {found["EndpointConfigName"], endpoints.incoming(found) or found["EndpointConfigName"]}
        return used

    def _models_in_use(self) -> set[str]:
        used = set()
        for item in self.listing("endpoint_config"):
            try:
                config = self._sagemaker.describe_endpoint_config(EndpointConfigName=item["EndpointConfigName"])
            except Exception as error:
                if is_missing(error):
                    continue  # deleted since it was listed
                raise
            used |= {variant["ModelName"] for variant in config["ProductionVariants"]}
        return used
