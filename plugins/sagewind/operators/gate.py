"""The gate between evaluation and registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagewind import packages, s3
from sagewind.errors import TaskRefused
from sagewind.facts import contract, gates
from sagewind.facts.metrics import larger_is_better
from sagewind.operators.base import SagewindOperator
from sagewind.pipeline.spec import ChampionSpec

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class GateOperator(SagewindOperator):
    """Fails, without a retry, unless the evaluation meets every gate and is not worse than the champion.

    A missing or invalid evaluation fails too (the provider's `output_files_to_xcom` turns it into a value). Pushes the
    XCom `outcome` {passed, metrics, gates, report, evaluation} before it fails, and returns the same when it passes.
    """

    about = (
        "Holds the measured metrics against the gates of the model file and, if it asks for that, against the newest "
        "approved version. Red: the model is not good enough; the log names each rule that is not met, and the report."
    )
    template_fields = ("folder",)
    ui_color = "#fdebd0"

    def __init__(
        self,
        *,
        folder: str,
        problem: str,
        rules: dict[str, str],
        champion: ChampionSpec | None,
        champion_group: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.problem = problem
        self.rules = rules
        self.champion = champion
        self.champion_group = champion_group

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the evaluation, judge it, tell."""
        evaluation = f"{self.folder}/{contract.EVALUATION_JSON}"
        measured = s3.get_json(self.aws, evaluation).get("metrics")
        if not isinstance(measured, dict):
            raise TaskRefused(f"{evaluation} has no metrics: the evaluation went wrong")
        try:
            outcomes = [*gates.judge(self.rules, measured), *self._against_champion(context, measured)]
        except gates.GateError as error:
            raise TaskRefused(str(error)) from None
        failed = [outcome.sentence() for outcome in outcomes if not outcome.passed]
        result = {
            "passed": not failed,
            "metrics": measured,
            "gates": [outcome.record() for outcome in outcomes],
            "evaluation": evaluation,
            "report": f"{self.folder}/{contract.REPORT_HTML}",
        }
        context["ti"].xcom_push(key="outcome", value=result)
        for outcome in outcomes:
            self.log.info("%s: %s", "met" if outcome.passed else "NOT MET", outcome.sentence())
        if failed:
            raise TaskRefused(f"not deployed: {'; '.join(failed)} (report: {result['report']})")
        return result

    def _against_champion(self, context: Context, measured: dict[str, Any]) -> list[gates.GateOutcome]:
        """The rule against the newest approved version; none for a backfill, whose data are of another time."""
        run_type = context["dag_run"].run_type
        if self.champion is None or str(getattr(run_type, "value", run_type)) == "backfill":
            return []
        newest = packages.newest_approved(self.aws, self.champion_group)
        if newest is None:
            self.log.info("no approved model in group %s yet: nothing to compare with", self.champion_group)
            return []
        metric, arn = self.champion.metric, newest["ModelPackageArn"]
        try:
            uri = newest["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
            value = gates.measured(s3.get_json(self.aws, uri)["metrics"], metric)
        except (TaskRefused, KeyError, TypeError, AttributeError, gates.GateError) as error:
            raise TaskRefused(
                f"the champion {arn} has no {metric} to compare with ({error}): reject that version, or leave out "
                "evaluate.champion"
            ) from None
        self.log.info("champion %s has %s %.6g", arn, metric, value)
        larger, candidate = larger_is_better(self.problem, metric), gates.measured(measured, metric)
        return [gates.champion_outcome(metric, candidate, value, self.champion.tolerance, larger=larger)]
