"""ModelSpec: a model file, typed and checked. A wrong file fails here, before anything can cost money."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from sagewind.facts import gates, metrics
from sagewind.facts.algorithms import ALGORITHMS, FRAMEWORKS
from sagewind.facts.job_json import DataConfig, Encoding, EvaluateConfig, JobConfig, MissingNumbers, SplitShares
from sagewind.facts.kinds import KINDS
from sagewind.facts.metrics import Problem
from sagewind.pipeline import source

Scalar = str | int | float | bool
OF_OURS = "sagewind:"
#: Scripts that come with the project, as model files name them -> file among the job programs.
SHIPPED = {f"{OF_OURS}train": "train.py", f"{OF_OURS}serve": "serve.py"}
#: Short enough that tuning jobs (32 characters) keep the whole model name beside step and hash.
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,12}$")]


class Section(BaseModel):
    """Base of every part of a model file: unknown keys are errors, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AwsSpec(Section):
    """Where and as whom the jobs run. Nothing here says local or AWS: the connection does."""

    connection: str = Field("aws_default", description="Airflow connection; its endpoint_url decides local or AWS")
    region: str | None = Field(None, description="AWS region; default: the connection's")
    bucket: str | None = Field(None, description="S3 bucket; default: sagewind-<account>-<region>, made if absent")
    prefix: str = Field("sagewind", description="First part of every S3 key")
    role: str = Field("SagewindExecutionRole", description="Name or ARN of the role that the jobs assume")
    kms_key: str | None = Field(None, description="KMS key for volumes, outputs and captured data")
    subnets: tuple[str, ...] = Field((), description="Subnets of the jobs' VPC")
    security_groups: tuple[str, ...] = Field((), description="Security groups of the jobs' VPC")
    isolate: bool = Field(False, description="Containers get no network at all")
    encrypt_traffic: bool = Field(False, description="Encrypt the traffic between a job's containers")
    pools: dict[str, str] = Field(
        {}, description="Airflow pools that limit jobs at once, by kind (`training`), or kind and instance type"
    )

    @field_validator("pools")
    @classmethod
    def _pools_of_kinds(cls, value: dict[str, str]) -> dict[str, str]:
        for key in value:
            kind, _, machine = key.partition(" ")
            if kind not in KINDS or (machine and not machine.startswith("ml.")):
                raise ValueError(
                    f"pools names {key!r}: use one of {', '.join(KINDS)}, or one and an instance type after a blank"
                )
        return value

    @model_validator(mode="after")
    def _vpc_is_whole(self) -> Self:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups go together: give both or neither")
        return self


class InstanceSpec(Section):
    """Machines of one job."""

    type: str = Field("ml.m5.xlarge", pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$", description="Instance type")
    count: int = Field(1, ge=1, le=1, description="Number of instances (several come with distributed training)")
    volume_gb: int = Field(30, ge=1, le=16384, description="Size of the storage volume in GB")
    max_minutes: int = Field(60, ge=1, le=7200, description="The job is stopped after this many minutes")


class SplitSpec(Section):
    """Shares of the rows; they add up to one."""

    train: float = Field(SplitShares.train, gt=0, lt=1)
    validation: float = Field(SplitShares.validation, gt=0, lt=1)
    test: float = Field(SplitShares.test, gt=0, lt=1)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        SplitShares(self.train, self.validation, self.test)
        return self


class DataSpec(Section):
    """The data set and how its columns are read."""

    source: str = Field(description="sklearn://, openml://, https://, s3:// or file://; {window_end} is filled in")
    target: str = Field(description="Column to predict")
    positive: str | None = Field(DataConfig.positive, description="Label of the positive class (binary problems)")
    columns: tuple[str, ...] | None = Field(DataConfig.columns, description="Column names of a file without header")
    drop: tuple[str, ...] = Field(DataConfig.drop, description="Columns to leave out")
    na_values: tuple[Annotated[str, StringConstraints(strip_whitespace=True)], ...] = Field(
        (), description="Texts that mean 'missing', besides the empty cell"
    )
    numeric: tuple[str, ...] = Field((), description="Columns that must be numbers; default: inferred")
    categorical: tuple[str, ...] = Field((), description="Columns that are categories; default: inferred")
    encode: Encoding = Field(DataConfig.encode, description="How categories become numbers")
    missing: MissingNumbers = Field(DataConfig.missing, description="What becomes of missing numbers")
    deduplicate: bool = Field(DataConfig.deduplicate, description="Remove rows that repeat another one exactly")
    time_column: str | None = Field(
        DataConfig.time_column, description="Rows at or after the run's window end are left out"
    )
    split: SplitSpec = SplitSpec()
    seed: int = Field(JobConfig.seed, ge=0, description="Seed of the split")

    @field_validator("source")
    @classmethod
    def _source_is_known(cls, value: str) -> str:
        source.parse(value)
        return value

    @model_validator(mode="after")
    def _columns_agree(self) -> Self:
        if self.target in self.drop:
            raise ValueError(f"drop names the target column {self.target!r}: the target cannot be left out")
        both = sorted(set(self.numeric) & set(self.categorical))
        if both:
            raise ValueError(f"column {both[0]!r} is both numeric and categorical: keep one")
        if self.columns is not None and self.target not in self.columns:
            raise ValueError(f"target {self.target!r} is not among columns: {', '.join(self.columns)}")
        return self


class TrainSpec(Section):
    """How the model is trained: a built-in algorithm, or a script in a framework's prebuilt image."""

    algorithm: str | None = Field(None, description="Built-in algorithm")
    framework: str | None = Field(None, description="Framework image that runs `script`")
    script: str | None = Field(None, description="Training script, relative to the project, or sagewind:train")
    serve: str | None = Field(None, description="Serving script that travels with it, or sagewind:serve")
    hyperparameters: dict[str, Scalar] = Field(default_factory=dict)
    instance: InstanceSpec = InstanceSpec()

    @field_validator("algorithm")
    @classmethod
    def _algorithm_is_known(cls, value: str | None) -> str | None:
        if value is not None and value not in ALGORITHMS:
            raise ValueError(f"unknown algorithm: use one of {', '.join(ALGORITHMS)}, or framework and script")
        return value

    @field_validator("framework")
    @classmethod
    def _framework_is_known(cls, value: str | None) -> str | None:
        if value is not None and value not in FRAMEWORKS:
            raise ValueError(f"unknown framework: use one of {', '.join(FRAMEWORKS)}")
        return value

    @field_validator("script", "serve")
    @classmethod
    def _shipped_is_there(cls, value: str | None) -> str | None:
        if value is not None and value.startswith(OF_OURS) and value not in SHIPPED:
            raise ValueError(f"no such program comes with sagewind: use one of {', '.join(SHIPPED)}, or a file's path")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.algorithm is None) == (self.framework is None):
            raise ValueError("say either algorithm, or framework with script")
        if (self.framework is None) != (self.script is None):
            raise ValueError("framework and script go together")
        if self.algorithm:
            for name in ALGORITHMS[self.algorithm].required:
                if name not in self.hyperparameters:
                    raise ValueError(f"hyperparameters lacks {name!r}, which {self.algorithm} requires")
        return self

    @property
    def program(self) -> str:
        """File name of the training script among those that travel with it."""
        return SHIPPED.get(str(self.script)) or str(self.script).rsplit("/", 1)[-1]

    @property
    def image(self) -> str:
        """Name of the image that trains and serves."""
        return self.algorithm or str(self.framework)


class ObjectiveSpec(Section):
    """What tuning looks at, e.g. `validation:auc`, and which way is better."""

    metric: str = Field(pattern=r"^[A-Za-z0-9_:.-]+$")
    goal: Literal["maximize", "minimize"]


class TuneJobsSpec(Section):
    """How many trainings, and how many at once."""

    total: int = Field(9, ge=1, le=750)
    parallel: int = Field(3, ge=1, le=100)


class TuneSpec(Section):
    """Hyper-parameter tuning. A range of two numbers, or a list of texts to choose from."""

    objective: ObjectiveSpec
    jobs: TuneJobsSpec = TuneJobsSpec()
    strategy: Literal["Bayesian", "Random"] = "Bayesian"
    ranges: dict[str, list[int | float | str]] = Field(min_length=1)
    seed: int = Field(7, ge=0)

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        if self.jobs.parallel > self.jobs.total:
            raise ValueError(f"jobs.parallel is {self.jobs.parallel}, more than jobs.total {self.jobs.total}")
        for name, values in self.ranges.items():
            texts = [value for value in values if isinstance(value, str)]
            if texts and len(texts) != len(values):
                raise ValueError(f"ranges.{name} mixes texts and numbers: {values}")
            if not texts and (len(values) != 2 or float(values[0]) >= float(values[1])):
                raise ValueError(f"ranges.{name} is {values}: write [low, high] with low < high")
        return self


class ChampionSpec(Section):
    """The newest approved model must not be better by more than the tolerance (in the metric's unit)."""

    metric: str
    tolerance: float = Field(0.0, ge=0)


class EvaluateSpec(Section):
    """Gates that a model must pass before it is registered."""

    gates: dict[str, str] = Field(default_factory=dict, description='Metric -> rule such as ">= 0.9"')
    champion: ChampionSpec | None = None
    threshold: float = Field(
        EvaluateConfig.threshold, gt=0, lt=1, description="Cut-off between the classes of a binary problem"
    )


class DeploySpec(Section):
    """The endpoint of the model."""

    mode: Literal["endpoint", "none"] = "endpoint"
    instance: InstanceSpec = InstanceSpec(type="ml.m5.large")
    capture: int = Field(100, ge=0, le=100, description="Percentage of requests that are captured")
    verify_tolerance: float = Field(1e-6, ge=0, description="Largest difference to the evaluated scores")


class BatchSpec(Section):
    """Batch scoring of the newest approved model."""

    schedule: str | None = Field(None, description="Cron expression")
    source: str | None = Field(
        None,
        pattern=f"^{source.S3_PREFIX}$",
        description="s3:// prefix of feature rows, without a slash at the end; default: the last test features",
    )
    instance: InstanceSpec = InstanceSpec(type="ml.m5.large")


_PREFIX = r"^s3://[a-z0-9.-]+/.*[^/]$"


class MonitorSpec(Section):
    """Checks of the captured traffic: its data against the training data, its predictions against labels."""

    schedule: str | None = Field(None, description="Cron expression")
    checks: tuple[Literal["data_quality", "model_quality"], ...] = Field(("data_quality",), min_length=1)
    ground_truth: str | None = Field(
        None,
        description="s3:// prefix of the labels, without a slash at the end; below it yyyy/mm/dd/hh/*.jsonl",
        json_schema_extra={"pattern": _PREFIX},
    )
    label_delay: float = Field(
        0, ge=0, le=24 * 366, description="Hours that labels take: model quality judges the window moved back by them"
    )
    quality_tolerance: float = Field(
        0.05, ge=0, lt=1, description="How much worse than in the evaluation a metric may be; of an error: which share"
    )
    on_violation: Literal["retrain", "report"] = "report"
    instance: InstanceSpec = InstanceSpec(type="ml.m5.large")

    @field_validator("ground_truth")
    @classmethod
    def _is_a_prefix(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(_PREFIX, value):
            raise ValueError("write an S3 prefix such as s3://bucket/labels, without a slash at the end")
        return value

    @model_validator(mode="after")
    def _labels_and_check_agree(self) -> Self:
        asked = "model_quality" in self.checks
        if asked and self.ground_truth is None:
            raise ValueError(
                "checks holds 'model_quality', ground_truth is missing: give the S3 prefix of the labels, such as "
                "s3://bucket/labels, or leave model_quality out"
            )
        for key in ("ground_truth", "label_delay", "quality_tolerance"):
            if not asked and key in self.model_fields_set:
                raise ValueError(
                    f"{key} is given, but checks lacks 'model_quality', which alone reads it: add it there"
                )
        return self


class ModelSpec(Section):
    """One model file: everything its DAGs do."""

    name: ModelName
    description: str = Field(min_length=1)
    owner: str = "sagewind"
    problem: Problem = Field(JobConfig.problem, description="binary, multiclass or regression")
    schedule: str | None = Field(None, description="Cron expression of the training")
    aws: AwsSpec = AwsSpec()
    data: DataSpec
    processing: InstanceSpec = InstanceSpec(type="ml.m5.large")
    train: TrainSpec
    tune: TuneSpec | None = None
    evaluate: EvaluateSpec = EvaluateSpec()
    approve: Literal["automatic", "manual"] = "automatic"
    deploy: DeploySpec = DeploySpec()
    batch: BatchSpec = BatchSpec()
    monitor: MonitorSpec = MonitorSpec()
    expires_hours: int = Field(24, ge=1, description="Age at which housekeeping may remove a rehearsal's leftovers")

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        return check_cron(value)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if (self.problem == "binary") != (self.data.positive is not None):
            raise ValueError("data.positive names the positive class: needed for binary problems, and only there")
        for key in ("batch", "monitor"):
            check_cron(getattr(self, key).schedule)
        self._check_gates()
        if self.train.algorithm:
            self._check_algorithm(self.train.algorithm)
        return self

    def _check_gates(self) -> None:
        measured = metrics.BY_PROBLEM[self.problem]
        named = {f"evaluate.gates.{metric}": metric for metric in self.evaluate.gates}
        if self.evaluate.champion:
            named["evaluate.champion.metric"] = self.evaluate.champion.metric
        for key, metric in named.items():
            if metric not in measured:
                raise ValueError(
                    f"{key} names {metric!r}, which a {self.problem} evaluation does not measure: "
                    f"use one of {', '.join(measured)}"
                )
        for metric, rule in self.evaluate.gates.items():
            gate = gates.parse(metric, rule)
            if metric in metrics.SHARES and not 0 <= gate.threshold <= 1:
                raise ValueError(f"evaluate.gates.{metric} is {rule!r}, but {metric} lies between 0 and 1")

    def _check_algorithm(self, name: str) -> None:
        algorithm = ALGORITHMS[name]
        parameter, given = algorithm.objective_parameter, self.train.hyperparameters
        allowed = algorithm.objectives[self.problem]
        if parameter in given and given[parameter] not in allowed:
            raise ValueError(
                f"train.hyperparameters.{parameter} is {given[parameter]!r}: a {self.problem} problem takes "
                f"{', '.join(allowed)}"
            )
        if self.problem == "multiclass" and algorithm.class_count and algorithm.class_count not in given:
            raise ValueError(
                f"train.hyperparameters lacks {algorithm.class_count!r}, which a multiclass objective requires"
            )
        if self.tune is None:
            return
        for key in self.tune.ranges:
            if key not in algorithm.tunable:
                raise ValueError(f"tune.ranges.{key} cannot be tuned: use one of {', '.join(algorithm.tunable)}")
        wanted = [f"validation:{metric}" for metric in algorithm.eval_metrics]
        if self.tune.objective.metric not in wanted:
            raise ValueError(f"tune.objective.metric is {self.tune.objective.metric!r}: use one of {', '.join(wanted)}")

    @property
    def fit_task(self) -> str:
        """Task id of the step that makes the model: `tune` or `train`."""
        return "tune" if self.tune else "train"


_CRON_FIELD = re.compile(r"[0-9A-Za-z*,/#?L-]+")


def check_cron(value: str | None) -> str | None:
    """Accept a five-field cron expression or one of Airflow's presets; ValueError says what was found."""
    presets = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
    if value is None or value in presets:
        return value
    fields = value.split()
    if len(fields) != 5 or not all(_CRON_FIELD.fullmatch(field) for field in fields):
        raise ValueError(
            f"schedule {value!r} is not a cron expression: write five fields or one of {', '.join(presets)}"
        )
    return value
