"""The tasks of one model, each made in one place; the DAG that is open takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import BaseOperator, TaskGroup, TriggerRule, chain

from sagewind.facts import contract
from sagewind.facts.kinds import KINDS, KindName
from sagewind.facts.tags import PACKAGE
from sagewind.operators.gate import GateOperator
from sagewind.operators.ingest import IngestOperator
from sagewind.operators.job import JobOperator
from sagewind.operators.registry import ApproveOperator, RegisterOperator
from sagewind.operators.resources import ResourceOperator
from sagewind.operators.serving import DeployOperator
from sagewind.operators.teardown import TeardownOperator
from sagewind.operators.verify import VerifyOperator
from sagewind.pipeline import refs
from sagewind.pipeline.requests import processing, registry, serving, training, tuning
from sagewind.pipeline.spec import ModelSpec
from sagewind.retrying import MOST_RETRIES
from sagewind.sensors.endpoint import EndpointSensor
from sagewind.sensors.package import ApprovalSensor
from sagewind.workflows import graph
from sagewind.workflows.common import seen_by_sensor, value


@dataclass(frozen=True)
class Chain:
    """Makes the tasks of one model; the DAG that is open takes them."""

    spec: ModelSpec
    rehearsal: bool
    _groups: dict[str, TaskGroup] = field(default_factory=dict)

    def group(self, name: graph.GroupName) -> TaskGroup:
        """A group of the DAG that is open, made when it gets its first task."""
        if name not in self._groups:
            self._groups[name] = graph.group(name)
        return self._groups[name]

    @property
    def refs(self) -> refs.RunRefs:
        """References as templates."""
        return refs.templates()

    @property
    def common(self) -> dict[str, Any]:
        """Arguments that every operator takes."""
        return {
            "model": self.spec.name,
            "connection": self.spec.aws.connection,
            "region": self.spec.aws.region,
            "expires_hours": self.spec.expires_hours if self.rehearsal else None,
        }

    @property
    def watching(self) -> dict[str, Any]:
        """Arguments that every sensor takes.

        Without retries: Airflow would try a sensor whose trigger has seen a bad end again, and each try would wait for
        the whole limit; faults that pass by themselves are waited out inside (`WaitingTrigger.call`).
        """
        return {"connection": self.spec.aws.connection, "region": self.spec.aws.region, "retries": 0}

    def ingest(self, project: Path | None = None) -> IngestOperator:
        """Plan the run; with the folder of the model's scripts, snapshot its data too."""
        with_data = project is not None
        common = {key: value for key, value in self.common.items() if key != "model"}
        return IngestOperator(
            task_id="ingest",
            task_group=self.group("data"),
            spec=self.spec,
            rehearsal=self.rehearsal,
            project=project,
            source_override="{{ params.get('source') }}" if with_data else "",
            window_start="{{ params.get('window_start') }}",
            window_end="{{ params.get('window_end') }}",
            **common,
        )

    def job(
        self,
        task_id: str,
        group: graph.GroupName,
        kind: KindName,
        request: dict[str, Any],
        doc: str,
        **options: Any,
    ) -> JobOperator:
        """One job; the step in its name is the task's id. `doc` says what for; the operator adds what it runs."""
        pools = self.spec.aws.pools
        machine = KINDS[kind].cluster(request)["InstanceType"]
        return JobOperator(
            task_id=task_id,
            task_group=self.group(group),
            doc_md=doc,
            step=task_id.replace("_", "-"),
            kind=kind,
            request=request,
            transform_minutes=self.spec.batch.instance.max_minutes,
            retries=MOST_RETRIES,
            pool=pools.get(f"{kind} {machine}") or pools.get(kind),
            **self.common,
            **options,
        )

    def prepare(self) -> JobOperator:
        """Clean, encode, split."""
        request = processing.prepare(self.spec, self.refs)
        return self.job("prepare", "data", "processing", request, doc="Cleans, encodes and splits the rows.")

    def fit(self) -> JobOperator:
        """Train once, or tune."""
        if self.spec.tune:
            request, doc = (
                tuning.tune(self.spec, self.refs),
                "Looks for the best hyper-parameters; the best training counts.",
            )
            return self.job("tune", "training", "tuning", request, doc=doc)
        request = training.train(self.spec, self.refs)
        return self.job("train", "training", "training", request, doc="Trains the model.")

    def evaluate(self) -> JobOperator:
        """Measure the artifact on the test rows."""
        request = processing.evaluate(self.spec, self.refs)
        doc = "Scores the test rows with the trained artifact, measures the result and writes the report."
        return self.job("evaluate", "training", "processing", request, doc=doc)

    def batch_transform(self, request: dict[str, Any]) -> JobOperator:
        """Score rows without an endpoint."""
        doc = "Scores every row of the batch, without an endpoint."
        return self.job("batch_transform", "serving", "transform", request, doc=doc)

    def baseline(self) -> JobOperator:
        """Make the monitor's baseline, beside the training."""
        request = processing.baseline(self.spec, self.refs)
        return self.job(
            "baseline", "training", "processing", request, doc="Describes the training data, for the monitor."
        )

    def gate(self) -> GateOperator:
        """Go on only with a model that is good enough."""
        return GateOperator(
            task_id="gate",
            task_group=self.group("release"),
            folder=self.refs.evaluation,
            problem=self.spec.problem,
            rules=dict(self.spec.evaluate.gates),
            # A rehearsal may run on other data than production: it is held against the gates alone.
            champion=None if self.rehearsal else self.spec.evaluate.champion,
            champion_group=self.spec.name,
            **self.common,
        )

    def register(self) -> RegisterOperator:
        """Add a version to the registry."""
        return RegisterOperator(
            task_id="register",
            task_group=self.group("release"),
            request=registry.package(self.spec, self.refs, group_name="{{ plan.names.group }}"),
            group="{{ plan.names.group }}",
            group_request=registry.group(self.spec),
            # A model without an endpoint has nothing to verify; the others are approved after the verification.
            approve=self.spec.approve == "automatic" and self.spec.deploy.mode == "none",
            **self.common,
        )

    def approval(self) -> tuple[list[BaseOperator], ApprovalSensor]:
        """A person decides in Airflow or in AWS: what asks, and the sensor that the rest waits for."""
        # Imported here: few models ask, and the import costs every DAG file.
        from sagewind.operators.approval import AskApprovalOperator

        ask_approval = AskApprovalOperator(
            task_id="ask_approval",
            task_group=self.group("release"),
            subject=f"Deploy this version of {self.spec.name}?",
            body="Version {{ ti.xcom_pull(task_ids='register')['version'] }} has passed its gates: "
            "{{ ti.xcom_pull(task_ids='gate')['metrics'] }}. "
            "Report: {{ ti.xcom_pull(task_ids='gate')['report'] }}",
            package_arn="{{ ti.xcom_pull(task_ids='register')['arn'] }}",
            connection=self.spec.aws.connection,
            region=self.spec.aws.region,
        )
        approved = ApprovalSensor(
            task_id="approved",
            task_group=self.group("release"),
            package_arn=seen_by_sensor("register", "arn"),
            limit_hours=24 * 14,
            **self.watching,
        )
        return [ask_approval, approved], approved

    def create_model(self) -> ResourceOperator:
        """A SageMaker model from this run's artifact."""
        return ResourceOperator(
            task_id="create_model",
            task_group=self.group("serving"),
            resource="model",
            request=serving.model(self.spec, self.refs),
            **self.common,
        )

    def endpoint_config(self) -> ResourceOperator:
        """What the endpoint shall run."""
        return ResourceOperator(
            task_id="endpoint_config",
            task_group=self.group("serving"),
            resource="endpoint_config",
            request=serving.endpoint_config(
                self.spec,
                self.refs,
                model_name=value("create_model", "name"),
                # The rehearsal checks its own traffic and must not depend on which requests are sampled.
                capture=100 if self.rehearsal else None,
            ),
            labels={PACKAGE: value("register", "arn")},
            **self.common,
        )

    def approve(self) -> ApproveOperator:
        """Approve the version, now that it is proved; a person's approval stays as it is."""
        return ApproveOperator(
            task_id="approve",
            task_group=self.group("serving"),
            package_arn=value("register", "arn"),
            **self.common,
        )

    def deploy(self) -> DeployOperator:
        """Create or update the endpoint."""
        return DeployOperator(
            task_id="deploy",
            task_group=self.group("serving"),
            endpoint="{{ plan.names.endpoint }}",
            config=value("endpoint_config", "name"),
            **self.common,
        )

    def endpoint_ready(self) -> EndpointSensor:
        """Await the endpoint, in service with this run's config."""
        return EndpointSensor(
            task_id="endpoint_ready",
            task_group=self.group("serving"),
            endpoint=seen_by_sensor("deploy", "name"),
            config=seen_by_sensor("deploy", "config"),
            limit_hours=1,
            **self.watching,
        )

    def end(self, leaves: Sequence[BaseOperator], *, everything: bool) -> None:
        """The teardown, whatever happened, and `complete`, which makes the run red if any leaf is.

        A teardown that fails the run on its own failure takes its upstream tasks out of the run's leaves: without
        `complete` a run whose training failed would be a success.
        """
        teardown = TeardownOperator(
            task_id="teardown",
            task_group=self.group("clean_up"),
            endpoint="" if everything else self.spec.name,
            everything=everything,
            keep="{{ params.keep }}" if everything else "",
            **self.common,
        ).as_teardown(on_failure_fail_dagrun=True)
        chain(leaves, teardown)
        complete = EmptyOperator(
            task_id="complete",
            task_group=self.group("clean_up"),
            trigger_rule=TriggerRule.NONE_FAILED,
            doc_md="The end of the run, without work of its own. Red: a task before it is; look at the first red one.",
        )
        chain(leaves, complete)

    def verify(self) -> VerifyOperator:
        """Prove that the endpoint serves what was evaluated."""
        return VerifyOperator(
            task_id="verify",
            task_group=self.group("serving"),
            endpoint=value("deploy", "name"),
            config=value("deploy", "config"),
            rows=f"{self.refs.prepared(contract.BATCH)}/{contract.BATCH_CSV}",
            scores=f"{self.refs.evaluation}/{contract.SCORES_CSV}",
            tolerance=self.spec.deploy.verify_tolerance,
            **self.common,
        )
