"""Stopping and deleting in the order that AWS needs: jobs, endpoints, configs, models, packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sagewind import endpoints, job_records, resources
from sagewind import tags as tagging
from sagewind.aws import AwsClients, is_missing, look
from sagewind.facts.kinds import KINDS, JobApi
from sagewind.facts.resources import RESOURCES, ResourceApi
from sagewind.facts.tags import MODEL

_ENDPOINT, _CONFIG, _MODEL = RESOURCES["endpoint"], RESOURCES["endpoint_config"], RESOURCES["model"]
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

    def listing(self, kind: JobApi | ResourceApi, **filters: Any) -> Iterator[ListedItem]:
        """Summaries of everything of one kind."""
        for page in self._sagemaker.get_paginator(kind.list).paginate(**filters):
            yield from page[kind.summaries]

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
                for item in self.listing(kind, NameContains=digest, StatusEquals=status):
                    job = item[kind.name_field]
                    try:
                        if job_records.stop(self.aws, kind, job, "teardown"):
                            self.deleted.append({"kind": f"{name} job (stopped)", "name": job})
                    except Exception as error:
                        self.failed.append(f"{name} job {job}: {error}")

    def delete(self, kind: ResourceApi, name: str, shown: str = "") -> None:
        """Delete one resource and write it down as `shown`; an endpoint is awaited until it is gone."""
        self.attempt(kind.shown, shown or name, lambda: resources.remove(self.aws, kind, name))

    def delete_endpoints(self, digest: str) -> None:
        """Delete the run's own endpoints and wait until they are gone."""
        for item in list(self.listing(_ENDPOINT, NameContains=digest)):
            self.delete(_ENDPOINT, item[_ENDPOINT.name_field])

    def delete_package_groups(self, digest: str) -> None:
        """Delete the run's own package groups with their versions."""
        groups, packages = RESOURCES["package_group"], RESOURCES["package"]
        for item in list(self.listing(groups, NameContains=digest)):
            group = item[groups.name_field]
            for package in list(self.listing(packages, ModelPackageGroupName=group)):
                arn = package[packages.arn_field]
                self.delete(packages, arn, arn.split("/", 1)[1])
            self.delete(groups, group)

    def delete_unused_configs_and_models(self, digest: str) -> None:
        """Delete the run's configs that no endpoint uses, then the run's models that no config uses."""
        used = self._configs_in_use()
        for item in list(self.listing(_CONFIG, NameContains=digest)):
            if item["EndpointConfigName"] not in used:
                self.delete(_CONFIG, item["EndpointConfigName"])
        models = self._models_in_use()
        for item in list(self.listing(_MODEL, NameContains=digest)):
            if item["ModelName"] not in models:
                self.delete(_MODEL, item["ModelName"])

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
        if self.tags(old["EndpointConfigArn"]).get(MODEL) != model:
            return  # not ours: somebody deployed it by hand
        self.delete(_CONFIG, previous)
        in_use = self._models_in_use()
        for variant in old["ProductionVariants"]:
            if variant["ModelName"] not in in_use:
                self.delete(_MODEL, variant["ModelName"])

    def _configs_in_use(self) -> set[str]:
        used = set()
        for item in self.listing(_ENDPOINT):
            found = endpoints.look(self.aws, item["EndpointName"])
            if found is not None:
                used |= {found["EndpointConfigName"], endpoints.incoming(found) or found["EndpointConfigName"]}
        return used

    def _models_in_use(self) -> set[str]:
        used = set()
        for item in self.listing(_CONFIG):
            config = look(self.aws, _CONFIG, item["EndpointConfigName"])
            if config is not None:  # else it was deleted since it was listed
                used |= {variant["ModelName"] for variant in config["ProductionVariants"]}
        return used
